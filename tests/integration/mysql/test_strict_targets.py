"""Servers that take less than the one that was backed up: nothing is lost, and it is said why."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pymysql
import pytest
from attrs import evolve

from controller.api.errors import BackupError, PreflightFailed, TerminalError
from engines.interface import Restored, Target
from engines.mysql_family import settings
from tests.integration.mysql.conftest import Backup, a_backup, fill_small, left_behind
from tests.integration.mysql.test_server_settings import globally
from tests.servers import mysql
from tests.servers.mysql import MysqlServer
from tests.servers.mysql_engine import an_engine
from tests.servers.mysql_fixtures import on_newest
from tests.servers.mysql_samples import fingerprint
from tests.servers.postgres_engine import a_context

MakeSchema = Callable[..., str]
MEBIBYTE = 1 << 20
#: Starts a server of the same family with these options.
Strict = Callable[..., MysqlServer]


@pytest.fixture
def strict(mysql_server: MysqlServer) -> Iterator[Strict]:
    with ExitStack() as stack:

        def start(**options: str) -> MysqlServer:
            family, series = mysql_server.family, mysql_server.series
            server: MysqlServer = stack.enter_context(
                mysql.running(family, series, options=options)
            )
            server.run("CREATE DATABASE shop")
            server.run("CREATE TABLE old (id INT PRIMARY KEY)", database="shop")
            return server

        yield start


@pytest.fixture
def blobs(mysql_server: MysqlServer, a_schema: MakeSchema, tmp_path: Path) -> Backup:
    """Rows of 12 MiB, which are statements of 24."""
    database = a_schema(mysql_server)
    fill_small(mysql_server, database, rows=20)
    mysql_server.run(
        "CREATE TABLE blobs (id INT PRIMARY KEY, data LONGBLOB)",
        f"INSERT INTO blobs VALUES (1, REPEAT(X'00FF', {6 * MEBIBYTE}))",
        "INSERT INTO blobs SELECT id + 1, data FROM blobs",
        "INSERT INTO blobs SELECT id + 2, data FROM blobs",
        database=database,
    )
    return a_backup(mysql_server, database, tmp_path)


def restore(backup: Backup, server: MysqlServer, tmp_path: Path, **facts: object) -> Restored:
    engine = an_engine(server, "shop")
    return engine.restore_backup(
        backup.source(),
        facts.get("facts", backup.facts),
        a_context(tmp_path),
        target=Target(database="shop", replace=True),
    )


def is_untouched(server: MysqlServer) -> bool:
    return (
        server.run("SHOW TABLES FROM shop") == [("old",)]
        and left_behind(server) == []
        and not [name for (name,) in server.run("SHOW DATABASES") if name.startswith("shop_")]
    )


def test_rows_that_are_longer_than_the_server_takes_are_named_beforehand(
    blobs: Backup, tmp_path: Path
) -> None:
    """A server takes a row of binary data whose dump, twice as long, it does not take."""
    server, database = blobs.server, blobs.database
    size = int(blobs.facts.needs[settings.STATEMENT])
    assert 24 * MEBIBYTE < size < 25 * MEBIBYTE
    before = fingerprint(server, database)

    with globally(server, "max_allowed_packet", 16 * MEBIBYTE):
        cure = "SET GLOBAL max_allowed_packet = 33554432;"
        with pytest.raises(PreflightFailed, match=cure):
            blobs.restore(tmp_path, replace=True)
        # Of an earlier release's backup it is not known: it is told when the row comes.
        needs = {k: v for k, v in blobs.facts.needs.items() if k != settings.STATEMENT}
        older = evolve(blobs, facts=evolve(blobs.facts, needs=needs))
        with pytest.raises(TerminalError, match="until it is restored, SET GLOBAL max_allowed"):
            older.restore(tmp_path, replace=True)
        assert fingerprint(server, database) == before
        assert left_behind(server) == []

        server.run(cure)
        blobs.restore(tmp_path, replace=True)
    assert fingerprint(server, database) == before


def test_rows_that_no_server_would_take_end_the_backup(
    blobs: Backup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "LONGEST_BYTES", 20 * MEBIBYTE)

    with pytest.raises(PreflightFailed, match="no restore could load it"):
        a_backup(blobs.server, blobs.database, tmp_path)


def test_a_server_without_room_keeps_what_it_has(
    blobs: Backup, strict: Strict, tmp_path: Path
) -> None:
    """Its tables are in one file, which may not grow as a disk may not."""
    server = strict(
        innodb_data_file_path="ibdata1:12M:autoextend:max:40M",
        innodb_file_per_table="OFF",
        max_allowed_packet=str(32 * MEBIBYTE),
    )

    with pytest.raises(BackupError) as refused:
        restore(blobs, server, tmp_path)

    assert "00FF00FF" not in str(refused.value).upper()
    if server.family == "mysql":
        assert "make room on the server" in str(refused.value)
        assert refused.value.exit_code == 78
        assert is_untouched(server)
        return
    # MariaDB may end itself when a file does not grow.
    assert server.process is not None
    with contextlib.suppress(pymysql.OperationalError):
        server.run("SELECT 1")
        assert is_untouched(server)
        return
    server = mysql.restarted(server)
    try:
        assert server.run("SHOW TABLES FROM shop") == [("old",)]
    finally:
        assert server.process is not None
        server.process.stop()


def test_tables_that_were_made_before_the_server_was_strict_come_back(
    mysql_server: MysqlServer, a_schema: MakeSchema, tmp_path: Path
) -> None:
    """Rows of these columns may be longer than a page holds, which strict servers refuse."""
    database = a_schema(mysql_server)
    columns = ", ".join(f"c{number} CHAR(10) NOT NULL DEFAULT ''" for number in range(220))
    mysql_server.run(
        "SET SESSION innodb_strict_mode = OFF",
        f"CREATE TABLE wide (id INT PRIMARY KEY, {columns}) DEFAULT CHARSET utf8mb4",
        "INSERT INTO wide (id) VALUES (1)",
        database=database,
    )
    before = fingerprint(mysql_server, database)
    backup = a_backup(mysql_server, database, tmp_path)

    backup.restore(tmp_path, replace=True)

    assert fingerprint(mysql_server, database) == before


@on_newest("mysql")
def test_an_account_that_may_not_be_lenient_is_told_the_statement(
    mysql_server: MysqlServer,
    a_schema: MakeSchema,
    an_account: Callable[..., str],
    tmp_path: Path,
) -> None:
    database = a_schema(mysql_server)
    columns = ", ".join(f"c{number} CHAR(10) NOT NULL" for number in range(220))
    mysql_server.run(
        "SET SESSION innodb_strict_mode = OFF",
        f"CREATE TABLE wide (id INT PRIMARY KEY, {columns}) DEFAULT CHARSET utf8mb4",
        database=database,
    )
    backup = a_backup(mysql_server, database, tmp_path)
    user = an_account()
    mysql_server.run(f"GRANT ALL ON `t\\_%`.* TO {user}@'%'")
    mysql_server.run(f"GRANT ALL ON `dbb\\_restore\\_%`.* TO {user}@'%'")
    theirs = an_engine(mysql_server, database, user=user, password="pw")
    target = Target(database=f"{database}_copy")

    with pytest.raises(TerminalError, match="SET GLOBAL innodb_strict_mode = OFF;"):
        theirs.restore_backup(backup.source(), backup.facts, a_context(tmp_path), target=target)
    with globally(mysql_server, "innodb_strict_mode", "OFF"):
        theirs.restore_backup(backup.source(), backup.facts, a_context(tmp_path), target=target)


def test_names_that_would_meet_without_case_are_refused(
    mysql_server: MysqlServer, a_schema: MakeSchema, strict: Strict, tmp_path: Path
) -> None:
    database = a_schema(mysql_server)
    mysql_server.run(
        "CREATE TABLE a (id INT PRIMARY KEY)",
        "CREATE TABLE A (id INT PRIMARY KEY)",
        database=database,
    )
    backup = a_backup(mysql_server, database, tmp_path)
    server = strict(lower_case_table_names="1")

    with pytest.raises(PreflightFailed, match="lower_case_table_names is 1 here and was 0 there"):
        restore(backup, server, tmp_path)

    assert is_untouched(server)
