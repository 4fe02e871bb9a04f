"""The watchdog over whole jobs: who is at work is left alone, who is not is ended."""

from __future__ import annotations

import time

import pytest
from attrs import evolve

from tests.integration.cockroach.conftest import MakeWorld
from tests.integration.cockroach.world import CockroachWorld
from tests.servers.cockroach.server import CockroachServer
from tests.servers.proxy import TcpProxy

#: The least that can be configured.
_STALL_S = 15


@pytest.fixture
def world(stand_in: CockroachServer, make_world: MakeWorld) -> CockroachWorld:
    made = make_world(stand_in, "s3")
    made.configure(stallTimeout=f"{_STALL_S}s")
    made.put("a", "1")
    return made


def test_a_long_look_at_the_files_is_no_stall(world: CockroachWorld) -> None:
    world.stand_in.looks_end.clear()
    with world.started("backup-now") as process:
        assert world.stand_in.looked.wait(60)
        time.sleep(1.5 * _STALL_S)
        assert process.poll() is None, process.communicate()
        world.stand_in.looks_end.set()
        said, _ = process.communicate(timeout=60)

    assert process.returncode == 0, said
    world.cli("verify").must(0)


def test_a_job_that_does_not_move_is_ended_and_its_part_in_the_cluster_too(
    world: CockroachWorld,
) -> None:
    world.stand_in.jobs.go.clear()
    with world.started("backup-now") as process:
        job = world.stand_in.jobs.wait_for("BACKUP")
        said, _ = process.communicate(timeout=6 * _STALL_S)

    assert process.returncode == 75, said
    assert "no progress" in said
    assert job.status == "canceled"
    world.stand_in.jobs.go.set()
    assert world.backups() == []
    world.back_up()


def test_a_cluster_that_falls_silent_ends_the_job_which_is_found_later(
    stand_in: CockroachServer, world: CockroachWorld
) -> None:
    world.stand_in.jobs.go.clear()
    with TcpProxy(stand_in.port) as way:
        world.server = evolve(stand_in, port=way.port)
        world.configure(stallTimeout=f"{_STALL_S}s")
        with world.started("backup-now") as process:
            job = world.stand_in.jobs.wait_for("BACKUP")
            way.is_hanging = True
            said, _ = process.communicate(timeout=6 * _STALL_S)
        assert process.returncode == 75, said
        assert job.status == "running"
        way.is_hanging = False
    world.server = stand_in
    world.configure(stallTimeout=f"{_STALL_S}s")
    world.stand_in.jobs.go.set()

    world.back_up()

    # That one, and one of now.
    assert [one.status for one in world.stand_in.jobs.all()] == ["succeeded"] * 2
