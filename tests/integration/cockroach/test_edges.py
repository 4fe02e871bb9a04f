"""Times to the microsecond where layers and chains meet, and buckets that are shared or damaged."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from typing import Any

from tests.integration.cockroach.conftest import MakeWorld
from tests.integration.cockroach.world import PASSPHRASE, CockroachWorld
from tests.servers.cockroach.server import CockroachServer

TICK = timedelta(microseconds=1)


def at(world: CockroachWorld, moment: datetime, *options: str) -> dict[str, str]:
    """The rows of a restore to a moment."""
    name = f"at_{time.monotonic_ns()}"
    world.cli("restore", "--at", moment.isoformat(), "--database", name, *options).must(0)
    return world.server.rows(name)


def ends(world: CockroachWorld) -> list[datetime]:
    """Of each stored layer, as `list` says it."""
    listed: list[dict[str, Any]] = world.cli("list", "--json").must(0).json()
    return [datetime.fromisoformat(one["stateOf"]) for one in listed]


def test_a_microsecond_decides_what_a_restore_holds(
    stand_in: CockroachServer, make_world: MakeWorld
) -> None:
    world = make_world(stand_in, "s3")
    world.encrypt()
    world.put("a", "1")
    world.back_up()
    world.put("a", "2")
    world.back_up()
    world.stand_in.version = (26, 1)  # ends the chain
    world.put("a", "3")
    between = world.server.now()
    world.put("a", "4")
    world.back_up()
    full, layer, next_full = ends(world)

    assert at(world, full) == {"a": "1"}
    assert at(world, layer) == {"a": "2"}
    # No layer covers what lies between two chains: the state before it, never one after it.
    assert at(world, layer + TICK) == at(world, between) == at(world, next_full - TICK)
    assert at(world, between) == {"a": "2"}
    assert at(world, next_full) == {"a": "4"}
    early = (full - TICK).isoformat()
    world.cli("restore", "--at", early, "--database", "early").must(78, "no backup is as old")
    assert "early" not in world.server.databases()


def test_two_objects_that_share_bucket_and_database_share_no_chain(
    stand_in: CockroachServer, make_world: MakeWorld
) -> None:
    world = make_world(stand_in, "s3")
    fields = {world.places[0].name: {"encryptionPass": {"value": PASSPHRASE}}}
    keep = {"keepLast": 1, "minimumKeep": 1}
    world.configure(locations=fields, retention=keep)
    first = world.back_up()
    (place,) = world.places
    of_first = {key for key in place.all_keys() if key.startswith("db/shop/")}

    world.configure(locations=fields, retention=keep, metadata={"name": "shop2"})
    others = world.cli("backup-now", "--json").must(0).outcome()["backupId"]
    world.stand_in.version = (26, 1)
    world.cli("backup-now").must(0)
    world.cli("prune").must(0)

    assert not [key for key in place.all_keys() if others in key]
    assert of_first <= set(place.all_keys())
    world.configure(locations=fields)
    assert world.backups() == [first]
    world.cli("verify", "--all").must(0)


def test_a_location_that_comes_later_gets_the_whole_chain(
    stand_in: CockroachServer, make_world: MakeWorld
) -> None:
    world = make_world(stand_in, "s3", "minio")
    home, late = world.places
    world.places = [home]
    world.encrypt()
    world.put("a", "1")
    full = world.back_up()
    (moment,) = ends(world)

    world.places = [home, late]
    world.encrypt()
    world.put("a", "2")
    layer = world.back_up()
    world.places = [late]
    world.encrypt()

    assert world.backups() == [full, layer]
    assert at(world, moment) == {"a": "1"}
    assert world.layer(layer)["chain"] == full
    # Its home is not configured any more: the copy is read, and not gone on with.
    world.put("a", "3")
    new = world.back_up()
    assert world.layer(new)["number"] == 0


def test_a_damaged_layer_is_no_restore_and_ends_its_chain(
    stand_in: CockroachServer, make_world: MakeWorld
) -> None:
    world = make_world(stand_in, "s3")
    world.encrypt()
    full = world.back_up()
    (place,) = world.places
    before = set(place.all_keys())
    world.put("a", "2")
    world.back_up()
    damaged = [key for key in place.all_keys() if key not in before and key.endswith(".sst")]
    world.put("a", "3")
    world.back_up()
    newest = ends(world)[-1]

    place.delete(damaged[0])

    world.cli("restore", "--at", newest.isoformat(), "--database", "third").must(65)
    assert "third" not in world.server.databases()
    world.put("a", "4")
    new = world.back_up()
    assert world.layer(new)["chain"] == new != full
    assert at(world, world.server.now()) == {"a": "4"}


def test_a_store_that_is_busy_for_a_moment_costs_no_backup(
    stand_in: CockroachServer, make_world: MakeWorld
) -> None:
    """The cluster tells it as a missing file, whatever it was."""
    world = make_world(stand_in, "s3")
    world.encrypt()
    for number in range(2):
        world.stand_in.blurred_looks = 1
        world.put("a", str(number))
        world.back_up()

    assert [job.status for job in world.stand_in.jobs.all()] == ["succeeded"] * 2
    (chain,) = world.chains()
    assert {world.layer(one)["chain"] for one in world.backups()} == {chain}
    assert at(world, ends(world)[-1]) == {"a": "1"}


def test_an_incremental_backup_looks_for_files_after_it_alone(
    stand_in: CockroachServer, make_world: MakeWorld
) -> None:
    """A cluster looks for one after the other, which takes hours where a chain is long."""
    world = make_world(stand_in, "s3")
    world.back_up()
    world.stand_in.log.clear()

    world.back_up()

    said = [line for line in world.stand_in.log if line.startswith(("SHOW BACKUP", "BACKUP"))]
    assert ["check_files" in line for line in said] == [False, False, True]


def test_a_damaged_layer_is_in_the_way_of_no_time_before_it(
    stand_in: CockroachServer, make_world: MakeWorld
) -> None:
    world = make_world(stand_in, "s3")
    world.encrypt()
    world.put("a", "1")
    world.back_up()
    world.put("a", "2")
    world.back_up()
    (place,) = world.places
    before = set(place.all_keys())
    world.put("a", "3")
    world.back_up()
    damaged = [key for key in place.all_keys() if key not in before and key.endswith(".sst")]
    moments = ends(world)

    place.delete(damaged[0])

    assert at(world, moments[0]) == {"a": "1"}
    said = world.cli("restore", "--at", moments[1].isoformat(), "--database", "second").must(0).said
    assert "what is missing may be of a later layer" in said
    assert world.server.rows("second") == {"a": "2"}
    world.cli("restore", "--at", moments[2].isoformat(), "--database", "third").must(65)
    assert "third" not in world.server.databases()


def test_a_whole_copy_is_read_rather_than_a_home_that_lacks_a_later_layer(
    stand_in: CockroachServer, make_world: MakeWorld
) -> None:
    world, moments = _two_copies(stand_in, make_world)
    home, copy = world.places
    later = [key for key in home.all_keys() if "/incrementals/" in key and key.endswith(".sst")]

    home.delete(later[0])

    restored = world.cli("restore", "--at", moments[0].isoformat(), "--database", "x", "--json")
    assert [(one["name"], one["ok"]) for one in restored.must(0).outcome()["fates"]] == [
        (home.name, False),
        (copy.name, True),
    ]
    assert "is not whole" not in restored.said


def test_a_file_with_wrong_bytes_is_found_by_the_restore_which_then_reads_the_copy(
    stand_in: CockroachServer, make_world: MakeWorld
) -> None:
    world, moments = _two_copies(stand_in, make_world)
    home, _ = world.places
    for key in home.all_keys():
        if key.endswith(".sst"):
            home.write(key, bytes(len(home.read(key))))

    said = world.cli("restore", "--at", moments[1].isoformat(), "--database", "x").must(0).said

    assert f"reading from {home.name} failed" in said
    assert world.server.rows("x") == {"a": "2"}
    world.assert_nothing_left()


def _two_copies(
    stand_in: CockroachServer, make_world: MakeWorld
) -> tuple[CockroachWorld, list[datetime]]:
    """A chain of two layers, in its home and in another place; when each of them ends."""
    world = make_world(stand_in, "s3", "minio")
    world.encrypt()
    world.put("a", "1")
    world.back_up()
    world.put("a", "2")
    world.back_up()
    return world, ends(world)
