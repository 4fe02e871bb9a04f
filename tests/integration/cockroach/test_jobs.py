"""The whole way through the runner: back up, list, show, restore, verify."""

from __future__ import annotations

import subprocess

import pytest

from tests.integration.cockroach.conftest import MakeWorld
from tests.integration.cockroach.world import PASSPHRASE, CockroachWorld
from tests.integration.jobs.world import needs
from tests.servers.cockroach.server import CockroachServer


def test_a_backup_comes_back_to_any_second_between_two_layers(world: CockroachWorld) -> None:
    world.put("a", "first")
    full = world.back_up()
    world.put("a", "wanted")
    between = world.server.now()
    world.put("a", "wrong")
    layer = world.back_up()

    copy = f"{world.database}_copy"
    done = world.cli("restore", "--at", between.isoformat(), "--database", copy).must(0)
    assert f"{between:%Y-%m-%dT%H:%M:%S.%f}Z" in done.said
    assert world.server.rows(copy) == {"a": "wanted"}
    oldest = f"{world.database}_oldest"
    world.cli("restore", "--name", full, "--database", oldest).must(0)
    assert world.server.rows(oldest) == {"a": "first"}
    world.cli("restore", "--at", "now", "--replace", "--yes").must(0, "former database kept as")
    assert world.server.rows(world.database) == {"a": "wrong"}
    assert (world.layer(full)["number"], world.layer(layer)["number"]) == (0, 1)
    assert world.chains() == [full]


def test_list_and_show_say_what_a_layer_covers(world: CockroachWorld) -> None:
    full, layer = world.back_up(), world.back_up()

    first, second = world.cli("list", "--json").must(0).json()
    assert (first["id"], second["id"]) == (full, layer)
    assert first["backTo"] == first["stateOf"] == second["backTo"] < second["stateOf"]
    assert first["chain"] == second["chain"] == full
    assert " back to " in world.cli("list").must(0).out
    world.cli("show", layer).must(0, f"layer              1 of {full}", "RESTORE DATABASE")


def test_a_whole_backup_is_verified_and_a_damaged_one_is_not(world: CockroachWorld) -> None:
    full, layer = world.back_up(), world.back_up()
    world.cli("verify", "--all").must(0)

    (place,) = world.places
    files = [key for key in place.all_keys() if key.endswith(".sst") and "/data/" in key]
    kept = {key: place.read(key) for key in files}
    for key in files:
        place.delete(key)
        world.cli("verify", full if "incrementals" not in key else layer).must(65)
        # One that is shorter is there, as far as the cluster looks.
        place.write(key, kept[key][:-1])
        world.cli("verify", layer).must(65, "bytes")
        place.write(key, kept[key])
    world.cli("verify", "--all").must(0)


def test_a_chain_that_lost_a_file_is_left_and_a_full_backup_follows(world: CockroachWorld) -> None:
    full = world.back_up()
    (place,) = world.places
    for key in place.all_keys():
        if key.endswith(".sst") and "/data/" in key:
            place.delete(key)

    said = world.cli("backup-now").must(0).said

    assert f"the chain {full} ends, a full backup follows" in said
    assert len(world.chains()) == 2


def test_doctor_looks_at_the_cluster_and_at_the_location(world: CockroachWorld) -> None:
    world.back_up()

    said = world.cli("doctor").must(0, "database, backup: ready", "database, restore: ready").said

    assert all(f"location {place.name}" in said for place in world.places)
    assert "FAIL" not in said


def test_the_printed_derivation_gives_the_passphrase_that_the_cluster_was_given(
    stand_in: CockroachServer, make_world: MakeWorld
) -> None:
    """With openssl, on what `show` prints."""
    needs("openssl", "openssl")
    needs("xxd", "xxd")
    world = make_world(stand_in, "s3")
    world.encrypt()
    world.put("a", "1")
    full = world.back_up()
    (line,) = [
        line.removeprefix("  --").strip()
        for line in world.cli("show", full).must(0).out.splitlines()
        if "openssl kdf" in line
    ]
    (world.folder / "pass").write_text(PASSPHRASE)
    derived = subprocess.run(
        ["bash", "-o", "pipefail", "-c", line],
        cwd=world.folder,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()

    (place,) = world.places
    spec = place.spec
    uri = (
        f"s3://{spec['storageBucket']}/db/shop/_data/{full}?AWS_ENDPOINT=http://"
        f"{spec['storageEndpoint']}&AWS_ACCESS_KEY_ID={spec['storageAccessKeyID']['value']}"
        f"&AWS_SECRET_ACCESS_KEY={spec['storageSecretAccessKey']['value']}"
    )
    rows = stand_in.execute(
        "SHOW BACKUP FROM LATEST IN %s WITH check_files, encryption_passphrase = %s", uri, derived
    )
    assert rows


def test_unpack_says_that_there_is_nothing_to_unpack(
    stand_in: CockroachServer, make_world: MakeWorld
) -> None:
    world = make_world(stand_in, "s3")
    full = world.back_up()

    world.cli("unpack", full, "--to", str(world.folder / "out")).must(78, "by itself")
    assert not (world.folder / "out").exists()


@pytest.mark.parametrize(
    ("location", "words"),
    [
        ({"encryptionRecipients": ["age1" + "q" * 58]}, "backupLocations[0].encryptionRecipients"),
        ({"storageInsecureSkipVerify": True, "storageUseSSL": True}, "custom_ca"),
    ],
)
def test_a_class_that_the_cluster_cannot_be_told_is_refused_by_path(
    stand_in: CockroachServer, make_world: MakeWorld, location: dict[str, object], words: str
) -> None:
    world = make_world(stand_in, "s3")
    world.configure(locations={world.places[0].name: location})

    world.cli("backup-now").must(78, "not for cockroach", words)
    assert world.backups() == []


def test_secrets_are_in_no_output_statement_or_job(two_places: CockroachWorld) -> None:
    world = two_places
    world.back_up()
    layer = world.back_up()
    world.cli("restore", "--name", layer, "--database", "copied").must(0)
    secrets = [PASSPHRASE, *(one.spec["storageSecretAccessKey"]["value"] for one in world.places)]
    stand_in = world.stand_in

    said = [world.cli("show", layer).said, world.cli("list", "--json").said, *stand_in.log]
    said += [job.description for job in stand_in.jobs.all()]
    for secret in secrets:
        assert not [text for text in said if secret in text]
