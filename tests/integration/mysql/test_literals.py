"""Texts in code: what a catalogue shows of it for reading is not what runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.mysql.conftest import a_backup
from tests.servers.mysql import MysqlServer
from tests.servers.postgres_engine import a_context

MakeSchema = Callable[..., str]


@pytest.mark.parametrize("replace", [False, True], ids=["new", "replaced"])
def test_a_trigger_writes_the_same_bytes_as_before(
    mysql_server: MysqlServer, a_schema: MakeSchema, tmp_path: Path, replace: bool
) -> None:
    database = a_schema(mysql_server)
    mysql_server.run(
        "CREATE TABLE t (id INT PRIMARY KEY, four TEXT CHARACTER SET utf8mb4, raw VARBINARY(20),"
        " wide TEXT CHARACTER SET utf8mb4)",
        f"CREATE TRIGGER /* not FOR EACH ROW */ `{database}`.`of FOR EACH ROW` BEFORE INSERT"
        f" ON `{database}`.t FOR /* each */ EACH ROW # comes:\n"
        " SET NEW.four = '\N{ELEPHANT}', NEW.raw = _binary'\N{ELEPHANT}', NEW.wide = _ucs2'ab'",
        database=database,
    )
    written = _written(mysql_server, database, 1)

    target = database if replace else f"{database}_copy"
    restored = a_backup(mysql_server, database, tmp_path).restore(
        tmp_path, database=target, replace=replace
    )

    for schema in filter(None, (restored.database, restored.kept_as)):
        assert _written(mysql_server, schema, 2) == written


def test_a_view_s_literals_may_be_any_bytes(
    mysql_server: MysqlServer, a_schema: MakeSchema, tmp_path: Path
) -> None:
    """The server shows them as they are, between characters of UTF-8."""
    database = a_schema(mysql_server)
    mysql_server.run(
        "CREATE TABLE t (id INT PRIMARY KEY)",
        "INSERT INTO t VALUES (1)",
        "CREATE VIEW b AS SELECT _binary 0xFF00275C1A0AC3 AS raw, _latin1 0xE4 AS latin,"
        " '\N{ELEPHANT}' AS four FROM t",
        "CREATE VIEW a AS SELECT * FROM b WHERE raw <> _binary 0xFE",
        database=database,
    )
    shown = "SELECT HEX(raw), HEX(latin), HEX(four) FROM `{}`.a"
    [before] = mysql_server.run(shown.format(database))

    backup = a_backup(mysql_server, database, tmp_path)
    restored = backup.restore(tmp_path, replace=True)

    assert backup.engine.verify_streams(backup.source(), backup.facts, a_context(tmp_path)) == []
    assert before[0] == "FF00275C1A0AC3"
    for schema in (restored.database, restored.kept_as):
        assert mysql_server.run(shown.format(schema)) == [before]


def _written(server: MysqlServer, schema: str, number: int) -> tuple[object, ...]:
    row: tuple[object, ...] = server.run(
        f"INSERT INTO t (id) VALUES ({number})",
        f"SELECT HEX(four), HEX(raw), HEX(wide) FROM t WHERE id = {number}",
        database=schema,
    )[0]
    return row
