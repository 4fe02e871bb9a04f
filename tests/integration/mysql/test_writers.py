"""Whatever way rows are written during a dump, a backup has all of a transaction or nothing."""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engines.interface import Target
from tests.fakes.streams import MemorySink, MemorySource
from tests.integration.mysql.conftest import a_backup, fill_small
from tests.integration.mysql.test_backup_faults import fill_large, paused_at
from tests.servers.mysql import MysqlServer
from tests.servers.mysql_engine import an_engine
from tests.servers.postgres_engine import a_context

AnySchema = Callable[..., str]
ROWS = 50
MONEY = 1000
TABLES = ("a_first", "m_middle", "zzz_last")


def fill_accounts(server: MysqlServer, database: str) -> None:
    values = ", ".join(f"({number}, {MONEY})" for number in range(ROWS))
    for table in TABLES:
        server.run(
            f"CREATE TABLE {table} (id INT PRIMARY KEY, money INT)",
            f"INSERT INTO {table} VALUES {values}",
            database=database,
        )


def money(server: MysqlServer, database: str) -> int:
    parts = " + ".join(f"(SELECT SUM(money) FROM {table})" for table in TABLES)
    ((total,),) = server.run(f"SELECT {parts}", database=database)
    return int(total)


def moved(number: int, xid: str) -> list[str]:
    """Statements of a prepared XA transaction that moves money from one table to another."""
    source, target = TABLES[number % 3], TABLES[(number + 1) % 3]
    return [
        f"XA START '{xid}'",
        f"UPDATE {source} SET money = money - 1 WHERE id = {number % ROWS}",
        f"UPDATE {target} SET money = money + 1 WHERE id = {number % ROWS}",
        f"XA END '{xid}'",
        f"XA PREPARE '{xid}'",
    ]


@contextlib.contextmanager
def xa_transfers(server: MysqlServer, database: str, pause_s: float) -> Iterator[list[int]]:
    """Money moves all the time, by transactions that are prepared first; counts them."""
    stop, done = threading.Event(), [0]

    def write() -> None:
        with server.connect(database) as connection, connection.cursor() as cursor:
            for number in itertools.count():
                for statement in moved(number, database):
                    cursor.execute(statement)
                cursor.execute(f"XA COMMIT '{database}'")
                done[0] += 1
                if stop.wait(pause_s):
                    return

    thread = threading.Thread(target=write)
    thread.start()
    try:
        while not done[0]:
            time.sleep(0.01)
        yield done
    finally:
        stop.set()
        thread.join()


@pytest.mark.parametrize("parallel", [1, 3])
def test_xa_transactions_are_whole_or_not_there(
    mysql_server: MysqlServer, a_schema: AnySchema, tmp_path: Path, parallel: int
) -> None:
    database = a_schema(mysql_server)
    fill_small(mysql_server, database)
    fill_accounts(mysql_server, database)
    new, transferred = f"{database}_new", 0

    for pause_s in (0, 0, 0.05, 0.3, 0.5):
        engine, sink = an_engine(mysql_server, database), MemorySink()
        with xa_transfers(mysql_server, database, pause_s) as done:
            facts = engine.create_backup(sink, a_context(tmp_path), parallel=parallel)
        mysql_server.run(f"DROP DATABASE IF EXISTS `{new}`")
        engine.restore_backup(
            MemorySource(sink.streams), facts, a_context(tmp_path), target=Target(database=new)
        )

        transferred += done[0]
        assert money(mysql_server, new) == 3 * ROWS * MONEY
    assert transferred > 50


def test_a_prepared_transaction_is_not_there_until_it_is_committed(
    mysql_server: MysqlServer, a_schema: AnySchema, tmp_path: Path
) -> None:
    database = a_schema(mysql_server)
    fill_large(mysql_server, database)
    fill_accounts(mysql_server, database)
    mysql_server.run(*moved(0, database), database=database)
    commit = f"XA COMMIT '{database}'"
    report = paused_at(1_000_000, lambda: mysql_server.run(commit) and None)
    engine, sink = an_engine(mysql_server, database), MemorySink()

    facts = engine.create_backup(sink, a_context(tmp_path, report=report))

    query = (
        "SELECT (SELECT money FROM a_first WHERE id = 0), (SELECT money FROM m_middle WHERE id = 0)"
    )
    assert mysql_server.run(query, database=database) == [(MONEY - 1, MONEY + 1)]
    new = f"{database}_new"
    engine.restore_backup(
        MemorySource(sink.streams), facts, a_context(tmp_path), target=Target(database=new)
    )
    assert mysql_server.run(query, database=new) == [(MONEY, MONEY)]


def test_what_is_loaded_from_a_file_is_there_or_not(
    mysql_server: MysqlServer, a_schema: AnySchema, tmp_path: Path
) -> None:
    database = a_schema(mysql_server)
    fill_small(mysql_server, database)
    for table in ("aa_loaded", "zz_loaded"):
        mysql_server.run(f"CREATE TABLE {table} (id INT PRIMARY KEY)", database=database)
    rows = 20_000
    file = mysql_server.data_dir.parent / "tmp" / f"{database}.csv"
    file.write_text("".join(f"{number}\n" for number in range(rows)))
    stop, loaded = threading.Event(), [0]

    def load() -> None:
        with mysql_server.connect(database, autocommit=False) as writer, writer.cursor() as cursor:
            while not stop.is_set():
                for table in ("aa_loaded", "zz_loaded"):
                    cursor.execute(f"DELETE FROM {table}")
                    cursor.execute(f"LOAD DATA INFILE '{file}' INTO TABLE {table}")
                writer.commit()
                loaded[0] += 1

    thread = threading.Thread(target=load)
    thread.start()
    try:
        while not loaded[0]:
            time.sleep(0.01)
        backups = [a_backup(mysql_server, database, tmp_path) for _ in range(3)]
    finally:
        stop.set()
        thread.join()

    for backup in backups:
        new = f"{database}_new"
        mysql_server.run(f"DROP DATABASE IF EXISTS `{new}`")
        backup.restore(tmp_path, database=new)
        for table in ("aa_loaded", "zz_loaded"):
            assert mysql_server.run(f"SELECT COUNT(*) FROM {table}", database=new) == [(rows,)]
