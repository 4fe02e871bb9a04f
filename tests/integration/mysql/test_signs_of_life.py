"""What tells the watchdog that a server is at work, where one statement takes long."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from engines.interface import Progress, Target
from tests.integration.mysql.conftest import Backup, a_backup, left_behind
from tests.servers.mysql import MysqlServer
from tests.servers.postgres_engine import a_context

_STAGE = "indexes and constraints"
#: The server is asked every 2 s.
_HELD_S = 7.0


@pytest.fixture
def large(
    mysql_server: MysqlServer, a_schema: Callable[[MysqlServer], str], tmp_path: Path
) -> Backup:
    """A backup of one table of 3 MB with an index that is made when the rows are there."""
    database = a_schema(mysql_server)
    digit = " UNION ALL ".join(f"SELECT {number} AS d" for number in range(10))
    mysql_server.run(
        "CREATE TABLE t (id INT PRIMARY KEY, a VARCHAR(300), KEY a (a))",
        f"INSERT INTO t SELECT n.d + 10 * m.d + 100 * k.d + 1000 * l.d, REPEAT(SHA2(m.d, 256), 4)"
        f" FROM ({digit}) n, ({digit}) m, ({digit}) k, ({digit}) l",
        database=database,
    )
    return a_backup(mysql_server, database, tmp_path)


@pytest.fixture
def other(mysql_server: MysqlServer) -> Iterator[Any]:
    connection = mysql_server.connect()
    yield connection
    connection.close()


def test_a_statement_that_waits_for_a_lock_is_not_at_work(
    large: Backup, other: Any, a_schema: Callable[[MysqlServer], str], tmp_path: Path
) -> None:
    free = a_schema(large.server)
    large.server.run(f"DROP DATABASE `{free}`")
    told: list[tuple[float, Progress]] = []
    held = threading.Event()

    def release() -> None:
        time.sleep(_HELD_S)
        other.cursor().execute("UNLOCK TABLES")

    releasing = threading.Thread(target=release)

    def report(progress: Progress) -> None:
        told.append((time.monotonic(), progress))
        if progress.stage == _STAGE and not held.is_set():
            held.set()
            (beside,) = left_behind(large.server)
            with other.cursor() as cursor:
                cursor.execute(f"LOCK TABLES `{beside}`.t READ")
            releasing.start()

    begun = time.monotonic()
    large.engine.restore_backup(
        large.source(),
        large.facts,
        evolve(a_context(tmp_path), report=report),
        target=Target(database=free),
    )
    releasing.join()

    assert time.monotonic() - begun > _HELD_S
    assert [one.signs for at, one in told if one.stage == _STAGE and at - begun < _HELD_S] == [0, 0]
    assert large.server.run("SHOW INDEX FROM t", database=free)[1][2] == "a"
