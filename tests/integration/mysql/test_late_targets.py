"""Servers that make it hard to index a table once its rows are there, or that end meanwhile."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pymysql
import pytest

from controller.api.errors import Cancelled, DatabaseUnavailable
from engines.interface import Progress, Target
from engines.mysql_family import progress
from tests.fakes.streams import MemorySource
from tests.integration.mysql.alterations import Watch, slow, slowed
from tests.integration.mysql.conftest import Backup, a_backup, left_behind, schemas
from tests.integration.mysql.indexes import ODD_VALUES
from tests.integration.mysql.shapes import assert_sound, shapes
from tests.integration.mysql.test_backup_faults import children
from tests.integration.mysql.test_server_settings import globally
from tests.servers import mysql
from tests.servers.fixtures import given
from tests.servers.mysql import MysqlServer
from tests.servers.mysql_engine import an_engine
from tests.servers.mysql_fixtures import NEWEST, newest
from tests.servers.postgres_engine import a_context
from tests.servers.proxy import TcpProxy

MakeSchema = Callable[..., str]
#: What a server may give its sessions that an ALTER TABLE minds, and a definition that it minds.
MINDED = {
    "sql_mode": "'TRADITIONAL,NO_ZERO_DATE,NO_ZERO_IN_DATE,ONLY_FULL_GROUP_BY'",
    "innodb_strict_mode": "ON",
    "lock_wait_timeout": "1",
    "foreign_key_checks": "1",
    "time_zone": "'-11:00'",
    "old_alter_table": "1",
}
MINDED_BY = {
    "mariadb": {
        "alter_algorithm": "'INSTANT'",
        "max_statement_time": "0.001",
    },
    "mysql": {
        "sql_require_primary_key": "ON",
        "explicit_defaults_for_timestamp": "OFF",
    },
}


def fill_minded(server: MysqlServer, database: str) -> None:
    """Values, widths and keys that a strict session takes in no statement."""
    columns = ", ".join(f"c{number} CHAR(10) NOT NULL DEFAULT ''" for number in range(220))
    server.run(*ODD_VALUES.statements("odd"), database=database)
    server.run(
        "SET SESSION innodb_strict_mode = OFF, foreign_key_checks = 0",
        f"CREATE TABLE wide (id INT PRIMARY KEY, {columns}, KEY c0 (c0), KEY c1 (c1, c2),"
        " FOREIGN KEY (id) REFERENCES odd (id), FOREIGN KEY (id) REFERENCES missing (id))"
        " DEFAULT CHARSET utf8mb4",
        "INSERT INTO wide (id) VALUES (7), (9)",
        database=database,
    )
    if server.family == "mariadb":
        server.run(
            "SET SESSION check_constraint_checks = 0",
            "CREATE TABLE history (id INT PRIMARY KEY, a INT CHECK (a > 5), KEY a (a))"
            " WITH SYSTEM VERSIONING",
            "INSERT INTO history VALUES (1, 1), (2, 7)",
            "UPDATE history SET a = a + 1",
            database=database,
        )


@pytest.mark.parametrize(
    ("mysql_server", "name", "value"),
    [
        pytest.param((family, ""), name, value, id=f"{family}-{name}")
        for family in NEWEST
        for name, value in (MINDED | MINDED_BY[family]).items()
    ],
    indirect=["mysql_server"],
)
@pytest.mark.usefixtures("all_wait")
def test_no_setting_of_a_server_keeps_a_key_from_being_made(
    mysql_server: MysqlServer, a_schema: MakeSchema, tmp_path: Path, name: str, value: str
) -> None:
    if not mysql_server.run(f"SHOW GLOBAL VARIABLES LIKE '{name}'"):
        pytest.skip(f"{mysql_server.family} {mysql_server.series} has no {name}")
    database = a_schema(mysql_server)
    fill_minded(mysql_server, database)
    before = shapes(mysql_server, database)
    backup = a_backup(mysql_server, database, tmp_path)

    with globally(mysql_server, name, value):
        backup.restore(tmp_path, replace=True)

    assert shapes(mysql_server, database) == before
    assert_sound(mysql_server, database)


@pytest.fixture
def tiny(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB that an index of more than that cannot be sorted in."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m,mode=0777", "tmpfs", folder],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"mounting a file system takes root: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


@pytest.mark.parametrize("variable", ["tmpdir", "innodb_tmpdir"])
@pytest.mark.usefixtures("all_wait")
@pytest.mark.parametrize("family", ["mariadb", "mysql"])
def test_a_server_that_has_no_room_to_sort_makes_them_nevertheless(
    tiny: Path, tmp_path: Path, family: str, variable: str
) -> None:
    """Then all rows are written once more, and none of them is looked at, or changed."""
    for server in given(mysql.running(family, newest(family), options={variable: str(tiny)})):
        server.run("CREATE DATABASE shop CHARACTER SET utf8mb4")
        fill_minded(server, "shop")
        fill_to_sort(server, "shop")
        before = shapes(server, "shop")
        backup = a_backup(server, "shop", tmp_path)

        backup.restore(tmp_path, replace=True)

        assert shapes(server, "shop") == before
        assert_sound(server, "shop")
        assert left_behind(server) == []
        # Or the test would show nothing: where there is no room, there was none.
        with pytest.raises(pymysql.MySQLError, match=r"(?i)space|full|temporary"):
            alter = "ALTER TABLE large ADD KEY more (t, d, a)"
            server.run("SET SESSION sql_mode = ''", alter, database="shop")


def fill_to_sort(server: MysqlServer, database: str) -> None:
    """A table of 10 MB, and of MariaDB one with as much history, with indexes as large."""
    kinds = {"large": "AUTO_INCREMENT=99999999"}
    if server.family == "mariadb":
        kinds["old"] = "WITH SYSTEM VERSIONING"
    batches = [
        ", ".join(
            f"({n % 7}, REPEAT(SHA2({n}, 256), 5), '2026-02-31')" for n in range(at, at + 2000)
        )
        for at in range(0, 30_000, 2000)
    ]
    for name, options in kinds.items():
        server.run(
            # What is logged of a statement may be in the tiny file system, too.
            "SET SESSION sql_mode = 'NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES', sql_log_bin = 0",
            f"CREATE TABLE {name} (id INT AUTO_INCREMENT PRIMARY KEY, a INT, t VARCHAR(320), d DATE"
            f" NOT NULL DEFAULT '0000-00-00', KEY t (t), KEY d (d, t), KEY a (a)) {options}",
            f"INSERT INTO {name} (id, t) VALUES (0, 'zero')",
            *(f"INSERT INTO {name} (a, t, d) VALUES {batch}" for batch in batches),
            f"UPDATE {name} SET a = NULL WHERE id % 2",
            database=database,
        )


def test_a_restore_that_is_cancelled_ends_while_an_index_is_made(
    mysql_server: MysqlServer,
    a_schema: MakeSchema,
    an_account: Callable[..., str],
    tmp_path: Path,
) -> None:
    """By an account that may end its own statements alone; and the server goes on with none."""
    database = a_schema(mysql_server)
    backup = slowed(slow(mysql_server, database, tmp_path))
    user = an_account()
    for pattern in ("t\\_%", "dbb\\_restore\\_%"):
        mysql_server.run(f"GRANT ALL ON `{pattern}`.* TO {user}@'%'")
    cancelled = threading.Event()

    with Watch(mysql_server, then=cancelled.set) as watch, pytest.raises(Cancelled):
        backup.by(user).engine.restore_backup(
            backup.source(),
            backup.facts,
            a_context(tmp_path, cancelled=cancelled),
            target=Target(database=f"{database}_copy", parallel=2),
        )

    assert watch.since_s() < 5
    assert watch.running() == set()
    assert left_behind(mysql_server) == []
    assert schemas(mysql_server, database) == [database]
    assert children() == []


def test_a_connection_that_is_cut_while_an_index_is_made_leaves_no_trace(
    mysql_server: MysqlServer, a_schema: MakeSchema, tmp_path: Path
) -> None:
    database = a_schema(mysql_server)
    backup = slowed(slow(mysql_server, database, tmp_path))
    with TcpProxy(mysql_server.port) as proxy:
        engine = an_engine(mysql_server, database, port=proxy.port)
        with Watch(mysql_server, then=proxy.cut) as watch, pytest.raises(DatabaseUnavailable):
            engine.restore_backup(
                backup.source(),
                backup.facts,
                a_context(tmp_path),
                target=Target(database=f"{database}_copy"),
            )

    assert watch.seen
    assert left_behind(mysql_server) == []
    assert schemas(mysql_server, database) == [database]
    assert children() == []


@pytest.mark.parametrize("family", ["mariadb", "mysql"])
def test_a_server_that_dies_while_an_index_is_made_takes_the_next_restore(
    tmp_path: Path, family: str
) -> None:
    for server in given(mysql.running(family, newest(family))):
        server.run("CREATE DATABASE shop CHARACTER SET utf8mb4")
        backup = slow(server, "shop", tmp_path)
        before = shapes(server, "shop")
        assert server.process is not None

        with Watch(server, then=server.process.kill) as watch, pytest.raises(DatabaseUnavailable):
            slowed(backup).restore(tmp_path, replace=True)

        assert watch.seen
        again = mysql.restarted(server)
        try:
            assert shapes(again, "shop") == before
            backup.restore(tmp_path, replace=True)
            assert shapes(again, "shop") == before
            assert left_behind(again) == []
        finally:
            assert again.process is not None
            again.process.stop()


@pytest.mark.parametrize("parallel", [1, 2])
def test_as_many_tables_are_altered_at_once_as_may_be(
    mysql_server: MysqlServer, a_schema: MakeSchema, tmp_path: Path, parallel: int
) -> None:
    """In one stream too: the rows are there already."""
    database = a_schema(mysql_server)
    backup = slow(mysql_server, database, tmp_path, tables=3)
    assert backup.facts.streams == ("dump", "objects")

    with Watch(mysql_server) as watch:
        slowed(backup, rows_s=2).restore(tmp_path, database=f"{database}_copy", parallel=parallel)

    assert watch.most_at_once == parallel


@pytest.mark.usefixtures("all_wait")
def test_each_table_gets_its_indexes_at_once_and_foreign_keys_come_last(tmp_path: Path) -> None:
    for family in NEWEST:
        log = {"general_log": "ON", "log_output": "TABLE"}
        for server in given(mysql.running(family, newest(family), options=log)):
            server.run("CREATE DATABASE shop")
            server.run(
                "CREATE TABLE p (id INT PRIMARY KEY, a INT, KEY late1 (a), KEY late2 (a, id))",
                "CREATE TABLE c (id INT AUTO_INCREMENT, a INT, UNIQUE KEY early1 (a), KEY early2"
                " (id), KEY late3 (a), KEY late4 (t(9), a), FULLTEXT KEY early3 (t), t TEXT,"
                " CONSTRAINT last1 FOREIGN KEY (a) REFERENCES p (id))",
                "CREATE TABLE z (id INT PRIMARY KEY, a INT, b INT, KEY late5 (a), KEY late6 (b),"
                " CONSTRAINT last2 FOREIGN KEY (a) REFERENCES p (id),"
                " CONSTRAINT last3 FOREIGN KEY (b) REFERENCES z (id))",
                "INSERT INTO p VALUES (1, 1)",
                "INSERT INTO c (a) VALUES (1)",
                "INSERT INTO z VALUES (1, 1, 1)",
                database="shop",
            )
            backup = a_backup(server, "shop", tmp_path)
            ((since,),) = server.run("SELECT COUNT(*) FROM mysql.general_log")

            backup.restore(tmp_path, database="copy", parallel=2)

            said = [
                argument.decode() if isinstance(argument, bytes) else argument
                for (argument,) in server.run(
                    "SELECT argument FROM mysql.general_log WHERE command_type = 'Query'"
                )
            ][since:]
            check_order([one for one in said if "general_log" not in one])


def check_order(said: list[str]) -> None:
    def where(*words: str) -> list[int]:
        return [n for n, one in enumerate(said) if all(word in one for word in words)]

    made = where("CREATE TABLE `")
    filled = [number for table in "pcz" for number in where(f"INSERT INTO `{table}`")]
    assert len(filled) == 3
    for number in made:
        assert not [word for word in ("`late", "`last") if word in said[number]]
    assert [len(where("CREATE TABLE `", f"`early{n}`")) for n in (1, 2, 3)] == [1, 1, 1]
    altered = {n: where("ALTER TABLE", f"`late{n}`") for n in range(1, 7)}
    assert all(len(one) == 1 for one in altered.values())
    assert altered[1] == altered[2]
    assert altered[3] == altered[4]
    assert altered[5] == altered[6]
    linked = [where("ALTER TABLE", f"`last{n}`", "FOREIGN KEY")[0] for n in (1, 2, 3)]
    assert max(filled) < min(one for (one,) in altered.values())
    assert max(one for (one,) in altered.values()) < min(linked)


def test_what_is_made_late_is_a_stage_that_shows_signs(
    mysql_server: MysqlServer,
    a_schema: MakeSchema,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(progress, "_PERIOD_S", 0.2)
    backup = slow(mysql_server, a_schema(mysql_server), tmp_path, tables=2, linked=True)

    seen = [
        one for one in told(slowed(backup, rows_s=3), tmp_path) if one.stage.startswith("indexes")
    ]

    assert {(one.unit, one.total) for one in seen} == {("objects", seen[0].total)}
    done = [one.done for one in seen]
    assert done == sorted(done)
    assert done[-1] == seen[0].total
    assert done[-1] > 2
    signs = [one.signs for one in seen if one.done == 0]
    assert signs == sorted(signs)
    assert signs[-1] >= 2


def told(backup: Backup, tmp_path: Path) -> list[Progress]:
    """What a restore into another name tells of itself, unless it has no part in this."""
    seen: list[Progress] = []
    backup.engine.restore_backup(
        MemorySource(backup.sink.streams),
        backup.facts,
        a_context(tmp_path, report=seen.append),
        target=Target(database=f"{backup.database}_copy"),
    )
    return [one for one in seen if one.total != 0]
