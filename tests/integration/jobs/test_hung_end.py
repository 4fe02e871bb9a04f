"""A job that has to end does so in seconds, also when the database does not answer any more."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.integration.jobs.commands import eventually
from tests.integration.jobs.conftest import MakeWorld
from tests.integration.jobs.world import World, client_bin_dirs_with, fingerprint
from tests.servers.proxy import TcpProxy

#: On an idle machine 6 s for a backup, 9 s for a restore; without an end by itself it is a kill
#: after 30 s, and nothing is taken back.
_SOON_S = 15


@pytest.fixture
def world(make_world: MakeWorld, slow_database: TcpProxy) -> World:
    world = make_world("folder", "minio", large=True)
    world.configure(
        database={"host": "127.0.0.1", "port": slow_database.port}, runner={"parallelism": 2}
    )
    return world


def _cancelled_in_s(world: World) -> float:
    job = Path("/proc") / str(world.find_process("runner.jobs.child"))
    world.cli("cancel").must(0, "is being ended")
    started = time.monotonic()
    eventually(lambda: not job.exists(), say=lambda: "the job still runs", timeout_s=60)
    return time.monotonic() - started


def _unblock(proxy: TcpProxy) -> None:
    proxy.is_hanging = False
    proxy.bytes_per_s = None
    proxy.cut()


def test_hung_backup_is_cancelled_and_takes_its_uploads_back(
    world: World, slow_database: TcpProxy
) -> None:
    slow_database.bytes_per_s = 4e6
    with world.runner():
        with world.started("backup-now") as client:
            world.find_process("pg_dump")
            eventually(
                lambda: any(place.uploads() for place in world.places),
                say=lambda: "nothing is uploaded",
            )
            slow_database.is_hanging = True
            assert _cancelled_in_s(world) < _SOON_S
            said, _ = client.communicate(timeout=30)
            assert client.returncode == 130, said
        assert world.backups() == []
        world.assert_no_half_backup()
        assert not any(place.uploads() for place in world.places)
        assert not world.processes("pg_dump")
        _unblock(slow_database)
        world.back_up()


def test_hung_restore_is_cancelled_and_says_what_it_could_not_take_back(
    world: World, slow_database: TcpProxy
) -> None:
    world.back_up()
    new = f"{world.database}_new"
    slow_database.bytes_per_s = 4e6
    with world.runner():
        with world.started("restore", "--at", "now", "--database", new) as client:
            world.find_process("pg_restore")
            slow_database.is_hanging = True
            assert _cancelled_in_s(world) < _SOON_S
            said, _ = client.communicate(timeout=30)
            assert client.returncode == 130, said
        assert "warning: left behind: DROP DATABASE" in said
        assert not world.processes("pg_restore")
        _unblock(slow_database)
        world.cli("restore", "--at", "now", "--database", new).must(0)
    assert fingerprint(world.server, new) == fingerprint(world.server, world.database)


@pytest.mark.parametrize("argv", [["backup-now"], ["restore", "--at", "now", "--database", "x"]])
def test_a_database_that_hangs_from_the_start_holds_up_no_cancel(
    world: World, slow_database: TcpProxy, argv: list[str]
) -> None:
    world.back_up()
    with world.runner(), world.started(*argv) as client:
        slow_database.is_hanging = True
        eventually(
            lambda: (world.status()["progress"] or {}).get("stage") == "preflight",
            say=lambda: "it does not connect",
        )
        assert _cancelled_in_s(world) < _SOON_S
        said, _ = client.communicate(timeout=30)
        assert client.returncode == 130, said
        _unblock(slow_database)


def test_a_slow_server_that_answers_is_waited_for(world: World, slow_database: TcpProxy) -> None:
    """Its sessions are not cut: what a restore began is dropped."""
    world.back_up()
    slow_database.bytes_per_s = 4e6
    new = f"{world.database}_new"
    with world.runner():
        with world.started("restore", "--at", "now", "--database", new) as client:
            world.find_process("pg_restore")
            assert _cancelled_in_s(world) < _SOON_S
            said, _ = client.communicate(timeout=30)
            assert client.returncode == 130, said
        assert "left behind" not in said
    slow_database.bytes_per_s = None
    world.assert_nothing_left()


@pytest.mark.parametrize("parallelism", [1, 2])
def test_a_table_of_contents_that_is_not_listed_ends_with_its_job(
    make_world: MakeWorld, parallelism: int
) -> None:
    """Of one stream its head is tried until it can be listed; of several the definitions are."""
    world = make_world("folder")
    world.configure(runner={"parallelism": parallelism})
    world.back_up()
    lister = world.folder / "lister"
    hangs = f'case "$1" in --list) echo $$ > {lister}.new; mv {lister}.new {lister}; exec sleep 600'
    tools = client_bin_dirs_with(
        world.folder / "tools",
        world.server,
        {"pg_restore": f'{hangs};; esac\nexec "$REAL/pg_restore" "$@"'},
    )
    new = f"{world.database}_new"

    with (
        world.runner(POSTGRES_BIN_DIRS=tools),
        world.started("restore", "--at", "now", "--database", new) as client,
    ):
        eventually(lister.exists, say=lambda: "no table of contents is listed")
        assert _cancelled_in_s(world) < _SOON_S
        said, _ = client.communicate(timeout=30)
        assert client.returncode == 130, said

    assert not Path(f"/proc/{lister.read_text().strip()}").exists()
    world.assert_nothing_left()
