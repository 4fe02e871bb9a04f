"""STORED generated columns are computed anew by a restore: what may differ is told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.integration.mysql.conftest import a_backup
from tests.servers.mysql import MysqlServer
from tests.servers.mysql_fixtures import on_newest

MakeSchema = Callable[..., str]


def test_columns_that_depend_on_a_zone_or_on_a_float_are_named_with_the_cure(
    mysql_server: MysqlServer, a_schema: MakeSchema, tmp_path: Path
) -> None:
    database = a_schema(mysql_server)
    mysql_server.run(
        "SET time_zone = '+05:00'",
        "CREATE TABLE `a.``t` (id INT PRIMARY KEY, `at ``x` TIMESTAMP NULL, by_way INT"
        " AS (HOUR(`at ``x`)) VIRTUAL, hour INT AS (by_way + 0) STORED, on_zone TIMESTAMP"
        " AS (day) STORED, day DATETIME, whole INT AS (YEAR(day)) STORED)",
        "CREATE TABLE b (f FLOAT, id INT PRIMARY KEY, d DOUBLE AS (f * 1) STORED,"
        " v DOUBLE AS (f * 2) VIRTUAL, same INT AS (id * 2) STORED)",
        "INSERT INTO `a.``t` (id, `at ``x`, day) VALUES (1, '2026-01-01 1:00', '2026-01-01 1:00')",
        "INSERT INTO b (id, f) VALUES (1, 0.1234567891)",
        database=database,
    )
    hours = "SELECT hour, whole FROM `a.``t`"
    doubles = "SELECT d, same FROM b"
    assert mysql_server.run(hours, database=database) == [(1, 2026)]
    ((exact, _),) = mysql_server.run(doubles, database=database)
    backup = a_backup(mysql_server, database, tmp_path)

    restored = backup.restore(tmp_path, replace=True)

    zoned, of_float = restored.warnings
    assert "time zone +00:00: `a.``t`.`hour`, `a.``t`.`on_zone`. " in zoned
    assert "6 digits that a server shows: `b`.`d`. " in of_float
    # They do differ, and the statement that is printed mends it.
    assert mysql_server.run(hours, database=database) == [(20, 2026)]
    assert mysql_server.run(doubles, database=database) != [(exact, 2)]
    cure = zoned.rpartition("; ")[2]
    mysql_server.run("SET time_zone = '+05:00'", cure, database=database)
    assert mysql_server.run(hours, database=database) == [(1, 2026)]


def test_of_other_columns_nothing_is_said(
    mysql_server: MysqlServer, a_schema: MakeSchema, tmp_path: Path
) -> None:
    """Also beside a TIMESTAMP or a FLOAT, of which they are not computed."""
    database = a_schema(mysql_server)
    mysql_server.run(
        "CREATE TABLE t (id INT PRIMARY KEY, at TIMESTAMP NULL, f FLOAT, day DATE,"
        " a INT AS (id + 1) STORED, b INT AS (YEAR(day)) STORED, c INT AS (HOUR(at)) VIRTUAL,"
        " e VARCHAR(20) AS (CONCAT('`at`', id)) VIRTUAL)",
        database=database,
    )
    if mysql_server.family == "mariadb":
        mysql_server.run(
            "CREATE TABLE history (id INT, a TIMESTAMP(6) GENERATED ALWAYS AS ROW START,"
            " b TIMESTAMP(6) GENERATED ALWAYS AS ROW END, PERIOD FOR SYSTEM_TIME (a, b))"
            " WITH SYSTEM VERSIONING",
            database=database,
        )
    backup = a_backup(mysql_server, database, tmp_path)

    restored = backup.restore(tmp_path, database=f"{database}_copy")

    assert restored.warnings == ()


@on_newest("mysql")
def test_columns_with_the_names_of_days_are_named_with_the_language_that_they_are_in(
    mysql_server: MysqlServer, a_schema: MakeSchema, tmp_path: Path
) -> None:
    """MariaDB takes no such column."""
    database = a_schema(mysql_server)
    mysql_server.run(
        "SET lc_time_names = 'de_DE'",
        "CREATE TABLE t (id INT PRIMARY KEY, at DATETIME, v VARCHAR(20) AS (MONTHNAME(at)) VIRTUAL,"
        " day VARCHAR(20) AS (DATE_FORMAT(at, 'am %W')) STORED, month VARCHAR(20) AS (UPPER(v))"
        " STORED, year CHAR(4) AS (DATE_FORMAT(at, '%Y')) STORED)",
        "INSERT INTO t (id, at) VALUES (1, '2027-01-01')",
        database=database,
    )
    named = "SELECT day, month, year FROM t"
    assert mysql_server.run(named, database=database) == [("am Freitag", "JANUAR", "2027")]
    backup = a_backup(mysql_server, database, tmp_path)

    restored = backup.restore(tmp_path, replace=True)

    (warning, *_) = restored.warnings
    assert "days and months in en_US: `t`.`day`, `t`.`month`. " in warning
    assert mysql_server.run(named, database=database) == [("am Friday", "JANUARY", "2027")]
    cure = warning[warning.index("ALTER TABLE") :]
    mysql_server.run("SET lc_time_names = 'de_DE'", cure, database=database)
    assert mysql_server.run(named, database=database) == [("am Freitag", "JANUAR", "2027")]


def test_a_text_that_looks_like_the_column_itself_ends_no_restore(
    mysql_server: MysqlServer, a_schema: MakeSchema, tmp_path: Path
) -> None:
    database = a_schema(mysql_server)
    mysql_server.run(
        "CREATE TABLE t (id INT PRIMARY KEY, a VARCHAR(50) AS (CONCAT(id, '`a`, `b`')) STORED,"
        " b VARCHAR(50) AS (CONCAT(id, ' is not `a`')) STORED)",
        "INSERT INTO t (id) VALUES (1)",
        database=database,
    )
    backup = a_backup(mysql_server, database, tmp_path)

    restored = backup.restore(tmp_path, replace=True)

    assert restored.warnings == ()
    rows = mysql_server.run("SELECT a, b FROM t", database=database)
    assert rows == [("1`a`, `b`", "1 is not `a`")]
