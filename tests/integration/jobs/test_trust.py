"""What a bucket says counts only as far as the configuration says the same."""

from __future__ import annotations

import json
from typing import Any

import pyrage

from tests.integration.jobs.conftest import MakeWorld
from tests.integration.jobs.places import Place
from tests.integration.jobs.world import DATA, MANIFESTS, PASSPHRASE, ROOT

SEALED = {"encryptionPass": {"value": PASSPHRASE}}


def _recipient() -> dict[str, Any]:
    return {"encryptionRecipients": [str(pyrage.x25519.Identity.generate().to_public())]}


def _key(backup_id: str) -> str:
    return f"{DATA}{backup_id}/key.age"


def _rewrite(place: Place, backup_id: str, **fields: Any) -> None:
    key = f"{MANIFESTS}{backup_id}.json"
    place.write(key, json.dumps({**json.loads(place.read(key)), **fields}).encode())


def test_what_only_others_can_read_is_neither_whole_nor_damaged(make_world: MakeWorld) -> None:
    world = make_world("folder")
    world.configure(locations={"folder": _recipient()})
    backup_id = world.back_up()

    with world.runner() as runner:
        outcome = world.cli("verify", "--json").must(0).outcome()

        (fate,) = outcome["fates"]
        assert "ok" not in fate
        assert fate["reason"] == "NoKey"
        assert backup_id in fate["message"]
        assert runner.metric("location_last_verification_success", location="folder") is None
        assert runner.metric("location_last_verified_timestamp_seconds", location="folder")


def test_verify_finds_a_key_file_that_is_gone_or_another_ones(make_world: MakeWorld) -> None:
    world = make_world("folder")
    world.configure(locations={"folder": _recipient()})
    other, backup_id = world.back_up(), world.back_up()
    folder = world.place("folder")
    key_file = folder.read(_key(backup_id))

    folder.delete(_key(backup_id))
    world.cli("verify").must(65, "TruncatedBackup", "key.age is missing")
    folder.write(_key(backup_id), folder.read(_key(other)))
    world.cli("verify").must(65, "ChecksumMismatch", "key.age differs")
    # A manifest from before the hash was in it: the form alone is left to look at.
    encryption = json.loads(folder.read(f"{MANIFESTS}{backup_id}.json"))["encryption"]
    del encryption["keySha256"]
    _rewrite(folder, backup_id, encryption=encryption)
    for damaged in (b"no age file", key_file[:60], key_file.split(b"\n---")[0] + b"\n"):
        folder.write(_key(backup_id), damaged)
        world.cli("verify").must(65, "key.age")
    folder.write(_key(backup_id), key_file)
    world.cli("verify").must(0, "unknown: NoKey")


def test_an_error_that_quotes_a_secret_is_told_without_it(make_world: MakeWorld) -> None:
    """The server names the database that it does not have: here it is called like the password."""
    world = make_world("folder")
    world.back_up()
    world.configure(database={"database": world.server.password})

    done = world.cli("backup-now", "--json")

    assert "<redacted>" in done.outcome()["message"]
    assert world.server.password not in done.said
    assert world.server.password.encode() not in world.place("folder").read(f"{ROOT}_state.json")


def test_no_text_of_a_bucket_commands_a_terminal(make_world: MakeWorld) -> None:
    world = make_world("folder")
    backup_id = world.back_up()
    folder = world.place("folder")
    escape = "\x1b]0;owned\x07\x1b[2J"
    _rewrite(folder, backup_id, owner={"namespace": "db", "name": escape})
    folder.delete(f"{ROOT}_index.json")
    folder.write(f"{ROOT}_owner.json", json.dumps({"clusterId": escape}).encode())

    for argv in (
        ("list",),
        ("show", backup_id),
        ("unpack", backup_id, "--to", str(world.folder / "out")),
        ("doctor",),
        ("verify",),
        ("backup-now",),
        ("restore", "--at", "now", "--dry-run"),
        ("adopt", "--yes"),
    ):
        said = world.cli(*argv).said
        assert "owned" in said, argv
        assert "\x1b" not in said, argv
        assert "\x07" not in said, argv


def test_a_manifest_cannot_talk_its_way_around_the_passphrase(make_world: MakeWorld) -> None:
    world = make_world("folder")
    before = world.back_up()
    world.configure(locations={"folder": SEALED})
    backup_id = world.back_up()
    folder = world.place("folder")
    whole = folder.read(f"{MANIFESTS}{backup_id}.json")

    # Sealed for somebody else, it says: then nothing here could restore it.
    _rewrite(folder, backup_id, encryption={"kind": "age", "wrap": "recipients"})
    world.cli("verify").must(65, "NoKey")
    folder.write(f"{MANIFESTS}{backup_id}.json", whole)
    world.cli("verify").must(0, "folder: ok")
    # Not sealed at all: whoever can write there may have made it.
    world.cli("verify", before).must(65, "is not encrypted", "--accept-unencrypted")
    world.cli("verify", before, "--accept-unencrypted").must(0, "folder: ok")
    world.cli("verify", "--all").must(65, before)
    to = world.folder / "unpacked"
    world.cli("unpack", before, "--to", str(to)).must(65, "--accept-unencrypted")
    assert list(to.iterdir()) == []
    (to / ".dump.partial").write_text("of a run that was killed")
    world.cli("unpack", before, "--to", str(to), "--accept-unencrypted").must(0)
    assert to.stat().st_mode & 0o777 == 0o700
    world.cli("unpack", before, "--to", str(to), "--accept-unencrypted").must(64, "is not empty")
    assert {path.name for path in to.iterdir()} == {"globals", "dump"}
