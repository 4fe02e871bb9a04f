"""What a server makes of every session: no setting of it shortens a backup."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from controller.api.errors import ObjectNotFound, PreflightFailed, TerminalError
from engines.interface import Target
from tests.fakes.streams import MemorySink, MemorySource
from tests.integration.mysql.conftest import a_backup, fill_small, left_behind
from tests.integration.mysql.test_backup_faults import fill_large, paused_at
from tests.servers import mysql
from tests.servers.fixtures import given
from tests.servers.mysql import MysqlServer
from tests.servers.mysql_engine import an_engine
from tests.servers.mysql_fixtures import newest, on_newest
from tests.servers.mysql_samples import fill, fingerprint
from tests.servers.postgres_engine import a_context

MakeSchema = Callable[..., str]
AnAccount = Callable[..., str]


@contextlib.contextmanager
def globally(server: MysqlServer, name: str, value: object) -> Iterator[None]:
    """A setting of all sessions that begin meanwhile."""
    # It may be the time for a statement that was set before, which ours is not to feel.
    limit = {"mysql": "max_execution_time", "mariadb": "max_statement_time"}[server.family]
    [(before,)] = server.run(f"SET SESSION {limit} = 0", f"SELECT @@GLOBAL.{name}")
    server.run(f"SET GLOBAL {name} = {value}")
    try:
        yield
    finally:
        # With a session's own limits: the setting may be one of those.
        text = f"'{before}'" if isinstance(before, str) and before != "DEFAULT" else before
        back = "NULL" if before is None else text
        server.run(f"SET GLOBAL {name} = {back}")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_error_count", "0"),
        ("show_gipk_in_create_table_and_information_schema", "OFF"),
    ],
)
def test_a_setting_that_hides_something_is_refused_with_the_cure(
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


#: What a server may give its sessions; the last ones are one family's.
GIVEN = {
    "autocommit": "0",
    "character_set_connection": "ucs2",
    "character_set_results": "latin1",
    "collation_connection": "latin1_bin",
    "completion_type": "2",
    "default_storage_engine": "MyISAM",
    "div_precision_increment": "0",
    "explicit_defaults_for_timestamp": "0",
    "group_concat_max_len": "4",
    "lock_wait_timeout": "1",
    "max_allowed_packet": "1024",
    "max_join_size": "1",
    "net_buffer_length": "1024",
    "sql_auto_is_null": "1",
    "sql_big_selects": "0",
    "sql_mode": "'ANSI_QUOTES,NO_BACKSLASH_ESCAPES,PAD_CHAR_TO_FULL_LENGTH,PIPES_AS_CONCAT'",
    "sql_notes": "0",
    "sql_quote_show_create": "0",
    "sql_safe_updates": "1",
    "sql_select_limit": "1",
    "time_zone": "'-11:00'",
    "wait_timeout": "1",
    "init_connect": (
        "'SET sql_mode = ''ANSI_QUOTES'', time_zone = ''-11:00'', autocommit = 0,"
        " sql_select_limit = 1'"
    ),
}
GIVEN_BY = {
    "mariadb": {
        "idle_transaction_timeout": "1",
        "max_statement_time": "0.0001",
        "system_versioning_asof": "'2001-01-01'",
        "tx_isolation": "'READ-UNCOMMITTED'",
        "tx_read_only": "1",
    },
    "mysql": {
        "default_collation_for_utf8mb4": "utf8mb4_general_ci",
        "information_schema_stats_expiry": "31536000",
        "max_execution_time": "1",
        "show_create_table_verbosity": "1",
        "transaction_isolation": "'READ-UNCOMMITTED'",
        "transaction_read_only": "1",
    },
}


def test_no_setting_of_sessions_is_seen_in_a_backup(
    mysql_server: MysqlServer, a_schema: MakeSchema, an_account: AnAccount, tmp_path: Path
) -> None:
    """By an account for which `init_connect` is run, too."""
    database, user = a_schema(mysql_server), an_account()
    fill(mysql_server, database)
    server_wide = "SHOW_ROUTINE, PROCESS" if mysql_server.family == "mysql" else "SELECT, PROCESS"
    mysql_server.run(
        f"GRANT SELECT, SHOW VIEW, TRIGGER, EVENT ON `{database}`.* TO {user}@'%'",
        f"GRANT {server_wide} ON *.* TO {user}@'%'",
    )

    def streams() -> dict[str, bytes]:
        found = a_backup(mysql_server, database, tmp_path, user=user, password="pw").sink.streams
        return {name: data.partition(b"-- Dump completed")[0] for name, data in found.items()}

    before, other = streams(), []
    for name, value in (GIVEN | GIVEN_BY[mysql_server.family]).items():
        with globally(mysql_server, name, value):
            if streams() != before:
                other.append(name)

    assert other == []


def test_no_setting_of_sessions_is_seen_in_a_restore(
    mysql_server: MysqlServer, a_schema: MakeSchema, tmp_path: Path
) -> None:
    database, other = a_schema(mysql_server), a_schema(mysql_server)
    fill(mysql_server, database)
    before = fingerprint(mysql_server, database)
    backup = a_backup(mysql_server, database, tmp_path)
    given = GIVEN | GIVEN_BY[mysql_server.family]
    del given["max_allowed_packet"]  # the server's own limit, for rows too

    with contextlib.ExitStack() as stack:
        for name, value in given.items():
            stack.enter_context(globally(mysql_server, name, value))
        an_engine(mysql_server, database).restore_backup(
            MemorySource(backup.sink.streams, {}),
            backup.facts,
            a_context(tmp_path),
            target=Target(database=other, replace=True),
        )

    assert fingerprint(mysql_server, other) == before


def test_a_server_that_is_impatient_waits_for_a_slow_location(
    mysql_server: MysqlServer, a_schema: MakeSchema, tmp_path: Path
) -> None:
    database = a_schema(mysql_server)
    fill_large(mysql_server, database)
    limits = {
        "mariadb": {
            "max_statement_time": "1",
            "idle_transaction_timeout": "1",
            "idle_readonly_transaction_timeout": "1",
        },
        "mysql": {"max_execution_time": "1000"},
    }
    waits = {"wait_timeout": "1", "net_write_timeout": "1", "net_read_timeout": "1"}
    sink = MemorySink()

    with contextlib.ExitStack() as stack:
        for name, value in (waits | limits[mysql_server.family]).items():
            stack.enter_context(globally(mysql_server, name, value))
        report = paused_at(1_000_000, lambda: time.sleep(4))
        an_engine(mysql_server, database).create_backup(sink, a_context(tmp_path, report=report))

    assert sink.streams["dump"].count(b"INSERT INTO `large`") > 1


def in_lower_case(server: MysqlServer, database: str) -> dict[str, str]:
    """A trigger's text may have its table's name as somebody typed it."""
    return {
        name.lower(): str(is_like).lower()
        for name, is_like in fingerprint(server, database).items()
    }


@pytest.mark.parametrize("family", ["mariadb", "mysql"])
def test_a_server_whose_names_are_lower_case(tmp_path: Path, family: str) -> None:
    options = {"lower_case_table_names": "1", "log_bin_trust_function_creators": "ON"}
    for server in given(mysql.running(family, newest(family), options=options)):
        server.run("CREATE DATABASE shop CHARACTER SET utf8mb4")
        fill(server, "shop")
        server.run("CREATE VIEW Upper_View AS SELECT 1 AS One", database="shop")
        before = in_lower_case(server, "shop")

        restored = a_backup(server, "shop", tmp_path).restore(tmp_path, replace=True)

        assert in_lower_case(server, restored.database) == before
        with pytest.raises(ObjectNotFound, match="SHOP"):
            a_backup(server, "SHOP", tmp_path)


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


def test_a_row_that_is_not_taken_is_not_shown(
    mysql_server: MysqlServer, a_schema: MakeSchema, tmp_path: Path
) -> None:
    """MariaDB's client prints a statement that failed, and so what is in the database."""
    database = a_schema(mysql_server)
    mysql_server.run(
        "CREATE TABLE person (id INT PRIMARY KEY, said TEXT)",
        "INSERT INTO person VALUES (1, 'the canary, Error 1205'), (2, 'sings')",
        database=database,
    )
    backup = a_backup(mysql_server, database, tmp_path)
    dump = backup.sink.streams["dump"]
    backup.sink.streams["dump"] = dump.replace(b"INSERT INTO `person`", b"INSERT INTO `nobody`")

    with pytest.raises(TerminalError, match=r"ERROR 1146 .*`?nobody`?") as refused:
        backup.restore(tmp_path, database=f"{database}_copy")

    assert "canary" not in "".join(map(str, (refused.value, refused.value.__cause__)))


@on_newest("mariadb")
@pytest.mark.parametrize("limit", ["session", "total"])
def test_a_limit_of_temporary_files_is_lifted_or_told_with_the_cure(
    mysql_server: MysqlServer, a_schema: MakeSchema, tmp_path: Path, limit: str
) -> None:
    """A session may lift its own; that of all sessions is the administrator's."""
    if tuple(map(int, mysql_server.series.split("."))) < (11, 5):
        pytest.skip("the server has no such limit")
    database = a_schema(mysql_server)
    fill_small(mysql_server, database)
    backup = a_backup(mysql_server, database, tmp_path)
    before = fingerprint(mysql_server, database)

    with globally(mysql_server, f"max_tmp_{limit}_space_usage", 65536):
        if limit == "session":
            a_backup(mysql_server, database, tmp_path)
            backup.restore(tmp_path, replace=True)
        else:
            cure = r"limit reached.*: SET GLOBAL max_tmp_total_space_usage"
            with pytest.raises(TerminalError, match=cure):
                a_backup(mysql_server, database, tmp_path)
            with pytest.raises(TerminalError, match=cure):
                backup.restore(tmp_path, replace=True)

    assert fingerprint(mysql_server, database) == before
    assert left_behind(mysql_server) == []
