"""Releases whose faults the vendor has told."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.cockroach.conftest import MakeWorld
from tests.servers.cockroach import server
from tests.servers.cockroach.server import CockroachServer


@pytest.fixture
def released(request: pytest.FixtureRequest) -> Iterator[CockroachServer]:
    """A stand-in of the version and patch that a test names."""
    version, patch = request.param
    with server.standing_in(version=version, patch=patch) as found:
        yield found


@pytest.mark.parametrize("released", [((25, 2), 3)], indirect=True)
def test_one_that_may_lose_data_is_warned_of_until_another_makes_a_full_backup(
    released: CockroachServer, make_world: MakeWorld
) -> None:
    world = make_world(released, "s3")
    warning = "technical advisory 151050): upgrade to v25.2.4"
    full = world.cli("backup-now", "--json").must(0, warning).outcome()["backupId"]
    layer = world.cli("backup-now", "--json").must(0, warning).outcome()["backupId"]
    assert world.layer(layer)["chain"] == full
    world.stand_in.patch = 4

    said = world.cli("backup-now").must(0).said

    assert f"the chain {full} ends, a full backup follows" in said
    assert warning not in said
    new = world.backups()[-1]
    assert world.layer(world.back_up())["chain"] == new
    world.cli("restore", "--name", layer, "--database", "old").must(0, warning)
    assert warning not in world.cli("restore", "--at", "now", "--database", "x").must(0).said


@pytest.mark.parametrize("released", [((23, 1), 8)], indirect=True)
def test_one_that_spoils_tables_restores_nothing(
    released: CockroachServer, make_world: MakeWorld
) -> None:
    world = make_world(released, "s3")
    world.put("a", "1")
    world.back_up()

    world.cli("restore", "--at", "now", "--database", "x").must(78, "upgrade to v23.1.9")

    assert "x" not in world.server.databases()
    world.stand_in.patch = 9
    world.cli("restore", "--at", "now", "--database", "x").must(0)


@pytest.mark.parametrize("released", [((24, 3), 2)], indirect=True)
def test_one_that_looks_for_the_bucket_in_the_host_s_name_is_refused(
    released: CockroachServer, make_world: MakeWorld
) -> None:
    world = make_world(released, "s3")

    world.cli("backup-now").must(78, "backupLocations[0].forcePathStyle", "v24.3.3")

    assert not world.stand_in.jobs.all()
    world.stand_in.patch = 3
    world.back_up()
