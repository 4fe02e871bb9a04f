"""A server that waits, as there is no room for its binary log: a restore does not wait for ever."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from controller.api.errors import BusyError
from tests.integration.jobs.commands import Done, eventually
from tests.integration.jobs.world import World
from tests.integration.mysql.conftest import left_behind, schemas
from tests.integration.mysql.test_backup_faults import fill_large
from tests.servers import mysql
from tests.servers.fixtures import given
from tests.servers.mysql import MysqlServer
from tests.servers.mysql_fixtures import NEWEST
from tests.servers.mysql_samples import fingerprint

#: Of the disk; and what is free on it when a restore begins, which writes more.
_DISK_MIB, _FREE_BYTES = 64, 8 << 20
#: A server that waits tries again each minute.
_RETRY_S = 60


@pytest.fixture
def disk() -> Iterator[Path]:
    """A small file system."""
    if os.geteuid() != 0:
        pytest.skip("a small file system needs root: run the tests as root to try a full disk")
    path = Path(tempfile.mkdtemp(prefix="disk-", dir="/tmp"))
    mount = ["mount", "-t", "tmpfs", "-o", f"size={_DISK_MIB}m,mode=700", "tmpfs", path]
    mounted = subprocess.run(mount, capture_output=True, check=False)
    if mounted.returncode:
        path.rmdir()
        pytest.skip(f"mount is not allowed here: {mounted.stderr.decode()}")
    yield path
    subprocess.run(["umount", path], check=True)
    path.rmdir()


@pytest.fixture(params=NEWEST.items(), ids="{0[0]}{0[1]}".format)
def mysql_server(request: pytest.FixtureRequest, disk: Path) -> Iterator[MysqlServer]:
    """One whose binary log is on that disk, in place of the run's."""
    family, series = request.param
    if (family, series) == ("mariadb", "11.4"):
        pytest.skip(
            "MariaDB 11.4.5 goes on waiting when there is room again, until it is restarted"
        )
    yield from given(mysql.running(family, series, options={"log_bin": str(disk / "bin")}))


def test_a_restore_is_ended_and_the_next_one_that_has_room_takes_its_place(
    world: World, mysql_server: MysqlServer, disk: Path
) -> None:
    server, database = mysql_server, world.database
    fill_large(server, database)
    end_stalled_jobs_early(world)
    backup_id = world.back_up()
    server.run("DELETE FROM zz_last", "FLUSH BINARY LOGS", database=database)
    before = fingerprint(server, database)
    restore = ("restore", "--name", backup_id, "--replace", "--yes")
    ballast = fill_up(disk)

    done = world.cli(*restore)

    done.must(75, "made no progress for 15 s", "its disk full")
    assert fingerprint(server, database) == before
    ballast.unlink()

    done = eventually(
        lambda: unless_busy(world.cli(*restore, timeout_s=90 + _RETRY_S)),
        say=lambda: "a session of the job that was ended holds the target",
        timeout_s=2 * _RETRY_S,
    )

    done.must(0)
    (kept,) = schemas(server, f"{database}_before_")
    assert rows(fingerprint(server, kept)) == rows(before)
    assert server.run("SELECT COUNT(*) FROM zz_last", database=database) == [(10,)]
    assert left_behind(server) == []


def unless_busy(done: Done) -> Done | None:
    """The server tries to write again each minute; until then a session may hold the target."""
    return None if done.code == BusyError.exit_code else done


def rows(found: dict[str, Any]) -> dict[str, Any]:
    return {name: what for name, what in found.items() if name.startswith("rows of ")}


def fill_up(disk: Path) -> Path:
    """A file that leaves next to no room on a disk."""
    found = os.statvfs(disk)
    path = disk / "ballast"
    with path.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, found.f_bavail * found.f_frsize - _FREE_BYTES)
    return path


def end_stalled_jobs_early(world: World) -> None:
    path = world.config / "backup.yaml"
    backup = json.loads(path.read_text())
    backup["spec"]["stallTimeout"] = "15s"
    path.write_text(json.dumps(backup))
