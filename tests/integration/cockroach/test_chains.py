"""When a chain goes on and when it ends, where its copies are, and when it is deleted."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.integration.cockroach.conftest import MakeWorld
from tests.integration.cockroach.world import PASSPHRASE, CockroachWorld
from tests.servers.cockroach import server
from tests.servers.cockroach.jobs import Fate
from tests.servers.cockroach.server import CockroachServer

#: Nobody listens there.
NOWHERE = "127.0.0.1:9"


def restored(world: CockroachWorld, backup_id: str, *options: str) -> dict[str, str]:
    """What a backup holds."""
    name = f"restored_{time.monotonic_ns()}"
    world.cli("restore", "--name", backup_id, "--database", name, *options).must(0)
    return world.server.rows(name)


# -- a full one is due -------------------------------------------------------------------


def test_a_new_passphrase_begins_a_new_chain_and_opens_the_old_one(one: CockroachWorld) -> None:
    one.put("a", "1")
    old = one.back_up()
    one.encrypt("another one", previousEncryptionPasses=[{"value": PASSPHRASE}])
    one.put("a", "2")

    said = one.cli("backup-now").must(0).said

    assert f"the chain {old} ends, a full backup follows" in said
    new = one.backups()[-1]
    assert one.layer(new)["chain"] == new
    assert (restored(one, old), restored(one, new)) == ({"a": "1"}, {"a": "2"})
    one.encrypt("another one")
    one.cli("verify", old).must(65, "decrypt")


def test_a_chain_older_than_what_the_cluster_keeps_ends(one: CockroachWorld) -> None:
    one.back_up()
    one.server.execute(f"ALTER DATABASE {one.database} CONFIGURE ZONE USING gc.ttlseconds = 1")
    time.sleep(1.1)  # the cluster's clock is the real one

    said = one.cli("backup-now").must(0).said

    assert "a full backup follows" in said
    assert "gc.ttlseconds" in said
    assert len(one.chains()) == 2


def test_another_version_of_the_cluster_begins_a_new_chain(one: CockroachWorld) -> None:
    one.back_up()
    one.stand_in.version = (26, 1)

    one.cli("backup-now").must(0, "it is of v25.4.40, and this is v26.1.40")

    assert len(one.chains()) == 2


def test_an_incremental_backup_that_fails_becomes_a_full_one(one: CockroachWorld) -> None:
    """A chain that cannot go on must not end the backups."""
    one.back_up()
    one.put("a", "new")
    reason = "batch timestamp must be after replica GC threshold"
    one.stand_in.jobs.fates["BACKUP"] = [Fate("failed", reason)]

    one.cli("backup-now").must(0, reason, "a full backup follows")

    assert len(one.chains()) == 2
    assert restored(one, one.backups()[-1]) == {"a": "new"}


@pytest.fixture
def unlicensed() -> Iterator[CockroachServer]:
    with server.standing_in(version=(24, 2), licensed=False) as found:
        yield found


def test_without_a_licence_every_backup_is_a_full_one_of_one_instant(
    unlicensed: CockroachServer, make_world: MakeWorld
) -> None:
    world = make_world(unlicensed, "s3")
    world.back_up()
    world.cli("backup-now").must(0, "enterprise license")

    rows = world.cli("list", "--json").must(0).json()
    assert [row["backTo"] == row["stateOf"] for row in rows] == [True, True]
    assert len(world.chains()) == 2
    world.encrypt()
    world.cli("backup-now").must(78, "enterprise license")


def test_a_backup_of_a_newer_version_is_refused_before_anything_is_begun(
    one: CockroachWorld,
) -> None:
    backup = one.back_up()
    one.stand_in.version = (25, 2)
    jobs = len(one.stand_in.jobs.all())

    one.cli("restore", "--name", backup, "--database", "x").must(78, "cannot read it")

    assert len(one.stand_in.jobs.all()) == jobs


# -- two locations -----------------------------------------------------------------------


def test_the_cluster_dumps_once_and_every_location_has_the_chain(
    two_places: CockroachWorld,
) -> None:
    world = two_places
    world.put("a", "1")
    full = world.back_up()
    world.put("a", "2")
    layer = world.back_up()

    jobs = [job for job in world.stand_in.jobs.all() if job.kind == "BACKUP"]
    assert len(jobs) == 2
    for place in world.places:
        assert world.backups(place) == [full, layer]
        assert world.layer(layer, place.name)["home"] == world.places[0].name
        assert restored(world, layer, "--from", place.name) == {"a": "2"}
        assert restored(world, full, "--from", place.name) == {"a": "1"}
        world.cli("verify", "--all", "--location", place.name).must(0)
    first, second = (
        {key: place.read(key) for key in place.all_keys() if "/_data/" in key}
        for place in world.places
    )
    assert first == second


def test_a_location_that_was_down_gets_what_it_missed(two_places: CockroachWorld) -> None:
    world = two_places
    home, other = world.places
    fields = {"encryptionPass": {"value": PASSPHRASE}}
    away = {home.name: fields, other.name: {**fields, "storageEndpoint": NOWHERE}}
    world.configure(storage={"minSuccessfulLocations": 1}, locations=away)
    first = world.back_up()
    second = world.back_up()
    assert world.backups(other) == []

    world.encrypt()
    third = world.back_up()

    assert world.backups(other) == [first, second, third]
    world.cli("verify", "--all", "--location", other.name).must(0)


def test_a_home_that_is_down_is_left_and_gets_the_next_chain(two_places: CockroachWorld) -> None:
    """Going on with a copy would make two chains of one."""
    world = two_places
    home, other = world.places
    first = world.back_up()
    fields = {"encryptionPass": {"value": PASSPHRASE}}
    away = {home.name: {**fields, "storageEndpoint": NOWHERE}, other.name: fields}
    world.configure(storage={"minSuccessfulLocations": 1}, locations=away)

    second = world.back_up()
    assert world.layer(second, other.name) | {"chain": second, "home": other.name, "number": 0} == (
        world.layer(second, other.name)
    )

    world.encrypt()
    third = world.back_up()
    assert world.layer(third, other.name)["chain"] == second
    assert world.backups(home) == [first, second, third]
    assert world.backups(other) == [first, second, third]


def test_a_bucket_that_only_the_cluster_cannot_reach_is_that_location_s_fate(
    two_places: CockroachWorld,
) -> None:
    world = two_places
    fields = {"encryptionPass": {"value": PASSPHRASE}}
    world.configure(
        storage={"minSuccessfulLocations": 1},
        locations={place.name: fields for place in world.places},
    )
    reason = "failed to put s3 object: RequestError: send request failed"
    world.stand_in.jobs.fates["BACKUP"] = [Fate("failed", reason)]

    said = world.cli("backup-now").must(0, reason).said

    first, second = world.places
    assert f"{second.name}: ok" in said
    assert world.backups(first) == []
    assert len(world.backups(second)) == 1
    world.assert_no_half_backup()


def test_what_only_the_cluster_cannot_read_is_read_from_the_next_location(
    two_places: CockroachWorld,
) -> None:
    """Its nodes' own error is none of the cluster's, which answers."""
    world = two_places
    world.put("a", "1")
    full = world.back_up()
    home, other = world.places
    world.stand_in.out_of_reach.add(home.spec["storageBucket"])

    said = world.cli("restore", "--name", full, "--database", "x").must(0).said

    assert f"reading from {home.name} failed" in said
    assert "AccessDenied" in said
    assert world.server.rows("x") == {"a": "1"}
    world.cli("restore", "--name", full, "--database", "y", "--from", home.name).must(75)
    world.cli("verify", "--all", "--location", other.name).must(0)


def test_a_chain_whose_home_the_cluster_cannot_reach_ends(two_places: CockroachWorld) -> None:
    world = two_places
    fields = {"encryptionPass": {"value": PASSPHRASE}}
    world.configure(
        storage={"minSuccessfulLocations": 1},
        locations={place.name: fields for place in world.places},
    )
    full = world.back_up()
    home, other = world.places
    world.stand_in.out_of_reach.add(home.spec["storageBucket"])

    said = world.cli("backup-now").must(0).said

    assert f"the chain {full} ends, a full backup follows" in said
    new = world.backups(other)[-1]
    assert world.layer(new, other.name)["home"] == other.name


def test_different_passphrases_are_refused(two_places: CockroachWorld) -> None:
    first, second = two_places.places
    two_places.configure(
        locations={
            first.name: {"encryptionPass": {"value": "one"}},
            second.name: {"encryptionPass": {"value": "two"}},
        }
    )

    two_places.cli("backup-now").must(78, "backupLocations: have different passphrases")

    assert two_places.backups() == []


# -- retention ---------------------------------------------------------------------------


def test_a_chain_is_pruned_as_a_whole(one: CockroachWorld) -> None:
    retention = {"keepLast": 1, "minimumKeep": 1}
    fields = {one.places[0].name: {"encryptionPass": {"value": PASSPHRASE}}}
    old = [one.back_up(), one.back_up(), one.back_up()]
    one.configure(locations=fields, retention=retention)

    said = one.cli("prune", "--dry-run").must(0).said
    assert f"of the same chain as {old[-1]}" in said
    one.cli("prune").must(0)
    assert one.backups() == old

    one.stand_in.version = (26, 1)
    new = one.back_up()

    assert one.backups() == [new]
    assert one.chains() == [new]
    one.cli("verify", "--all").must(0)


def test_deleting_everything_leaves_nothing(one: CockroachWorld) -> None:
    """A deletion knows the keys of a chain as data of a backup."""
    from runner.repository.erasure import holdings
    from runner.repository.layout import Layout

    one.back_up()
    one.back_up()

    found = holdings(Layout(namespace="db", name="shop"), one.places[0].all_keys())

    assert found.strangers == ()
    assert len(found.manifests) == 2
