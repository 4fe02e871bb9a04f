"""A backup that cannot be whole fails, says why, and leaves nothing running."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from controller.api.errors import (
    BackupError,
    Cancelled,
    DatabaseUnavailable,
    PreflightFailed,
    StorageUnavailable,
)
from engines.interface import Progress, Target
from engines.mysql_family import connection
from tests.fakes.streams import MemorySink, MemorySource
from tests.integration.mysql.conftest import Backup, a_backup, fill_small
from tests.servers import mysql
from tests.servers.fixtures import given
from tests.servers.mysql import MysqlServer
from tests.servers.mysql_engine import an_engine
from tests.servers.mysql_fixtures import newest
from tests.servers.mysql_samples import fingerprint
from tests.servers.postgres_engine import a_context
from tests.servers.proxy import TcpProxy

AnySchema = Callable[..., str]
#: More than pipes and sockets hold together.
LARGE = 60_000


def children() -> list[str]:
    """Client tools that this process started and that still run."""
    listed = subprocess.run(
        ["ps", "-ww", "--ppid", str(os.getpid()), "-o", "args="],
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    return [line for line in listed.splitlines() if "defaults-file" in line]


def fill_large(server: MysqlServer, database: str) -> None:
    fill_small(server, database)
    server.run(
        "CREATE TABLE large (id INT AUTO_INCREMENT PRIMARY KEY, t TEXT)",
        *["INSERT INTO large (t) SELECT t FROM a"] * (LARGE // 2000),
        "CREATE TABLE zz_last (id INT PRIMARY KEY, t TEXT)",
        "INSERT INTO zz_last SELECT id, t FROM a LIMIT 10",
        database=database,
    )


def paused_at(size: int, then: Callable[[], None]) -> Callable[[Progress], None]:
    """A location that lags: at so many bytes of the dump, once, something else happens."""
    happened = threading.Event()

    def report(progress: Progress) -> None:
        if progress.stage == "dump" and progress.done >= size and not happened.is_set():
            happened.set()
            then()

    return report


@pytest.mark.parametrize("fail_at", [0, 100_000])
def test_a_failing_sink_ends_everything(
    mysql_server: MysqlServer, a_schema: AnySchema, tmp_path: Path, fail_at: int
) -> None:
    database = a_schema(mysql_server)
    fill_small(mysql_server, database)
    sink = MemorySink(fail_at=fail_at, error=StorageUnavailable("the disk is full"))
    before = threading.active_count()

    with pytest.raises(StorageUnavailable, match="full"):
        an_engine(mysql_server, database).create_backup(sink, a_context(tmp_path))

    assert sink.aborted
    assert sink.streams == {}
    assert children() == []
    assert threading.active_count() == before


def test_cancelled_in_the_middle_leaves_no_child(
    mysql_server: MysqlServer, a_schema: AnySchema, tmp_path: Path
) -> None:
    database = a_schema(mysql_server)
    fill_large(mysql_server, database)
    cancelled = threading.Event()
    report = paused_at(1_000_000, cancelled.set)

    with pytest.raises(Cancelled):
        an_engine(mysql_server, database).create_backup(
            MemorySink(), a_context(tmp_path, cancelled=cancelled, report=report)
        )

    assert children() == []


@pytest.mark.parametrize(
    "statement",
    [
        "TRUNCATE zz_last",
        "ALTER TABLE zz_last ADD extra INT",
        "DROP TABLE zz_last",
        "RENAME TABLE zz_last TO zz_other",
        "CREATE TABLE zz_new (id INT)",
        "DROP VIEW shown",
        "ALTER VIEW shown AS SELECT 1 AS other",
    ],
)
def test_ddl_in_the_middle_never_empties_a_backup(
    mysql_server: MysqlServer, a_schema: AnySchema, tmp_path: Path, statement: str
) -> None:
    database = a_schema(mysql_server)
    fill_large(mysql_server, database)
    report = paused_at(1_000_000, lambda: mysql_server.run(statement, database=database))
    sink = MemorySink()

    with pytest.raises(DatabaseUnavailable, match="altered while it was being dumped"):
        an_engine(mysql_server, database).create_backup(sink, a_context(tmp_path, report=report))

    assert sink.streams == {}


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_dump_that_is_killed_is_no_backup(
    mysql_server: MysqlServer, a_schema: AnySchema, tmp_path: Path, number: int
) -> None:
    database = a_schema(mysql_server)
    fill_large(mysql_server, database)

    def kill() -> None:
        listed = subprocess.run(
            ["ps", "-ww", "--ppid", str(os.getpid()), "-o", "pid=,args="],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for line in listed.splitlines():
            if "defaults-file" in line:
                os.kill(int(line.split()[0]), number)

    sink = MemorySink()
    with pytest.raises(BackupError):
        an_engine(mysql_server, database).create_backup(
            sink, a_context(tmp_path, report=paused_at(1_000_000, kill))
        )

    assert sink.streams == {}


@pytest.mark.parametrize("family", ["mariadb", "mysql"])
def test_a_server_that_restarts_in_the_middle(tmp_path: Path, family: str) -> None:
    for server in given(mysql.running(family, newest(family))):
        server.run("CREATE DATABASE shop")
        fill_large(server, "shop")
        sink = MemorySink()

        with pytest.raises(DatabaseUnavailable):
            an_engine(server, "shop").create_backup(
                sink, a_context(tmp_path, report=paused_at(1_000_000, server.process.kill))
            )

        assert sink.streams == {}
        again = mysql.restarted(server)
        try:
            assert a_backup(again, "shop", tmp_path).facts.counts["tables"] == 5
        finally:
            again.process.stop()


def test_a_connection_that_is_cut_is_no_end_of_a_dump(
    mysql_server: MysqlServer, a_schema: AnySchema, tmp_path: Path
) -> None:
    database = a_schema(mysql_server)
    fill_large(mysql_server, database)
    for cut_after in (300_000, 3_000_000):
        sink = MemorySink()
        with TcpProxy(mysql_server.port) as proxy:
            engine = an_engine(mysql_server, database, port=proxy.port)
            proxy.cut_after_bytes = cut_after
            with pytest.raises(DatabaseUnavailable):
                engine.create_backup(sink, a_context(tmp_path))
        assert sink.streams == {}
    assert children() == []


def test_a_connection_that_hangs_ends_with_the_job(
    mysql_server: MysqlServer, a_schema: AnySchema, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "_LAST_CONNECT_TIMEOUT_S", 1)
    database = a_schema(mysql_server)
    fill_large(mysql_server, database)
    cancelled = threading.Event()
    with TcpProxy(mysql_server.port) as proxy:

        def hang() -> None:
            proxy.is_hanging = True
            threading.Timer(1.0, cancelled.set).start()

        engine = an_engine(mysql_server, database, port=proxy.port)
        started = time.monotonic()
        with pytest.raises(Cancelled):
            engine.create_backup(
                MemorySink(),
                a_context(tmp_path, cancelled=cancelled, report=paused_at(1_000_000, hang)),
            )
        assert time.monotonic() - started < 15
    assert children() == []


def test_a_server_that_hangs_at_the_login_is_given_up(
    mysql_server: MysqlServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "CONNECT_TIMEOUT_S", 1)
    with TcpProxy(mysql_server.port) as proxy:
        proxy.is_hanging = True
        engine = an_engine(mysql_server, "shop", port=proxy.port)
        with pytest.raises(DatabaseUnavailable, match="does not answer"):
            engine.create_backup(MemorySink(), a_context(tmp_path))


def test_a_write_load_leaves_one_consistent_instant(
    mysql_server: MysqlServer, a_schema: AnySchema, tmp_path: Path
) -> None:
    """Money moves between accounts of two tables all the time; none is ever made or lost."""
    database = a_schema(mysql_server)
    fill_large(mysql_server, database)
    values = ", ".join(f"({number}, 1000)" for number in range(100))
    mysql_server.run(
        "CREATE TABLE a_first (id INT PRIMARY KEY, money INT)",
        f"INSERT INTO a_first VALUES {values}",
        "CREATE TABLE zzz_last (id INT PRIMARY KEY, money INT)",
        f"INSERT INTO zzz_last VALUES {values}",
        database=database,
    )
    stop = threading.Event()
    moved = [0]

    def write() -> None:
        with mysql_server.connect(database) as writer, writer.cursor() as cursor:
            number = 0
            while not stop.is_set():
                number += 1
                writer.begin()
                cursor.execute(f"UPDATE a_first SET money = money - 1 WHERE id = {number % 100}")
                cursor.execute(f"UPDATE zzz_last SET money = money + 1 WHERE id = {number % 100}")
                writer.commit()
                moved[0] += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        backup = a_backup(mysql_server, database, tmp_path)
    finally:
        stop.set()
        writer.join()

    backup.restore(tmp_path, database=f"{database}_new")
    query = "SELECT (SELECT SUM(money) FROM {}) , (SELECT SUM(money) FROM {})"
    (sums,) = mysql_server.run(query.format("a_first", "zzz_last"), database=f"{database}_new")
    assert moved[0] > 20
    assert sum(sums) == 200_000
    assert backup.facts.position


def test_the_state_is_never_of_after_its_coverage(
    mysql_server: MysqlServer, a_schema: AnySchema, tmp_path: Path
) -> None:
    database = a_schema(mysql_server)
    mysql_server.run("CREATE TABLE t (at DATETIME(6))", database=database)
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            mysql_server.run("INSERT INTO t VALUES (UTC_TIMESTAMP(6))", database=database)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        backups = [a_backup(mysql_server, database, tmp_path) for _ in range(5)]
    finally:
        stop.set()
        writer.join()

    for number, backup in enumerate(backups):
        new = f"{database}_{number}"
        backup.restore(tmp_path, database=new)
        ((latest,),) = mysql_server.run("SELECT MAX(at) FROM t", database=new)
        at = backup.facts.coverage.start.replace(tzinfo=None)
        assert latest is None or latest <= at
        assert latest is None or (at - latest).total_seconds() < 2


def test_a_name_with_a_line_break_and_a_statement_is_refused_when_it_is_dumped(
    mysql_server: MysqlServer, a_schema: AnySchema, tmp_path: Path
) -> None:
    database = a_schema(mysql_server)
    mysql_server.run("CREATE TABLE `x\nUSE mysql` (id INT PRIMARY KEY)", database=database)
    sink = MemorySink()

    with pytest.raises(PreflightFailed, match="rename what holds 'USE'"):
        an_engine(mysql_server, database).create_backup(sink, a_context(tmp_path))

    assert sink.streams == {}


def test_an_empty_database_comes_back_empty(
    mysql_server: MysqlServer, a_schema: AnySchema, tmp_path: Path
) -> None:
    database = a_schema(mysql_server)
    backup = a_backup(mysql_server, database, tmp_path)

    restored = backup.engine.restore_backup(
        MemorySource(backup.sink.streams),
        backup.facts,
        a_context(tmp_path),
        target=Target(database=f"{database}_new"),
    )

    assert set(restored.counts.values()) == {0}
    assert (f"{database}_new",) in mysql_server.run("SHOW DATABASES")


def test_a_broken_view_is_kept_as_text_and_told(
    mysql_server: MysqlServer, a_schema: AnySchema, tmp_path: Path
) -> None:
    database = a_schema(mysql_server)
    mysql_server.run(
        "CREATE TABLE gone (id INT)",
        "CREATE VIEW broken AS SELECT id FROM gone",
        "CREATE VIEW fine AS SELECT 1 AS x",
        "DROP TABLE gone",
        database=database,
    )

    backup: Backup = a_backup(mysql_server, database, tmp_path)
    restored = backup.restore(tmp_path, database=f"{database}_new")

    assert restored.counts["views"] == 1
    (warning,) = restored.warnings
    assert "the view `broken` was broken" in warning
    assert "from `gone`" in warning


@pytest.mark.parametrize("parallel", [1, 3])
def test_a_view_that_is_named_like_a_table_but_for_its_case(
    mysql_server: MysqlServer, a_schema: AnySchema, tmp_path: Path, parallel: int
) -> None:
    """The tools take both for one when they are told to leave the view out."""
    database = a_schema(mysql_server)
    fill_small(mysql_server, database)
    mysql_server.run(
        "CREATE VIEW A AS SELECT 1 AS one",
        "CREATE TABLE gruün (id INT PRIMARY KEY)",
        "CREATE VIEW GRUÜN AS SELECT 2 AS two",
        "CREATE TABLE `-- a'b%c_d` (id INT PRIMARY KEY)",
        "INSERT INTO `-- a'b%c_d` VALUES (7)",
        database=database,
    )
    if mysql_server.family == "mariadb":
        mysql_server.run("CREATE SEQUENCE numbers", "DO NEXTVAL(numbers)", database=database)
    before = fingerprint(mysql_server, database)
    engine, sink = an_engine(mysql_server, database), MemorySink()

    facts = engine.create_backup(sink, a_context(tmp_path), parallel=parallel)
    restored = engine.restore_backup(
        MemorySource(sink.streams),
        facts,
        a_context(tmp_path),
        target=Target(database=database, replace=True),
    )

    assert fingerprint(mysql_server, restored.database) == before
    assert (len(facts.streams) > 2) == (parallel > 1)
