"""Stored data that is not what was stored: found, named, and never restored."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.integration.jobs.commands import Done
from tests.integration.jobs.conftest import MakeWorld
from tests.integration.jobs.places import Folder, Place
from tests.integration.jobs.world import DATA, MANIFESTS, PASSPHRASE, World, fingerprint

SEALED = {"encryptionPass": {"value": PASSPHRASE}}
_Damage = Callable[[Place, str, str], None]


def _dump(backup_id: str) -> str:
    return f"{DATA}{backup_id}/dump.0000"


def _truncate(place: Place, newest: str, _other: str) -> None:
    place.write(_dump(newest), place.read(_dump(newest))[:-100])


def _cut_to_nothing(place: Place, newest: str, _other: str) -> None:
    place.write(_dump(newest), b"")


def _flip_middle(place: Place, newest: str, _other: str) -> None:
    _flip(place, newest, len(place.read(_dump(newest))) // 2)


def _flip_last(place: Place, newest: str, _other: str) -> None:
    _flip(place, newest, -1)


def _flip(place: Place, newest: str, at: int) -> None:
    data = bytearray(place.read(_dump(newest)))
    data[at] ^= 1
    place.write(_dump(newest), bytes(data))


def _append(place: Place, newest: str, _other: str) -> None:
    place.write(_dump(newest), place.read(_dump(newest)) + b"more")


def _remove(place: Place, newest: str, _other: str) -> None:
    place.delete(_dump(newest))


def _swap_data(place: Place, newest: str, other: str) -> None:
    place.write(_dump(newest), place.read(_dump(other)))


def _swap_key(place: Place, newest: str, other: str) -> None:
    place.write(f"{DATA}{newest}/key.age", place.read(f"{DATA}{other}/key.age"))


def _remove_key(place: Place, newest: str, _other: str) -> None:
    place.delete(f"{DATA}{newest}/key.age")


def _swap_manifest(place: Place, newest: str, other: str) -> None:
    place.write(f"{MANIFESTS}{newest}.json", place.read(f"{MANIFESTS}{other}.json"))


def _garbage_manifest(place: Place, newest: str, _other: str) -> None:
    place.write(f"{MANIFESTS}{newest}.json", b"\x00\xffnot json")


DAMAGES: tuple[_Damage, ...] = (
    _truncate,
    _cut_to_nothing,
    _flip_middle,
    _flip_last,
    _append,
    _remove,
    _swap_data,
    _swap_key,
    _remove_key,
    _swap_manifest,
    _garbage_manifest,
)


def _database_exists(world: World, name: str) -> bool:
    with world.server.connect() as connection:
        row = connection.execute("SELECT FROM pg_database WHERE datname = %s", (name,)).fetchone()
    return row is not None


def _wrong(done: Done, code: int, *words: str) -> list[str]:
    """What is not as it should be, for one list of all damages."""
    wrong = [] if done.code == code else [f"{done.argv[1:]} exited with {done.code}, not {code}"]
    wrong += [f"{done.argv[1:]} does not say {word!r}" for word in words if word not in done.said]
    if "Traceback" in done.said:
        wrong.append(f"{done.argv[1:]} shows a stack")
    return [f"{one}: {done.said[-600:]}" for one in wrong]


def test_damage_is_found_named_and_stepped_over(make_world: MakeWorld) -> None:
    """In the sealed place that is asked first; the plain one is whole."""
    world = make_world("s3", "folder")
    world.configure(locations={"s3": SEALED})
    other = world.back_up()
    with world.server.connect(world.database) as connection:
        connection.execute("INSERT INTO customer VALUES (9999, 'later')")
    newest = world.back_up()
    before = fingerprint(world.server, world.database)
    place = world.place("s3")
    whole = {key: place.read(key) for key in place.all_keys()}
    found: list[str] = []

    for damage in DAMAGES:
        damage(place, newest, other)
        name = damage.__name__.strip("_")
        new = f"{world.database}_{name}"
        in_manifest = "manifest" in name
        what = newest if in_manifest else ("key" if "key" in name else "dump")
        verified = world.cli("verify", newest, "--location", "s3")
        wrong = _wrong(verified, 65, "s3", what)
        if damage in {_flip_last, _swap_data, _remove_key, _swap_manifest}:
            refused = world.cli("restore", "--name", newest, "--from", "s3", "--database", new)
            wrong += _wrong(refused, 78 if in_manifest else 65)
            if _database_exists(world, new):
                wrong.append("a database was made of damaged data")
        restored = world.cli("restore", "--name", newest, "--database", new)
        wrong += _wrong(restored, 0, "s3", "folder: ok")
        if not _database_exists(world, new) or fingerprint(world.server, new) != before:
            wrong.append("the other place's copy was not restored")
        found += [f"{name}: {one}" for one in wrong]
        for key, data in whole.items():
            place.write(key, data)
    assert not found, "\n\n".join(found)
    world.cli("verify", "--all").must(0)


def test_prune_keeps_and_backup_survives_what_it_cannot_read(make_world: MakeWorld) -> None:
    world = make_world("folder")
    world.configure(retention={"keepLast": 1, "minimumKeep": 1})
    first = world.back_up()
    folder = world.place("folder")
    manifest = json.loads(folder.read(f"{MANIFESTS}{first}.json"))
    newer = {**manifest, "formatVersion": 99, "id": "2020-01-01T00-00-00Z-aaaa"}
    folder.write(f"{MANIFESTS}{newer['id']}.json", json.dumps(newer).encode())
    folder.write(f"{DATA}{newer['id']}/dump.0000", b"of a newer runner")

    second = world.back_up()

    world.cli("list").must(0, second, "use a newer runner")
    world.cli("prune").must(0, newer["id"], "stays")
    assert world.backups() == sorted([newer["id"], second])
    assert folder.read(f"{DATA}{newer['id']}/dump.0000") == b"of a newer runner"


def _hostile(manifest: dict[str, Any]) -> dict[str, bytes]:
    """Manifests that nobody's writer would have written, by what is wrong with them."""

    def changed(change: Callable[[dict[str, Any]], object]) -> bytes:
        copy = json.loads(json.dumps(manifest))
        change(copy)
        return json.dumps(copy).encode()

    def first_object(copy: dict[str, Any]) -> dict[str, Any]:
        one: dict[str, Any] = copy["streams"][0]["objects"][0]
        return one

    def first_size(copy: dict[str, Any]) -> str:
        return next(key for key in first_object(copy) if key.lower().startswith("size"))

    return {
        "path up": changed(lambda m: first_object(m).update(name="../../../../etc/passwd")),
        "absolute path": changed(lambda m: first_object(m).update(name="/etc/passwd")),
        "stream named as a path": changed(lambda m: m["streams"][0].update(name="../evil")),
        "negative size": changed(lambda m: first_object(m).update({first_size(m): -1})),
        "size as text": changed(lambda m: first_object(m).update({first_size(m): "many"})),
        "size beyond all": changed(lambda m: first_object(m).update({first_size(m): 10**30})),
        "streams no list": changed(lambda m: m.update(streams={"a": 1})),
        "stream twice": changed(lambda m: m["streams"].append(m["streams"][0])),
        "no streams": changed(lambda m: m.update(streams=[])),
        "no facts": changed(lambda m: m.pop("facts")),
        "id of another": changed(lambda m: m.update(id="2019-01-01T00-00-00Z-0000")),
        "owner of another": changed(lambda m: m["owner"].update(name="other")),
        "year 99999": changed(lambda m: m.update(startedAt="99999-01-01T00:00:00Z")),
        "no time": changed(lambda m: m.update(startedAt="yesterday")),
        "a list": b"[]",
        "null": b"null",
        "deep": b"[" * 200_000,
        "invalid UTF-8": b'{"id": "\xff\xfe"}',
    }


def test_hostile_manifests_end_in_clear_errors(make_world: MakeWorld) -> None:
    world = make_world("folder")
    good = world.back_up()
    folder = world.place("folder")
    assert isinstance(folder, Folder)
    manifest = json.loads(folder.read(f"{MANIFESTS}{good}.json"))
    ids = {}
    for number, (what, raw) in enumerate(_hostile(manifest).items()):
        backup_id = f"2021-01-01T00-00-00Z-{number:04x}"
        mine = backup_id if what != "id of another" else good
        ids[backup_id] = what
        folder.write(f"{MANIFESTS}{backup_id}.json", raw.replace(good.encode(), mine.encode()))
    # What only looks like one is none.
    folder.write(f"{MANIFESTS}notes.json", b"{}")
    folder.write(f"{MANIFESTS}deeper/{good}.json", b"{}")
    before = sorted(path.name for path in world.folder.iterdir())

    listed = world.cli("list").must(0, good)
    assert [row["id"] for row in world.cli("list", "--json").must(0).json()] == [good]
    silent = [what for backup_id, what in ids.items() if backup_id not in listed.err]
    assert not silent, f"not warned about: {silent}"
    assert "notes" not in listed.said
    for backup_id, what in list(ids.items())[::4]:
        done = world.cli("show", backup_id)
        assert done.code in {65, 78}, f"{what}: {done.said}"
        assert "Traceback" not in done.said, what
        done = world.cli("unpack", backup_id, "--to", str(world.folder / "out"))
        assert done.code in {65, 78}, f"{what}: {done.said}"
    world.cli("verify", "--all").must(65)
    world.cli("prune").must(0, good, "not readable and stays")
    world.back_up()
    new = f"{world.database}_new"
    world.cli("restore", "--at", "now", "--database", new).must(0)

    assert fingerprint(world.server, new) == fingerprint(world.server, world.database)
    out = world.folder / "out"
    assert not out.exists() or list(out.iterdir()) == []
    assert sorted(p.name for p in world.folder.iterdir() if p.name != "out") == before


def test_a_gigabyte_of_manifest_costs_no_memory(make_world: MakeWorld) -> None:
    world = make_world("folder")
    good = world.back_up()
    folder = world.place("folder")
    assert isinstance(folder, Folder)
    huge = "2021-01-01T00-00-00Z-0001"
    with (folder.path / f"{MANIFESTS}{huge}.json").open("wb") as file:
        file.write(b'{"id": "')
        file.truncate(1024**3)
    for name in ("_index.json", "_state.json"):
        with (folder.path / f"db/shop/{name}").open("wb") as file:
            file.truncate(1024**3)

    with world.runner() as runner:
        world.cli("list").must(0, good, huge, "larger than")
        world.cli("backup-now").must(0)
        status = Path(f"/proc/{runner.process.pid}/status").read_text()
        (peak_kib,) = re.findall(r"VmHWM:\s+(\d+)", status)
        assert int(peak_kib) < 200 * 1024
    world.cli("show", huge).must(65, "larger than")


def test_wrong_key_no_key_and_former_keys(make_world: MakeWorld) -> None:
    world = make_world("folder", "s3")
    world.configure(locations={"s3": SEALED})
    backup_id = world.back_up()
    new = f"{world.database}_new"
    from_s3 = ("restore", "--at", "now", "--from", "s3", "--database", new)

    world.configure(locations={"s3": {"encryptionPass": {"value": "another one"}}})
    world.cli(*from_s3).must(65, "s3", "encryptionPass")
    world.cli("verify", "--location", "s3").must(65, "s3", "encryptionPass")
    world.cli("list").must(0, backup_id)
    # The other place has a copy that needs no key.
    world.cli("restore", "--at", "now", "--database", new, "--dry-run").must(0)
    world.configure()
    world.cli(*from_s3).must(65, "no encryptionPass")
    assert not _database_exists(world, new)
    # Rotation: the former one reads, the new one writes.
    rotated = {
        "encryptionPass": {"value": "the new one"},
        "previousEncryptionPasses": [{"value": "older still"}, {"value": PASSPHRASE}],
    }
    world.configure(locations={"s3": rotated})
    newest = world.back_up()
    world.cli("verify", "--all", "--location", "s3").must(0)
    world.configure(locations={"s3": {"encryptionPass": {"value": "the new one"}}})
    world.cli("verify", newest, "--location", "s3").must(0)
    world.cli("verify", backup_id, "--location", "s3").must(65)


def test_an_empty_key_never_means_unencrypted(make_world: MakeWorld) -> None:
    world = make_world("folder")
    reference = {"fromSecret": {"name": "keys", "key": "pass"}}
    secret = world.config / "secrets" / "keys" / "pass"

    world.configure(locations={"folder": {"encryptionPass": {"value": ""}}})
    world.cli("backup-now").must(78, "encryptionPass")
    world.configure(locations={"folder": {"encryptionRecipients": [""]}})
    world.cli("backup-now").must(78, "encryptionRecipients")
    world.configure(locations={"folder": {"encryptionPass": reference}})
    missing = world.cli("backup-now")
    assert missing.code in {75, 78}, missing.said
    assert "keys/pass" in missing.said
    secret.parent.mkdir()
    for content in ("", "\n"):
        secret.write_text(content)
        empty = world.cli("backup-now")
        assert empty.code in {75, 78}, empty.said
        assert "empty" in empty.said
    assert world.backups() == []
    assert not [key for key in world.place("folder").all_keys() if key.startswith(DATA)]
    secret.write_text("long enough")
    world.back_up()
    assert any(key.endswith("key.age") for key in world.place("folder").all_keys())
