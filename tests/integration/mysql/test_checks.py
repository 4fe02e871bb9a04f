"""CHECKs that rows do not hold any more when a restore loads them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from controller.api.errors import PreflightFailed
from tests.integration.mysql.conftest import a_backup
from tests.servers.mysql import MysqlServer
from tests.servers.mysql_fixtures import on_newest

MakeSchema = Callable[..., str]
_CHECKED = (
    "CREATE TABLE `t``s` (id INT PRIMARY KEY, f FLOAT, at TIMESTAMP NULL, name VARCHAR(20),"
    " hour INT AS (HOUR(at)) VIRTUAL, CONSTRAINT big CHECK (f > 1),"
    " CONSTRAINT morning CHECK (hour < 12 AND name <> 'it''s'),"
    " CONSTRAINT of_none CHECK (HOUR(at) < 12) NOT ENFORCED, CONSTRAINT plain CHECK (id > 0))"
)


@on_newest("mysql")
def test_rows_that_break_one_in_a_restore_are_refused_with_a_cure_that_helps(
    mysql_server: MysqlServer, a_schema: MakeSchema, tmp_path: Path
) -> None:
    """In MariaDB they come back; see `test_rows_that_break_a_check_come_back`."""
    database = a_schema(mysql_server)
    mysql_server.run(
        "SET time_zone = '+05:00'",
        _CHECKED,
        "INSERT INTO `t``s` (id, f, at, name) VALUES (1, 1.0000001, NULL, NULL),"
        " (2, NULL, '2026-01-01 01:00:00', 'a')",
        database=database,
    )

    with pytest.raises(PreflightFailed) as refused:
        a_backup(mysql_server, database, tmp_path)

    messages = [problem.message for problem in refused.value.problems]
    assert [message.partition(" in ")[0] for message in messages] == [
        f"rows of `{database}`.`t``s` break the CHECK `big`",
        f"rows of `{database}`.`t``s` break the CHECK `morning`",
    ]
    mysql_server.run(*(message.rpartition(". ")[2] for message in messages), database=database)
    a_backup(mysql_server, database, tmp_path).restore(tmp_path, replace=True)
    assert mysql_server.run("SELECT COUNT(*) FROM `t``s`", database=database) == [(2,)]


@on_newest("mysql")
def test_rows_that_hold_them_in_a_restore_too_come_back(
    mysql_server: MysqlServer, a_schema: MakeSchema, tmp_path: Path
) -> None:
    database = a_schema(mysql_server)
    mysql_server.run(
        "SET time_zone = '+05:00'",
        _CHECKED,
        "INSERT INTO `t``s` (id, f, at, name) VALUES (1, 1.1, '2026-01-01 11:00:00', 'a'),"
        " (2, NULL, NULL, NULL)",
        database=database,
    )

    a_backup(mysql_server, database, tmp_path).restore(tmp_path, replace=True)

    assert mysql_server.run("SELECT COUNT(*) FROM `t``s`", database=database) == [(2,)]
