"""Values that a server of today would not take, but has: each comes back as it is stored."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.mysql.conftest import a_backup
from tests.servers.mysql import MysqlServer

MakeSchema = Callable[..., str]
NO_SUCH_DAYS = "SELECT id, CAST(d AS CHAR), CAST(t AS CHAR) FROM `{}`.days ORDER BY id"


def fill_with_no_such_days(server: MysqlServer, database: str) -> None:
    server.run(
        "SET sql_mode = 'ALLOW_INVALID_DATES'",
        "CREATE TABLE days (id INT PRIMARY KEY, d DATE DEFAULT '2023-02-30', t DATETIME)",
        "INSERT INTO days VALUES (0, '2023-02-31', '2023-04-31 01:02:03'),"
        " (1, '0000-00-00', NULL), (2, DEFAULT, '2023-00-00 00:00:00')",
        database=database,
    )


def test_days_that_no_calendar_has_come_back(
    mysql_server: MysqlServer, a_schema: MakeSchema, tmp_path: Path
) -> None:
    database = a_schema(mysql_server)
    fill_with_no_such_days(mysql_server, database)
    before = mysql_server.run(NO_SUCH_DAYS.format(database))

    restored = a_backup(mysql_server, database, tmp_path).restore(tmp_path, replace=True)

    assert before[0] == (0, "2023-02-31", "2023-04-31 01:02:03")
    for schema in (restored.database, restored.kept_as):
        assert mysql_server.run(NO_SUCH_DAYS.format(schema)) == before


def test_they_come_back_by_hand(
    mysql_server: MysqlServer, a_schema: MakeSchema, tmp_path: Path
) -> None:
    database = a_schema(mysql_server)
    fill_with_no_such_days(mysql_server, database)
    before = mysql_server.run(NO_SUCH_DAYS.format(database))
    backup = a_backup(mysql_server, database, tmp_path)
    mysql_server.run(f"DROP DATABASE `{database}`")

    backup.restore_by_hand(tmp_path)

    assert mysql_server.run(NO_SUCH_DAYS.format(database)) == before


def test_rows_that_break_a_check_come_back(
    mariadb_11_8: MysqlServer, a_schema: MakeSchema, tmp_path: Path
) -> None:
    """In MariaDB a session may leave checks out; one of times holds in one time zone alone."""
    database = a_schema(mariadb_11_8)
    mariadb_11_8.run(
        "CREATE TABLE checked (n INT PRIMARY KEY, at TIMESTAMP NULL,"
        " CONSTRAINT positive CHECK (n > 0), CONSTRAINT morning CHECK (HOUR(at) < 12))",
        "SET time_zone = '-11:00'",
        "INSERT INTO checked VALUES (1, '2023-01-01 11:00:00')",
        "SET check_constraint_checks = 0",
        "INSERT INTO checked VALUES (-1, NULL)",
        database=database,
    )
    shown = "SELECT n, UNIX_TIMESTAMP(at) FROM `{}`.checked ORDER BY n"
    before = mariadb_11_8.run(shown.format(database))

    restored = a_backup(mariadb_11_8, database, tmp_path).restore(tmp_path, replace=True)

    assert len(before) == 2
    for schema in (restored.database, restored.kept_as):
        assert mariadb_11_8.run(shown.format(schema)) == before
    with pytest.raises(Exception, match="positive"):
        mariadb_11_8.run("INSERT INTO checked VALUES (-2, NULL)", database=restored.database)
