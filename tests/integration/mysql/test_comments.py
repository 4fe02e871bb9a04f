"""Comments of routines and events, made by clients of other character sets and modes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.mysql.conftest import a_backup
from tests.servers.mysql import MysqlServer

MakeSchema = Callable[..., str]
ROUTINES = (
    "SELECT ROUTINE_NAME, ROUTINE_COMMENT FROM information_schema.ROUTINES"
    " WHERE ROUTINE_SCHEMA = '{}' ORDER BY ROUTINE_TYPE, ROUTINE_NAME"
)
EVENTS = "SELECT EVENT_NAME, EVENT_COMMENT FROM information_schema.EVENTS WHERE EVENT_SCHEMA = '{}'"


def commented(server: MysqlServer, database: str) -> list[tuple[str, str]]:
    return [row for query in (ROUTINES, EVENTS) for row in server.run(query.format(database))]


@pytest.mark.parametrize(
    ("charset", "mode", "text"),
    [
        ("latin1", "", "ü it''s"),
        ("gbk", "", "誠"),
        ("utf8mb4", "", "誠 C:\\\\temp\\n"),
        ("utf8mb4", "NO_BACKSLASH_ESCAPES,ANSI_QUOTES", "C:\\temp\\new it''s"),
        ("latin1", "NO_BACKSLASH_ESCAPES", "ü\\"),
    ],
)
def test_they_come_back_as_they_were_and_so_do_those_that_are_kept(
    mysql_server: MysqlServer,
    a_schema: MakeSchema,
    tmp_path: Path,
    charset: str,
    mode: str,
    text: str,
) -> None:
    database = a_schema(mysql_server)
    mysql_server.run(
        f"SET sql_mode = '{mode}'",
        f"CREATE PROCEDURE p() COMMENT '{text}' SELECT ' DO '",
        f"CREATE FUNCTION f() RETURNS INT DETERMINISTIC COMMENT '{text}' RETURN 1",
        f"CREATE EVENT e ON SCHEDULE EVERY 1 DAY COMMENT '{text}' DO SELECT '{text} DO '",
        database=database,
        charset=charset,
    )
    if mysql_server.family == "mariadb" and "BACKSLASH" not in mode:
        mysql_server.run(
            "SET sql_mode = 'ORACLE'",
            f"CREATE PACKAGE k COMMENT '{text}' AS FUNCTION one RETURN INT; END",
            database=database,
            charset=charset,
        )
    before = commented(mysql_server, database)

    restored = a_backup(mysql_server, database, tmp_path).restore(tmp_path, replace=True)

    assert restored.kept_as is not None
    assert len({text for _, text in before}) == 1
    assert commented(mysql_server, database) == before
    assert commented(mysql_server, restored.kept_as) == before
