"""Sequences of MariaDB: what they go on with after a restore."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.mysql.conftest import Backup, a_backup
from tests.servers.mysql import MysqlServer
from tests.servers.mysql_fixtures import on_newest

MakeSchema = Callable[..., str]
#: Options of one, what is done with it, and what comes next.
SEQUENCES = {
    "plain": ("START 10 INCREMENT 5", 2, 20),
    "restarted": ("START 100 MINVALUE 1; RESTART 5", 1, 6),
    "cycled": ("START 8 MINVALUE 1 MAXVALUE 10 CYCLE", 5, 3),
    "at its first": ("START 3 MINVALUE 1 MAXVALUE 3 CYCLE", 1, 1),
    "downwards": ("START -1 INCREMENT -3 MINVALUE -100 MAXVALUE 50", 3, -10),
    "restarted above": ("START -1 INCREMENT -3 MINVALUE -9 MAXVALUE 50; RESTART 40", 1, 37),
    "cycled downwards": ("START -5 INCREMENT -1 MINVALUE -10 MAXVALUE 10 CYCLE", 7, 9),
    "of the server's steps": ("START 50 INCREMENT 0 MINVALUE 1; RESTART 7", 1, 8),
    "one ``that'": ("START 50 MINVALUE 1; RESTART 7", 0, 7),
}


def insist_on_numbers(server: MysqlServer, database: str) -> None:
    for name, (_, _, following) in SEQUENCES.items():
        assert server.run(f"SELECT NEXTVAL(`{name}`)", database=database) == [(following,)], name


@pytest.fixture
def numbered(mysql_server: MysqlServer, a_schema: MakeSchema, tmp_path: Path) -> Backup:
    database = a_schema(mysql_server)
    for name, (made, taken, _) in SEQUENCES.items():
        options, _, altered = made.partition(";")
        mysql_server.run(
            f"CREATE SEQUENCE `{name}` {options} NOCACHE",
            *([f"ALTER SEQUENCE `{name}` {altered}"] if altered else []),
            *[f"DO NEXTVAL(`{name}`)"] * taken,
            database=database,
        )
    return a_backup(mysql_server, database, tmp_path)


@on_newest("mariadb")
def test_each_goes_on_where_it_was_though_that_lies_behind_its_start(
    mysql_server: MysqlServer, numbered: Backup, tmp_path: Path
) -> None:
    copy = f"{numbered.database}_copy"

    numbered.restore(tmp_path, database=copy)

    insist_on_numbers(mysql_server, copy)
    numbered.restore(tmp_path, replace=True)
    insist_on_numbers(mysql_server, numbered.database)


@on_newest("mariadb")
def test_one_that_has_run_out_stays_so(
    mysql_server: MysqlServer, a_schema: MakeSchema, tmp_path: Path
) -> None:
    database = a_schema(mysql_server)
    mysql_server.run(
        "CREATE SEQUENCE s MAXVALUE 2 NOCACHE", *["DO NEXTVAL(s)"] * 2, database=database
    )

    a_backup(mysql_server, database, tmp_path).restore(tmp_path, replace=True)

    assert mysql_server.run("SELECT next_not_cached_value FROM s", database=database) == [(3,)]


@on_newest("mariadb")
def test_defaults_ask_the_sequences_beside_them_and_texts_stay(
    mysql_server: MysqlServer, a_schema: MakeSchema, tmp_path: Path
) -> None:
    database = a_schema(mysql_server)
    text = f"'it''s nextval(`{database}`.`s`)'"
    mysql_server.run(
        "CREATE SEQUENCE s",
        f"CREATE TABLE t (a INT DEFAULT SETVAL(s, 10), b VARCHAR(99) DEFAULT {text},"
        f" c VARCHAR(99) DEFAULT CONCAT({text}, NEXTVAL(s)), d INT COMMENT {text})",
        database=database,
    )
    ((_, made),) = mysql_server.run("SHOW CREATE TABLE t", database=database)
    backup = a_backup(mysql_server, database, tmp_path)
    copy = f"{database}_copy"

    backup.restore(tmp_path, database=copy)
    kept = backup.restore(tmp_path, replace=True).kept_as

    assert kept is not None
    for schema in (database, copy, kept):
        expected = re.sub(rf"(?<=val\(`){database}(?=`\.`s`[,)][^'])", schema, made)
        assert mysql_server.run("SHOW CREATE TABLE t", database=schema) == [("t", expected)]
