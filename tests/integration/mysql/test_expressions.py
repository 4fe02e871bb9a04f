"""Characters in expressions that MySQL's tools write question marks for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fakes.streams import MemorySink
from tests.servers.mysql import MysqlServer
from tests.servers.mysql_engine import an_engine
from tests.servers.postgres_engine import a_context

SMILE, CURE = "\N{GRINNING FACE}", "CONVERT(0xF09F9880 USING utf8mb4)"


@pytest.fixture
def warned(
    mysql_server: MysqlServer, a_schema: Callable[[MysqlServer], str], tmp_path: Path
) -> Callable[[str], list[str]]:
    """What a backup says of tables with a text in each kind of expression."""

    def backed_up(text: str) -> list[str]:
        database = a_schema(mysql_server)
        mysql_server.run(
            "CREATE TABLE `gr\u00fcn` (a VARCHAR(50),"
            f" b VARCHAR(50) AS (CONCAT(a, {text})) STORED)",
            f"CREATE TABLE t (a VARCHAR(50) DEFAULT (CONCAT('x', {text})),"
            f" b VARCHAR(50) DEFAULT 'y', CONSTRAINT checked CHECK (a <> {text}))",
            database=database,
        )
        said: list[str] = []
        an_engine(mysql_server, database).create_backup(
            MemorySink(), a_context(tmp_path, warn=said.append)
        )
        return said

    return backed_up


def test_they_are_named_with_a_cure_that_helps(
    mysql_server: MysqlServer, warned: Callable[[str], list[str]]
) -> None:
    if mysql_server.family == "mariadb":
        assert warned(f"'{SMILE}'") == []
        return

    (said,) = warned(f"'{SMILE}'")

    assert "`gr\u00fcn`.`b`, `t`.`a`, the CHECK `checked`, so" in said
    assert said.endswith(CURE)
    assert warned(CURE) == []


def test_of_others_nothing_is_said(warned: Callable[[str], list[str]]) -> None:
    assert warned("'gr\u00fcn \u20ac ????'") == []
