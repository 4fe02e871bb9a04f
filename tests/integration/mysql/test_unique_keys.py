"""Unique keys that a restore computes anew, in which rows may meet then."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from controller.api.errors import PreflightFailed
from tests.integration.mysql.conftest import a_backup
from tests.servers.mysql import MysqlServer
from tests.servers.mysql_fixtures import on_newest

MakeSchema = Callable[..., str]
#: Two nights of one day in UTC, that are of two days in their own zone.
_NIGHTS = "(1, '2026-01-01 23:00:00'), (2, '2026-01-02 01:00:00')"
_OF_DAYS = {
    "stored": "day DATE AS (DATE(at)) STORED, UNIQUE KEY of_day (day)",
    "virtual": "day DATE AS (DATE(at)) VIRTUAL, UNIQUE KEY of_day (day)",
    "cast": "day DATE AS (at) STORED, UNIQUE KEY of_day (day)",
    "by way": "h INT AS (HOUR(at)) VIRTUAL, night CHAR(9) AS (CONCAT(h > 12, 'it''s', id > 0))"
    " STORED, UNIQUE KEY of_day (night)",
    "text": "day VARCHAR(20) COLLATE utf8mb4_bin AS (CONCAT(DATE(at), 'it''s')) STORED,"
    " UNIQUE KEY of_day (day)",
}


@pytest.mark.parametrize("key", _OF_DAYS)
def test_keys_over_times_that_meet_in_the_zone_of_a_restore_are_refused_with_a_cure_that_helps(
    mysql_server: MysqlServer, a_schema: MakeSchema, tmp_path: Path, key: str
) -> None:
    database = a_schema(mysql_server)
    mysql_server.run(
        "SET time_zone = '+05:00'",
        f"CREATE TABLE t (id INT PRIMARY KEY, at TIMESTAMP NULL, {_OF_DAYS[key]})",
        f"INSERT INTO t (id, at) VALUES {_NIGHTS}, (3, NULL), (4, NULL)",
        database=database,
    )

    with pytest.raises(PreflightFailed, match=r"`of_day` in the time zone \+00:00") as refused:
        a_backup(mysql_server, database, tmp_path)

    (problem,) = refused.value.problems
    cure = problem.message[problem.message.index("ALTER TABLE") :].partition(";")[0]
    mysql_server.run("SET time_zone = '+05:00'", cure, database=database)
    a_backup(mysql_server, database, tmp_path).restore(tmp_path, replace=True)
    assert mysql_server.run("SELECT COUNT(*) FROM t", database=database) == [(4,)]


@on_newest("mysql")
def test_so_are_expressions(
    mysql_server: MysqlServer, a_schema: MakeSchema, tmp_path: Path
) -> None:
    database = a_schema(mysql_server)
    mysql_server.run(
        "SET time_zone = '+05:00'",
        "CREATE TABLE t (id INT PRIMARY KEY, at TIMESTAMP NULL, f FLOAT,"
        " UNIQUE KEY of_day ((DATE_FORMAT(at, 'gr\u00fcn \\\\ it''s %Y-%m-%d'))),"
        " UNIQUE KEY of_float ((f * 2)))",
        f"INSERT INTO t (id, at) VALUES {_NIGHTS}",
        "UPDATE t SET f = 16777214 + 2 * id",
        database=database,
    )

    with pytest.raises(PreflightFailed) as refused:
        a_backup(mysql_server, database, tmp_path)

    of_day, of_float = (problem.message for problem in refused.value.problems)
    assert "are alike in the unique key `of_day`" in of_day
    assert "the unique key `of_float`" in of_float
    mysql_server.run(of_day[of_day.rindex("ALTER TABLE") :], database=database)
    mysql_server.run(of_float.rpartition(". ")[2], database=database)
    a_backup(mysql_server, database, tmp_path).restore(tmp_path, replace=True)
    assert mysql_server.run("SELECT COUNT(*) FROM t", database=database) == [(2,)]


@pytest.mark.parametrize("kind", ["STORED", "VIRTUAL"])
def test_keys_over_what_is_computed_of_a_float_are_refused_with_a_cure_that_helps(
    mysql_server: MysqlServer, a_schema: MakeSchema, tmp_path: Path, kind: str
) -> None:
    database = a_schema(mysql_server)
    mysql_server.run(
        "CREATE TABLE t (id INT PRIMARY KEY, f FLOAT, name VARCHAR(9),"
        f" g DOUBLE AS (f * 1) {kind}, UNIQUE KEY both_of (g, name(1)))",
        "INSERT INTO t (id, f, name) VALUES (1, 16777216, 'a'), (2, 16777218, 'b')",
        database=database,
    )
    a_backup(mysql_server, database, tmp_path).restore(tmp_path, database=f"{database}_copy")

    mysql_server.run("UPDATE t SET name = 'ab' WHERE id = 2", database=database)

    with pytest.raises(PreflightFailed, match=r"`both_of` .* MODIFY `f` DOUBLE") as refused:
        a_backup(mysql_server, database, tmp_path)
    (problem,) = refused.value.problems
    mysql_server.run(problem.message.rpartition(". ")[2], database=database)
    a_backup(mysql_server, database, tmp_path).restore(tmp_path, replace=True)
    assert mysql_server.run("SELECT COUNT(*) FROM t", database=database) == [(2,)]


def test_other_computed_keys_come_back(
    mysql_server: MysqlServer, a_schema: MakeSchema, tmp_path: Path
) -> None:
    """Rows that differ in UTC, too; that differ by case alone; a FLOAT that no plain one makes."""
    database = a_schema(mysql_server)
    mysql_server.run(
        "SET time_zone = '+05:00'",
        "CREATE TABLE t (id INT PRIMARY KEY, at TIMESTAMP NULL, name VARCHAR(9), d DOUBLE,"
        " day DATE AS (DATE(at)) STORED, UNIQUE KEY (day, name),"
        " text VARCHAR(50) COLLATE utf8mb4_bin AS (CONCAT(name, ' it''s \\\\ `at`', YEAR(at)))"
        " STORED, UNIQUE KEY (text), f FLOAT AS (d * 1) STORED, UNIQUE KEY (f))"
        " DEFAULT COLLATE utf8mb4_general_ci",
        "INSERT INTO t (id, at, name, d) VALUES (1, '2026-01-01 23:00:00', 'a', 16777216),"
        " (2, '2026-01-03 01:00:00', 'A', 16777218), (3, '2026-01-02 01:00:00', 'b', 1),"
        " (4, NULL, NULL, NULL), (5, NULL, NULL, NULL)",
        database=database,
    )

    a_backup(mysql_server, database, tmp_path).restore(tmp_path, replace=True)

    assert mysql_server.run("SELECT COUNT(*) FROM t", database=database) == [(5,)]
