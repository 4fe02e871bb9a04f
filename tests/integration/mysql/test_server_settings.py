"""What a server makes of every session: no setting of it shortens a backup."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from controller.api.errors import PreflightFailed, TerminalError
from engines.interface import Target
from tests.fakes.streams import MemorySource
from tests.integration.mysql.conftest import a_backup, fill_small
from tests.servers.mysql import MysqlServer
from tests.servers.mysql_engine import an_engine
from tests.servers.mysql_fixtures import on_newest
from tests.servers.postgres_engine import a_context

MakeSchema = Callable[..., str]


@contextlib.contextmanager
def globally(server: MysqlServer, name: str, value: object) -> Iterator[None]:
    """A setting of all sessions that begin meanwhile."""
    [(before,)] = server.run(f"SELECT @@GLOBAL.{name}")
    server.run(f"SET GLOBAL {name} = {value}")
    try:
        yield
    finally:
        # With a session's own limits: the setting may be one of those.
        back = f"'{before}'" if isinstance(before, str) else "NULL" if before is None else before
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


@on_newest("mysql")
@pytest.mark.parametrize("name", ["sql_require_primary_key", "sql_generate_invisible_primary_key"])
def test_tables_without_a_key_are_not_begun_with_where_the_server_wants_one(
    mysql_server: MysqlServer, a_schema: MakeSchema, tmp_path: Path, name: str
) -> None:
    database = a_schema(mysql_server)
    fill_small(mysql_server, database)
    keyed = a_backup(mysql_server, database, tmp_path)
    mysql_server.run("CREATE TABLE keyless (id INT)", database=database)
    backup = a_backup(mysql_server, database, tmp_path)

    with globally(mysql_server, name, "ON"):
        keyed.restore(tmp_path, database=f"{database}_keyed")
        with pytest.raises(PreflightFailed, match=f"`keyless` .* SET GLOBAL {name} = OFF;"):
            backup.restore(tmp_path, database=f"{database}_copy")

    backup.restore(tmp_path, database=f"{database}_copy")


def test_a_server_that_is_read_only_is_not_restored_into(
    mysql_server: MysqlServer,
    a_schema: MakeSchema,
    an_account: Callable[..., str],
    tmp_path: Path,
) -> None:
    database = a_schema(mysql_server)
    fill_small(mysql_server, database)
    backup = a_backup(mysql_server, database, tmp_path)
    user = an_account()
    mysql_server.run(f"GRANT ALL ON `%`.* TO {user}@'%'")
    target = Target(database=f"{database}_copy", owners=False)
    theirs = an_engine(mysql_server, database, user=user, password="pw")

    with (
        globally(mysql_server, "read_only", "ON"),
        pytest.raises(PreflightFailed, match="SET GLOBAL read_only = OFF"),
    ):
        theirs.restore_backup(backup.source(), backup.facts, a_context(tmp_path), target=target)

    # Whoever may write nevertheless is not kept from it.
    with globally(mysql_server, "read_only", "ON"):
        backup.restore(tmp_path, database=target.database)


@on_newest("mysql")
def test_for_an_administrator_too_if_nobody_may_write(
    mysql_server: MysqlServer, a_schema: MakeSchema, tmp_path: Path
) -> None:
    database = a_schema(mysql_server)
    fill_small(mysql_server, database)
    backup = a_backup(mysql_server, database, tmp_path)

    mysql_server.run("SET GLOBAL super_read_only = ON")
    try:
        with pytest.raises(PreflightFailed, match="SET GLOBAL super_read_only = OFF"):
            backup.restore(tmp_path, database=f"{database}_copy")
    finally:
        mysql_server.run("SET GLOBAL super_read_only = OFF, read_only = OFF")


def test_what_a_server_does_not_take_is_no_defect_of_ours(
    mysql_server: MysqlServer, a_schema: MakeSchema, tmp_path: Path
) -> None:
    database = a_schema(mysql_server)
    fill_small(mysql_server, database)
    backup = a_backup(mysql_server, database, tmp_path)
    dump = backup.sink.streams["dump"]
    backup.sink.streams["dump"] = dump.replace(b"CHARSET=utf8mb4", b"CHARSET=unheard_of", 1)

    with pytest.raises(TerminalError, match="unheard_of") as refused:
        backup.restore(tmp_path, database=f"{database}_copy")

    assert refused.value.exit_code == 78
