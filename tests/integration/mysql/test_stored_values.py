"""Values that a server of today would not take, but has: each comes back as it is stored."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from controller.api.errors import PreflightFailed
from engines.interface import Progress
from engines.mysql_family import progress, values
from engines.mysql_family.connection import Session
from tests.fakes.streams import MemorySink
from tests.integration.mysql.conftest import a_backup
from tests.servers.mysql import MysqlServer
from tests.servers.mysql_engine import an_engine
from tests.servers.mysql_fixtures import on_newest
from tests.servers.postgres_engine import a_context

MakeSchema = Callable[..., str]
NO_SUCH_DAYS = "SELECT id, CAST(d AS CHAR), CAST(t AS CHAR) FROM `{}`.days ORDER BY id"


def fill_with_no_such_days(server: MysqlServer, database: str) -> None:
    server.run(
        "SET sql_mode = 'ALLOW_INVALID_DATES'",
        "CREATE TABLE days (id INT PRIMARY KEY, d DATE DEFAULT '2023-02-30', t DATETIME)",
        "INSERT INTO days VALUES (0, '2023-02-31', '2023-04-31 01:02:03'),"
        " (1, '0000-00-00', NULL), (2, DEFAULT, '2023-00-00 00:00:00')",
        database=database,
    )


def test_days_that_no_calendar_has_come_back(
    mysql_server: MysqlServer, a_schema: MakeSchema, tmp_path: Path
) -> None:
    database = a_schema(mysql_server)
    fill_with_no_such_days(mysql_server, database)
    before = mysql_server.run(NO_SUCH_DAYS.format(database))

    restored = a_backup(mysql_server, database, tmp_path).restore(tmp_path, replace=True)

    assert before[0] == (0, "2023-02-31", "2023-04-31 01:02:03")
    for schema in (restored.database, restored.kept_as):
        assert mysql_server.run(NO_SUCH_DAYS.format(schema)) == before


def test_they_come_back_by_hand(
    mysql_server: MysqlServer, a_schema: MakeSchema, tmp_path: Path
) -> None:
    database = a_schema(mysql_server)
    fill_with_no_such_days(mysql_server, database)
    before = mysql_server.run(NO_SUCH_DAYS.format(database))
    backup = a_backup(mysql_server, database, tmp_path)
    mysql_server.run(f"DROP DATABASE `{database}`")

    backup.restore_by_hand(tmp_path)

    assert mysql_server.run(NO_SUCH_DAYS.format(database)) == before


@on_newest("mariadb")
def test_rows_that_break_a_check_come_back(
    mysql_server: MysqlServer, a_schema: MakeSchema, tmp_path: Path
) -> None:
    """In MariaDB a session may leave checks out; one of times holds in one time zone alone."""
    database = a_schema(mysql_server)
    mysql_server.run(
        "CREATE TABLE checked (n INT PRIMARY KEY, at TIMESTAMP NULL,"
        " CONSTRAINT positive CHECK (n > 0), CONSTRAINT morning CHECK (HOUR(at) < 12))",
        "SET time_zone = '-11:00'",
        "INSERT INTO checked VALUES (1, '2023-01-01 11:00:00')",
        "SET check_constraint_checks = 0",
        "INSERT INTO checked VALUES (-1, NULL)",
        database=database,
    )
    shown = "SELECT n, UNIX_TIMESTAMP(at) FROM `{}`.checked ORDER BY n"
    before = mysql_server.run(shown.format(database))

    restored = a_backup(mysql_server, database, tmp_path).restore(tmp_path, replace=True)

    assert len(before) == 2
    for schema in (restored.database, restored.kept_as):
        assert mysql_server.run(shown.format(schema)) == before
    with pytest.raises(Exception, match="positive"):
        mysql_server.run("INSERT INTO checked VALUES (-2, NULL)", database=restored.database)


@pytest.mark.parametrize(
    ("kind", "value"), [("ENUM", "\N{ELEPHANT}"), ("SET", "?,\N{ELEPHANT}")], ids=["enum", "set"]
)
def test_members_that_no_server_tells_are_refused_where_a_row_holds_them(
    mysql_server: MysqlServer, a_schema: MakeSchema, tmp_path: Path, kind: str, value: str
) -> None:
    database = a_schema(mysql_server)
    mysql_server.run(
        f"CREATE TABLE t (id INT PRIMARY KEY, v {kind}('yes', '?', '\N{ELEPHANT}'))",
        "INSERT INTO t VALUES (1, 'yes'), (2, '?'), (3, NULL)",
        database=database,
    )
    shown = "SELECT v FROM `{}`.t ORDER BY id"
    before = mysql_server.run(shown.format(database))
    restored = a_backup(mysql_server, database, tmp_path).restore(
        tmp_path, database=f"{database}_copy"
    )
    assert mysql_server.run(shown.format(restored.database)) == before

    mysql_server.run(f"INSERT INTO t VALUES (4, '{value}')", database=database)

    with pytest.raises(PreflightFailed, match=rf"the {kind} `v` of .* VARCHAR"):
        a_backup(mysql_server, database, tmp_path)


@on_newest("mariadb")
@pytest.mark.parametrize("kind", ["ENUM", "SET"])
def test_members_of_bytes_that_are_no_text_are_refused_where_a_row_holds_them(
    mysql_server: MysqlServer, a_schema: MakeSchema, tmp_path: Path, kind: str
) -> None:
    """MySQL takes no such members."""
    database = a_schema(mysql_server)
    mysql_server.run(
        f"CREATE TABLE t (id INT PRIMARY KEY,"
        f" v {kind}('yes', 'gr\u00fcn', '?', X'E4') CHARACTER SET binary)",
        "INSERT INTO t VALUES (1, 'yes'), (2, 'gr\u00fcn'), (3, '?'), (4, NULL)",
        database=database,
    )
    shown = "SELECT id, HEX(v) FROM `{}`.t ORDER BY id"
    before = mysql_server.run(shown.format(database))
    restored = a_backup(mysql_server, database, tmp_path).restore(
        tmp_path, database=f"{database}_copy"
    )
    assert mysql_server.run(shown.format(restored.database)) == before

    mysql_server.run("INSERT INTO t VALUES (5, X'E4')", database=database)

    with pytest.raises(PreflightFailed, match=rf"the {kind} `v` of .* VARBINARY"):
        a_backup(mysql_server, database, tmp_path)


def test_unique_floats_that_are_shown_alike_are_refused_and_others_come_back(
    mysql_server: MysqlServer, a_schema: MakeSchema, tmp_path: Path
) -> None:
    database = a_schema(mysql_server)
    mysql_server.run(
        "CREATE TABLE t (id INT PRIMARY KEY, f FLOAT, name VARCHAR(20),"
        " UNIQUE both_of (f, name(2)))",
        "INSERT INTO t VALUES (1, 16777216, 'ab'), (2, 16777218, 'cd'), (3, NULL, 'ab'),"
        " (4, NULL, 'ab')",
        database=database,
    )
    backup = a_backup(mysql_server, database, tmp_path)
    backup.restore(tmp_path, database=f"{database}_copy")

    mysql_server.run("INSERT INTO t VALUES (5, 16777218, 'abc')", database=database)

    with pytest.raises(PreflightFailed, match=r"`both_of` .* MODIFY `f` DOUBLE") as refused:
        a_backup(mysql_server, database, tmp_path)
    (problem,) = refused.value.problems
    mysql_server.run(problem.message.rpartition(". ")[2], database=database)
    restored = a_backup(mysql_server, database, tmp_path).restore(tmp_path, replace=True)
    assert mysql_server.run(f"SELECT COUNT(*) FROM `{restored.database}`.t") == [(5,)]


@on_newest("mariadb")
def test_history_by_transaction_is_refused_before_the_dump_with_the_cure(
    mysql_server: MysqlServer, a_schema: MakeSchema, tmp_path: Path
) -> None:
    database = a_schema(mysql_server)
    mysql_server.run(
        "CREATE TABLE `by``number` (id INT PRIMARY KEY,"
        " `be gun` BIGINT UNSIGNED GENERATED ALWAYS AS ROW START,"
        " ended BIGINT UNSIGNED GENERATED ALWAYS AS ROW END INVISIBLE,"
        " PERIOD FOR SYSTEM_TIME (`be gun`, ended)) WITH SYSTEM VERSIONING",
        "INSERT INTO `by``number` (id) VALUES (1)",
        "CREATE TABLE by_time (id INT PRIMARY KEY) WITH SYSTEM VERSIONING",
        database=database,
    )

    with pytest.raises(PreflightFailed, match="history of `by``number` is by trans") as refused:
        a_backup(mysql_server, database, tmp_path)
    (problem,) = refused.value.problems
    cure = problem.message[problem.message.index("SET ") :].rstrip(";")
    mysql_server.run(*cure.split("; "), database=database)

    assert a_backup(mysql_server, database, tmp_path).facts.counts["tables"] == 2
    assert mysql_server.run("SELECT * FROM `by``number`", database=database) == [(1,)]


_KEEP_NEGATIVE_ZERO = {("mysql", "8.4"), ("mysql", "9.7"), ("mariadb", "11.4")}


def test_a_negative_zero_comes_back_as_the_zero_that_it_is_equal_to(
    mysql_server: MysqlServer, a_schema: MakeSchema, tmp_path: Path
) -> None:
    """Most of MariaDB's series do not keep one."""
    database = a_schema(mysql_server)
    mysql_server.run(
        "CREATE TABLE t (d DOUBLE PRIMARY KEY, f FLOAT)",
        "INSERT INTO t VALUES (-0e0, -0e0), (-1e-300, -1e-30)",
        database=database,
    )
    shown = "SELECT CONCAT(d), CONCAT(f) FROM `{}`.t ORDER BY d"
    zero = "-0" if (mysql_server.family, mysql_server.series) in _KEEP_NEGATIVE_ZERO else "0"
    assert mysql_server.run(shown.format(database)) == [("-1e-300", "-1e-30"), (zero, zero)]

    restored = a_backup(mysql_server, database, tmp_path).restore(tmp_path, replace=True)

    assert mysql_server.run(shown.format(restored.database)) == [("-1e-300", "-1e-30"), ("0", "0")]
    assert mysql_server.run(f"SELECT COUNT(*) FROM `{restored.database}`.t WHERE d = -0e0") == [
        (1,)
    ]


#: Character set -> the bytes of a text that comes back, and of one that does not.
_LEGACY = {
    "sjis": ("955C", "5C"),
    "cp932": ("81E6", "879A"),
    "cp1251": ("E4", "98"),
    "ujis": ("A4A2", "A1C0"),
    "tis620": ("A1", "A0"),
}


@pytest.mark.parametrize("character_set", _LEGACY)
def test_texts_that_utf_8_does_not_bring_back_are_refused_and_others_come_back(
    mysql_server: MysqlServer, a_schema: MakeSchema, tmp_path: Path, character_set: str
) -> None:
    database = a_schema(mysql_server)
    good, bad = _LEGACY[character_set]
    mysql_server.run(
        f"CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(9) CHARACTER SET {character_set},"
        f" w TEXT CHARACTER SET {character_set}, g VARCHAR(9) CHARACTER SET {character_set} AS (v))"
        " DEFAULT CHARSET utf8mb4",
        f"INSERT INTO t (id, v, w) VALUES (1, X'{good}', X'{good}'), (2, NULL, '')",
        database=database,
    )
    shown = "SELECT id, HEX(v), HEX(w), HEX(g) FROM `{}`.t ORDER BY id"
    before = mysql_server.run(shown.format(database))
    restored = a_backup(mysql_server, database, tmp_path).restore(
        tmp_path, database=f"{database}_copy"
    )
    assert mysql_server.run(shown.format(restored.database)) == before

    mysql_server.run(
        f"INSERT INTO t (id, w) VALUES (3, X'{bad}'), (4, X'{good}{bad}')", database=database
    )

    with pytest.raises(PreflightFailed, match=r"2 rows of .* in `w` which come back") as refused:
        a_backup(mysql_server, database, tmp_path)
    (problem,) = refused.value.problems
    query = problem.message[problem.message.index("SELECT") : problem.message.index("; - or")]
    assert [row[0] for row in mysql_server.run(query)] == [3, 4]
    mysql_server.run(problem.message.rpartition(": ")[2], database=database)
    restored = a_backup(mysql_server, database, tmp_path).restore(tmp_path, replace=True)
    assert mysql_server.run(shown.format(restored.database))[2:] == [
        (3, None, bad, None),
        (4, None, good + bad, None),
    ]


def test_of_every_other_character_set_each_byte_comes_back(
    mysql_server: MysqlServer, a_schema: MakeSchema, tmp_path: Path
) -> None:
    """What is refused is just what does not: a set that is not looked into loses nothing."""
    database = a_schema(mysql_server)
    looked_past = values.THERE_AND_BACK - {"binary"}
    of_server = {name for (name, *_) in mysql_server.run("SHOW CHARACTER SET")}
    for name in looked_past & of_server:
        mysql_server.run(
            "SET sql_mode = ''",
            f"CREATE TABLE {name} (id INT PRIMARY KEY, v VARCHAR(9) CHARACTER SET {name})",
            f"INSERT IGNORE INTO {name} VALUES "
            + ", ".join(
                f"({number}, CONVERT(CAST(X'{number:02X}' AS BINARY) USING {name}))"
                for number in range(256)
            ),
            database=database,
        )

    restored = a_backup(mysql_server, database, tmp_path).restore(
        tmp_path, database=f"{database}_copy"
    )

    for name in looked_past & of_server:
        shown = f"SELECT id, HEX(v) FROM {name} ORDER BY id"
        before = mysql_server.run(shown, database=database)
        assert mysql_server.run(shown, database=restored.database) == before


def test_a_table_that_is_dropped_before_its_rows_are_looked_at_ends_no_backup(
    mysql_server: MysqlServer,
    a_schema: MakeSchema,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    database = a_schema(mysql_server)
    mysql_server.run(
        "CREATE TABLE t (v VARCHAR(9) CHARACTER SET sjis)",
        "CREATE TABLE gone (v VARCHAR(9) CHARACTER SET sjis)",
        database=database,
    )
    look = values.look

    def look_late(session: Session, query: str) -> list[tuple[Any, ...]]:
        mysql_server.run("DROP TABLE IF EXISTS gone", database=database)
        return look(session, query)

    monkeypatch.setattr(values, "look", look_late)

    assert a_backup(mysql_server, database, tmp_path).facts.counts["tables"] == 1


def test_a_long_look_at_texts_shows_that_the_server_is_at_work(
    mysql_server: MysqlServer,
    a_schema: MakeSchema,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is as long as its table, and no stall."""
    monkeypatch.setattr(progress, "_PERIOD_S", 0.2)
    database = a_schema(mysql_server)
    mysql_server.run(
        "CREATE TABLE t (a VARCHAR(9)) CHARACTER SET cp1251",
        "INSERT INTO t VALUES ('a')",
        database=database,
    )
    told: list[Progress] = []
    with mysql_server.connect(database) as holder, holder.cursor() as cursor:
        cursor.execute("LOCK TABLES t WRITE")
        release = threading.Timer(2, lambda: cursor.execute("UNLOCK TABLES"))
        release.start()
        context = a_context(tmp_path, report=told.append)
        an_engine(mysql_server, database).create_backup(MemorySink(), context)
        release.join()

    assert max(one.signs for one in told if one.stage == "preflight") >= 3
