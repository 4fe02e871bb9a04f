"""What a server makes of every session: no setting of it shortens a backup."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from controller.api.errors import PreflightFailed
from engines.interface import Target
from tests.fakes.streams import MemorySource
from tests.integration.mysql.conftest import a_backup, fill_small
from tests.servers.mysql import MysqlServer
from tests.servers.mysql_engine import an_engine
from tests.servers.postgres_engine import a_context

MakeSchema = Callable[..., str]


@contextlib.contextmanager
def globally(server: MysqlServer, name: str, value: object) -> Iterator[None]:
    """A setting of all sessions that begin meanwhile."""
    [(before,)] = server.run(f"SELECT @@GLOBAL.{name}")
    text = isinstance(before, str) or before is None
    server.run(f"SET GLOBAL {name} = {value}")
    try:
        yield
    finally:
        # With a session's own limits: the setting may be one of those.
        back = f"'{before or ''}'" if text else before
        server.run(f"SET GLOBAL {name} = {back}")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sql_select_limit", "1000"),
        ("show_gipk_in_create_table_and_information_schema", "OFF"),
        ("init_connect", "'SET sql_select_limit = 1000'"),
    ],
)
def test_a_setting_that_hides_rows_or_columns_is_refused_with_the_cure(
    mysql_server: MysqlServer, a_schema: MakeSchema, tmp_path: Path, name: str, value: str
) -> None:
    if name.startswith("show_gipk") and mysql_server.family != "mysql":
        pytest.skip("MySQL's alone")
    database = a_schema(mysql_server)
    fill_small(mysql_server, database)

    with globally(mysql_server, name, value), pytest.raises(PreflightFailed) as refused:
        a_backup(mysql_server, database, tmp_path)

    [problem] = refused.value.problems
    assert name in problem.message
    assert "without a word" in problem.message


def test_a_limit_of_rows_does_not_shorten_a_restore(
    mysql_server: MysqlServer, a_schema: MakeSchema, tmp_path: Path
) -> None:
    database = a_schema(mysql_server)
    fill_small(mysql_server, database)
    backup = a_backup(mysql_server, database, tmp_path)

    with globally(mysql_server, "sql_select_limit", 1):
        # The session of an engine made now: one that was there keeps what it was given.
        restored = an_engine(mysql_server, database).restore_backup(
            MemorySource(backup.sink.streams, {}),
            backup.facts,
            a_context(tmp_path),
            target=Target(database=database, replace=True),
        )

    assert restored.kept_as is not None
    for schema in (database, restored.kept_as):
        assert mysql_server.run(f"SELECT COUNT(*) FROM `{schema}`.a") == [(2000,)]
        assert len(mysql_server.run(f"SHOW TABLES FROM `{schema}`")) == 4
