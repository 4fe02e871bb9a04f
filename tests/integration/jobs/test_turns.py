"""Without a runner, too, at most one acts: real commands against each other."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.integration.jobs.commands import eventually
from tests.integration.jobs.conftest import MakeWorld
from tests.integration.jobs.world import World
from tests.servers.proxy import TcpProxy

_NEW = "db_of_another_name"


@pytest.fixture
def world(make_world: MakeWorld, slow_database: TcpProxy) -> World:
    """One backup is there; the way to the database can be blocked."""
    world = make_world("folder", large=True)
    world.back_up()
    world.configure(database={"host": "127.0.0.1", "port": slow_database.port})
    return world


@contextmanager
def _backing_up(world: World, proxy: TcpProxy) -> Iterator[subprocess.Popen[str]]:
    """A backup by hand that gets on only when the block is left, and then ends."""
    proxy.bytes_per_s = 8e6
    with world.started("backup-now") as holder:
        world.find_process("pg_dump")
        proxy.is_hanging = True
        try:
            yield holder
        finally:
            proxy.is_hanging = False
            proxy.bytes_per_s = None
            holder.communicate(timeout=60)


def _said(process: subprocess.Popen[str]) -> str:
    """A line of a process that still runs."""
    assert process.stdout is not None
    return process.stdout.readline()


def test_a_second_one_that_acts_is_refused_with_the_first_ones_name(
    world: World, slow_database: TcpProxy
) -> None:
    with _backing_up(world, slow_database) as holder:
        for argv in (
            ["backup-now"],
            ["restore", "--at", "now", "--database", _NEW],
            ["prune"],
            ["verify"],
            ["adopt"],
        ):
            refused = world.cli(*argv, "--no-wait").must(69)
            assert f"a backup (process {holder.pid}) is at work" in refused.err
        in_json = json.loads(world.cli("backup-now", "--no-wait", "--json").must(69).out)
        assert in_json["reason"] == "Busy"
    assert holder.returncode == 0
    assert len(world.backups()) == 2


def test_a_second_one_waits_and_then_does_its_work(world: World, slow_database: TcpProxy) -> None:
    with _backing_up(world, slow_database) as holder, world.started("backup-now") as second:
        assert _said(second).startswith(f"waiting: a backup (process {holder.pid})")
        assert len(world.processes("runner.jobs.child")) == 1
        assert second.poll() is None
        slow_database.is_hanging = False
        said, _ = second.communicate(timeout=60)
        assert second.returncode == 0, said
    assert holder.returncode == 0
    assert len(world.backups()) == 3


def test_who_only_reads_is_never_blocked(world: World, slow_database: TcpProxy) -> None:
    (backup_id,) = world.backups()
    with _backing_up(world, slow_database):
        world.cli("list").must(0, backup_id)
        world.cli("show", backup_id).must(0, backup_id)
        world.cli("unpack", backup_id, "--to", str(world.folder / "out")).must(0)
        world.cli("prune", "--dry-run").must(0, "keep")
        world.configure()  # straight to the database, past the way that is blocked
        world.cli("doctor").must(0)
        world.cli("restore", "--at", "now", "--database", _NEW, "--dry-run").must(0, "plan")


def test_one_that_is_killed_holds_nobody_up(world: World, slow_database: TcpProxy) -> None:
    with _backing_up(world, slow_database) as holder:
        holder.kill()
        holder.wait()
    eventually(lambda: not world.processes("runner.jobs.child"), say=lambda: "the job lives")
    world.cli("backup-now", "--no-wait").must(0)


def test_a_runner_waits_for_a_command_and_then_takes_over(
    world: World, slow_database: TcpProxy
) -> None:
    with _backing_up(world, slow_database) as holder, world.runner(wait=False) as runner:
        waits = f'"holder":"a backup (process {holder.pid})"'
        eventually(lambda: waits in runner.log, say=lambda: runner.log, timeout_s=30)
        assert "runner started" not in runner.log
        slow_database.is_hanging = False
        runner.wait_ready()
        world.cli("backup-now").must(0)


def test_who_waits_for_a_runner_that_starts_asks_it(world: World, slow_database: TcpProxy) -> None:
    """It holds the fence before it listens; the command must not wait for its end."""
    with _backing_up(world, slow_database), world.runner(wait=False) as runner:
        eventually(lambda: "holder" in runner.log, say=lambda: runner.log, timeout_s=30)
        with world.started("backup-now") as second:
            assert _said(second).startswith("waiting: a backup")
            slow_database.is_hanging = False
            said, _ = second.communicate(timeout=90)
            assert second.returncode == 0, said
        runner.wait_ready()
        world.cli("adopt", "--no-wait").must(0)
