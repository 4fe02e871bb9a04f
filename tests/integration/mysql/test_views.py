"""Views that read another schema, too: a copy reads itself, and so does what is kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.mysql.conftest import a_backup
from tests.servers.mysql import MysqlServer
from tests.servers.mysql_fixtures import on_newest

MakeSchema = Callable[..., str]
#: Each shows `v` of the table `a`, whose one row has 10 there.
VIEWS = {
    "joined": "SELECT a.id, a.v FROM a JOIN {other}.o ON o.id = a.id",
    "catalogued": "SELECT a.v FROM a WHERE EXISTS (SELECT 1 FROM information_schema.SCHEMATA)",
    "aliased": "SELECT {own}.v FROM a {own} JOIN {other}.o ON o.id = {own}.id",
    "named": "SELECT {own}.v AS {own} FROM {own} LEFT JOIN {other}.o {other} ON {other}.id = 9",
    "above": "SELECT joined.v FROM joined JOIN {other}.o ON o.id = joined.id",
    "of_json": "SELECT a.v FROM a, JSON_TABLE('[1]', '$[*]' COLUMNS (k INT PATH '$')) x",
    "of_code": "SELECT v + far() - 2 AS v FROM a",
}


@pytest.fixture
def crossing(mysql_server: MysqlServer, a_schema: MakeSchema) -> str:
    """A database with those views; a table of its own has the schema's name."""
    database, other = a_schema(mysql_server), a_schema(mysql_server, prefix="o")
    mysql_server.run(
        "CREATE TABLE o (id INT PRIMARY KEY)", "INSERT INTO o VALUES (1), (2)", database=other
    )
    mysql_server.run(
        "CREATE TABLE a (id INT PRIMARY KEY, v INT)",
        "INSERT INTO a VALUES (1, 10)",
        f"CREATE TABLE {database} LIKE a",
        f"INSERT INTO {database} SELECT * FROM a",
        f"CREATE FUNCTION far() RETURNS INT READS SQL DATA RETURN (SELECT COUNT(*) FROM {other}.o)",
        *(
            f"CREATE VIEW {name} AS {text.format(own=database, other=other)}"
            for name, text in VIEWS.items()
        ),
        database=database,
    )
    return database


def change(server: MysqlServer, database: str, tables: str, value: int) -> None:
    """`tables` is the name of the database that was backed up, and of a table in each copy."""
    server.run(f"UPDATE a SET v = {value}", f"UPDATE {tables} SET v = {value}", database=database)


def shown(server: MysqlServer, database: str) -> dict[str, object]:
    found = {view: server.run(f"SELECT * FROM {view}", database=database) for view in VIEWS}
    return {view: rows[0][-1] for view, rows in found.items()}


def test_a_copy_s_views_read_the_copy(
    mysql_server: MysqlServer, crossing: str, tmp_path: Path
) -> None:
    copy = f"{crossing}_copy"

    a_backup(mysql_server, crossing, tmp_path).restore(tmp_path, database=copy)

    change(mysql_server, copy, crossing, 99)
    assert shown(mysql_server, copy) == dict.fromkeys(VIEWS, 99)
    assert shown(mysql_server, crossing) == dict.fromkeys(VIEWS, 10)


def test_they_come_back_when_their_database_is_gone(
    mysql_server: MysqlServer, crossing: str, tmp_path: Path
) -> None:
    backup = a_backup(mysql_server, crossing, tmp_path)
    mysql_server.run(f"DROP DATABASE `{crossing}`")

    restored = backup.restore(tmp_path)

    assert restored.warnings == ()
    assert shown(mysql_server, crossing) == dict.fromkeys(VIEWS, 10)


def test_what_is_kept_has_such_views_of_its_own(
    mysql_server: MysqlServer, crossing: str, tmp_path: Path
) -> None:
    backup = a_backup(mysql_server, crossing, tmp_path)
    change(mysql_server, crossing, crossing, 77)

    kept = backup.restore(tmp_path, replace=True).kept_as

    assert kept is not None
    assert shown(mysql_server, kept) == dict.fromkeys(VIEWS, 77)
    assert shown(mysql_server, crossing) == dict.fromkeys(VIEWS, 10)


def test_a_table_of_the_same_name_elsewhere_is_told_apart(
    mysql_server: MysqlServer, a_schema: MakeSchema, tmp_path: Path
) -> None:
    """Without a schema's name the inner condition would compare that one's column with itself."""
    database, archive = a_schema(mysql_server), a_schema(mysql_server, prefix="o")
    for schema, number in ((database, 1), (archive, 2)):
        mysql_server.run(
            "CREATE TABLE a (id INT)", f"INSERT INTO a VALUES ({number})", database=schema
        )
    mysql_server.run(
        "CREATE VIEW archived AS SELECT id FROM a"
        f" WHERE EXISTS (SELECT 1 FROM {archive}.a WHERE {archive}.a.id = {database}.a.id)",
        f"CREATE VIEW both_of AS SELECT {database}.a.id, {archive}.a.id AS there"
        f" FROM a JOIN {archive}.a",
        database=database,
    )
    backup = a_backup(mysql_server, database, tmp_path)
    copy = f"{database}_copy"

    backup.restore(tmp_path, database=copy)
    kept = backup.restore(tmp_path, replace=True).kept_as

    assert kept is not None
    mysql_server.run(f"UPDATE {copy}.a SET id = 2", f"UPDATE {kept}.a SET id = 3")
    for schema, number in ((database, 1), (copy, 2), (kept, 3)):
        archived = [(2,)] if number == 2 else []
        assert mysql_server.run("SELECT id FROM archived", database=schema) == archived
        assert mysql_server.run("SELECT id, there FROM both_of", database=schema) == [(number, 2)]


@on_newest("mariadb")
def test_a_copy_s_views_ask_the_copy_s_sequences_and_packages(
    mysql_server: MysqlServer, a_schema: MakeSchema, tmp_path: Path
) -> None:
    """A number that a look at a copy takes away from the running database is gone there."""
    database = a_schema(mysql_server)
    package = "CREATE PACKAGE{0} k AS FUNCTION one RETURN INT{1}; END"
    mysql_server.run(
        "CREATE SEQUENCE s NOCACHE",
        "SET sql_mode = 'ORACLE'",
        package.format("", ""),
        package.format(" BODY", " AS BEGIN RETURN 1; END"),
        "CREATE VIEW v AS SELECT NEXTVAL(s) AS n, PREVIOUS VALUE FOR s AS p, k.one() AS one",
        database=database,
    )
    backup = a_backup(mysql_server, database, tmp_path)
    copy = f"{database}_copy"

    backup.restore(tmp_path, database=copy)

    assert mysql_server.run("SELECT n, one FROM v", database=copy) == [(1, 1)]
    assert mysql_server.run("SELECT next_not_cached_value FROM s", database=database) == [(1,)]
    mysql_server.run(f"DROP DATABASE `{database}`")
    assert mysql_server.run("SELECT n, p, one FROM v", database=copy) == [(2, 2, 1)]
