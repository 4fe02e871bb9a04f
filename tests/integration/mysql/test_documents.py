"""JSON documents that a dump's text does not bring back are named by the backup."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.fakes.streams import MemorySink
from tests.integration.mysql.conftest import a_backup
from tests.servers.mysql import MysqlServer
from tests.servers.mysql_engine import an_engine
from tests.servers.mysql_fixtures import on_newest
from tests.servers.postgres_engine import a_context

MakeSchema = Callable[..., str]
MONEY, LARGE, DAY, BYTES = (
    "JSON_OBJECT('total', CAST(10 AS DECIMAL(10,2)))",
    "JSON_OBJECT('total', 12345678901234567890.12)",
    "JSON_OBJECT('at', CAST('2026-01-01 10:00' AS DATETIME))",
    "JSON_ARRAY(X'FF00')",
)


def _said_of(server: MysqlServer, database: str, tmp_path: Path) -> list[str]:
    said: list[str] = []
    engine = an_engine(server, database)
    engine.create_backup(MemorySink(), a_context(tmp_path, warn=said.append))
    return said


def test_documents_with_types_that_a_text_does_not_have_are_counted_and_found(
    mysql_server: MysqlServer, a_schema: MakeSchema, tmp_path: Path
) -> None:
    """MariaDB's are texts."""
    database = a_schema(mysql_server)
    mysql_server.run(
        "CREATE TABLE `or``ders` (id INT PRIMARY KEY, plain JSON, doc JSON)",
        f"INSERT INTO `or``ders` VALUES (1, '[]', {MONEY}), (2, NULL, {LARGE}),"
        f" (3, '[]', {DAY}), (4, '[]', {BYTES}), (5, '[]', NULL), (6, '[]', '{{\"a\": 1.5}}')"
        if mysql_server.family == "mysql"
        else "INSERT INTO `or``ders` VALUES (1, '[]', '[10.00]')",
        database=database,
    )

    said = _said_of(mysql_server, database, tmp_path)

    if mysql_server.family == "mariadb":
        assert said == []
        return
    (warning,) = said
    assert warning.startswith(
        f"4 of the first 10000 rows of `{database}`.`or``ders` have documents in `doc` with a "
    )
    found = mysql_server.run(warning.rpartition(": ")[2])
    assert sorted(row[0] for row in found) == [1, 2, 3, 4]


@on_newest("mysql")
def test_they_do_come_back_as_other_ones(
    mysql_server: MysqlServer, a_schema: MakeSchema, tmp_path: Path
) -> None:
    database = a_schema(mysql_server)
    mysql_server.run(
        "CREATE TABLE t (id INT PRIMARY KEY, doc JSON)",
        f"INSERT INTO t VALUES (1, {MONEY}), (2, {LARGE}), (3, {DAY}), (4, {BYTES})",
        database=database,
    )
    shown = "SELECT CAST(doc AS CHAR) FROM t ORDER BY id"
    typed = (
        "SELECT JSON_TYPE(COALESCE(doc->'$.total', doc->'$.at', doc->'$[0]')) FROM t ORDER BY id"
    )
    before, types = (mysql_server.run(query, database=database) for query in (shown, typed))
    assert types == [("DECIMAL",), ("DECIMAL",), ("DATETIME",), ("BLOB",)]

    restored = a_backup(mysql_server, database, tmp_path).restore(tmp_path, replace=True)

    after = mysql_server.run(shown, database=restored.database)
    assert after[:2] == [('{"total": 10.0}',), ('{"total": 1.2345678901234567e19}',)]
    assert after[2:] == before[2:]
    types = mysql_server.run(typed, database=restored.database)
    assert types == [("DOUBLE",), ("DOUBLE",), ("STRING",), ("STRING",)]


@on_newest("mysql")
def test_of_documents_made_of_texts_nothing_is_said(
    mysql_server: MysqlServer, a_schema: MakeSchema, tmp_path: Path
) -> None:
    """Nor of ones that come back equal, or that are computed."""
    database = a_schema(mysql_server)
    mysql_server.run(
        "CREATE TABLE t (id INT PRIMARY KEY, doc JSON, at DATETIME,"
        " day JSON AS (JSON_OBJECT('at', at)) VIRTUAL)",
        "INSERT INTO t (id, at, doc) VALUES"
        ' (1, \'2026-01-01\', \'{"a": 1.10, "b": 1e300, "c": 12345678901234567890123}\'),'
        " (2, NULL, '\"2026-01-01\"'), (3, NULL, NULL), (4, NULL, 'null'),"
        " (5, NULL, JSON_ARRAY(18446744073709551615, -0e0, TRUE, 0.1e0 + 0.2e0, 0.5))",
        "CREATE VIEW v AS SELECT JSON_OBJECT('at', at) AS doc FROM t",
        database=database,
    )

    assert _said_of(mysql_server, database, tmp_path) == []
