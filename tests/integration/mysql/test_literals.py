"""Texts in code: what a catalogue shows of it for reading is not what runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.mysql.conftest import a_backup
from tests.servers.mysql import MysqlServer

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


def _written(server: MysqlServer, schema: str, number: int) -> tuple[object, ...]:
    row: tuple[object, ...] = server.run(
        f"INSERT INTO t (id) VALUES ({number})",
        f"SELECT HEX(four), HEX(raw), HEX(wide) FROM t WHERE id = {number}",
        database=schema,
    )[0]
    return row
