"""Rows that get under another name during a dump: noticed, whatever brought them there."""

from __future__ import annotations

import contextlib
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pymysql
import pytest
from attrs import frozen

from controller.api.errors import BackupError, DatabaseUnavailable, PreflightFailed
from engines.mysql_family import swap
from engines.mysql_family.connection import Session
from engines.mysql_family.source import Source
from tests.fakes.streams import MemorySink
from tests.integration.mysql.conftest import Backup, a_backup
from tests.integration.mysql.rights import routines
from tests.integration.mysql.test_backup_faults import fill_large, paused_at
from tests.servers.mysql import MysqlServer
from tests.servers.mysql_engine import an_engine
from tests.servers.mysql_fixtures import NEWEST, ServerOf, on_newest
from tests.servers.mysql_samples import fingerprint
from tests.servers.postgres_engine import a_context

AnAccount = Callable[..., str]
#: Dumped by the time that something happens, and not yet; two with partitions.
DUMPED, COMING = ("aa_parts", "aa_plain"), ("zz_parts", "zz_plain")
TABLES = (*DUMPED, *COMING)
COLUMNS = "(id INT PRIMARY KEY, t VARCHAR(20))"
PARTITIONS = (
    "PARTITION BY RANGE (id) (PARTITION p0 VALUES LESS THAN (100),"
    " PARTITION `p-Ä 1` VALUES LESS THAN (1000))"
)
CHANGED = "altered while it was being dumped"


@frozen
class World:
    """A large database on a server, and one beside it with a table."""

    server: MysqlServer
    database: str
    other: str

    def reset(self) -> None:
        """New small tables, around the large one and elsewhere."""
        self.server.run(
            "DROP TABLE IF EXISTS outside",
            f"CREATE TABLE outside {COLUMNS}",
            "INSERT INTO outside VALUES (400, 'outside')",
            database=self.other,
        )
        for parts, plain in (DUMPED, COMING):
            self.server.run(
                f"DROP TABLE IF EXISTS {parts}, {plain}",
                f"CREATE TABLE {parts} {COLUMNS} {PARTITIONS}",
                f"CREATE TABLE {plain} {COLUMNS}",
                f"INSERT INTO {parts} VALUES (1, '{parts}'), (2, '{parts}'), (101, '{parts}')",
                f"INSERT INTO {plain} VALUES (3, '{plain}')",
                database=self.database,
            )

    def rows(self, database: str = "") -> dict[str, list[object]]:
        return {
            table: self.server.run(
                f"SELECT id, t FROM {table} ORDER BY id", database=database or self.database
            )
            for table in TABLES
        }

    def dumped_while(self, tmp_path: Path, *statements: str, **fields: object) -> Backup:
        """A backup with statements in the middle, by root.

        MariaDB's tool keeps what it has dumped from being altered: whoever tries is kept waiting.
        """

        def run() -> None:
            with contextlib.suppress(pymysql.err.OperationalError):
                self.server.run("SET lock_wait_timeout = 1", *statements, database=self.database)

        engine = an_engine(self.server, self.database, **fields)
        sink = MemorySink()
        facts = engine.create_backup(sink, a_context(tmp_path, report=paused_at(1_000_000, run)))
        return Backup(
            server=self.server, database=self.database, engine=engine, facts=facts, sink=sink
        )


def a_world(server: MysqlServer, prefix: str) -> Iterator[World]:
    name = f"{prefix}_{secrets.token_hex(4)}"
    world = World(server, name, f"{name}_other")
    for database in (world.database, world.other):
        server.run(f"CREATE DATABASE `{database}`")
    fill_large(server, world.database)
    yield world
    for (found,) in server.run("SHOW DATABASES"):
        if found.startswith(name):
            server.run(f"DROP DATABASE `{found}`")


@pytest.fixture(scope="module", params=NEWEST.items(), ids="{0[0]}{0[1]}".format)
def filled(request: pytest.FixtureRequest, server_of: ServerOf) -> Iterator[World]:
    yield from a_world(server_of(*request.param), "t_ä-日 @")


@pytest.fixture
def world(filled: World) -> World:
    filled.reset()
    return filled


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE aa_parts EXCHANGE PARTITION p0 WITH TABLE zz_plain",
        "ALTER TABLE zz_parts EXCHANGE PARTITION p0 WITH TABLE aa_plain",
        "ALTER TABLE zz_parts EXCHANGE PARTITION p0 WITH TABLE zz_plain",
        "ALTER TABLE zz_parts EXCHANGE PARTITION `p-Ä 1` WITH TABLE `{other}`.outside",
    ],
)
def test_an_exchange_of_partitions_is_noticed(world: World, tmp_path: Path, statement: str) -> None:
    before = world.rows()

    with contextlib.ExitStack() as stack:
        if world.server.family == "mysql" or "aa_" not in statement:
            told = stack.enter_context(
                pytest.raises(DatabaseUnavailable, match=f"{CHANGED}.* by EXCHANGE PARTITION")
            )
        backup = world.dumped_while(tmp_path, statement.format(other=world.other))

    if world.rows() == before:  # it was kept from it
        copy = f"{world.database}_copy"
        backup.restore(tmp_path, database=copy)
        assert world.rows(copy) == before
        world.server.run(f"DROP DATABASE `{copy}`")
    else:
        assert any(f"`{name}`" in str(told.value) for name in TABLES)
        assert a_backup(world.server, world.database, tmp_path)


def test_an_exchange_elsewhere_is_none_of_ours(world: World, tmp_path: Path) -> None:
    world.server.run(
        f"CREATE TABLE parts {COLUMNS} {PARTITIONS}",
        "INSERT INTO parts VALUES (101, 'x')",
        database=world.other,
    )
    exchange = "ALTER TABLE parts EXCHANGE PARTITION `p-Ä 1` WITH TABLE outside"

    world.dumped_while(tmp_path, f"USE `{world.other}`", exchange)

    assert world.server.run("SELECT id FROM parts", database=world.other) == [(400,)]
    world.server.run("DROP TABLE parts", database=world.other)


def test_tables_that_change_places_are_noticed_though_they_were_made_in_one_second(
    world: World, tmp_path: Path
) -> None:
    swap = "RENAME TABLE {0} TO x, {1} TO {0}, x TO {1}"
    # MariaDB's tool would keep the first from it.
    pair = ("aa_plain", "zz_plain") if world.server.family == "mysql" else ("log", "zz_plain")

    with pytest.raises(DatabaseUnavailable, match=CHANGED):
        world.dumped_while(tmp_path, swap.format(*pair))

    if "log" in pair:
        world.server.run(swap.format(*pair), database=world.database)


@pytest.mark.parametrize("when", [DUMPED, COMING], ids=["dumped", "coming"])
@pytest.mark.parametrize(
    "statement",
    [
        "TRUNCATE {plain}",
        "TRUNCATE {parts}",
        "ALTER TABLE {parts} TRUNCATE PARTITION p0",
        "ALTER TABLE {parts} DROP PARTITION p0",
        "ALTER TABLE {parts} REBUILD PARTITION p0",
        "OPTIMIZE TABLE {plain}",
        "ALTER TABLE {plain} FORCE",
        "ALTER TABLE {plain} ADD extra INT NOT NULL DEFAULT 7",
        "DELETE FROM {plain}",
    ],
)
def test_whatever_is_done_to_a_table_a_backup_is_of_one_instant_or_none(
    world: World, tmp_path: Path, statement: str, when: tuple[str, str]
) -> None:
    parts, plain = when
    before = world.rows()
    # Of what was dumped before, neither the backup nor a refusal would be wrong.
    is_refused = when is COMING and "DELETE" not in statement
    refusal = pytest.raises if is_refused else contextlib.suppress
    backup = None

    with refusal(DatabaseUnavailable):
        backup = world.dumped_while(tmp_path, statement.format(parts=parts, plain=plain))

    if backup is not None:
        copy = f"{world.database}_copy"
        backup.restore(tmp_path, database=copy)
        assert world.rows(copy) == before
        world.server.run(f"DROP DATABASE `{copy}`")
    assert backup is not None or "DELETE" not in statement


def test_a_right_is_wanted_where_tables_have_partitions(
    mysql_server: MysqlServer, an_account: AnAccount, tmp_path: Path
) -> None:
    for world in a_world(mysql_server, "t"):
        world.reset()
        login = {"user": an_account_to_dump(world, an_account), "password": "pw"}

        with pytest.raises(PreflightFailed, match="`aa_parts`, `zz_parts`") as refused:
            a_backup(mysql_server, world.database, tmp_path, **login)

        (problem,) = refused.value.problems
        mysql_server.run(problem.message[problem.message.index("GRANT") :])
        a_backup(mysql_server, world.database, tmp_path, **login)
        exchange = "ALTER TABLE zz_parts EXCHANGE PARTITION p0 WITH TABLE zz_plain"
        with pytest.raises(DatabaseUnavailable, match="by EXCHANGE PARTITION"):
            world.dumped_while(tmp_path, exchange, **login)


def test_without_it_tables_that_may_have_changed_places_make_no_backup(
    mysql_server: MysqlServer, an_account: AnAccount, tmp_path: Path
) -> None:
    for world in a_world(mysql_server, "t"):
        pair = ("a_plain", "zz_plain") if mysql_server.family == "mysql" else ("y_plain", "z_plain")
        mysql_server.run(
            *(f"CREATE TABLE {name} (id INT PRIMARY KEY)" for name in pair),
            database=world.database,
        )
        login = {"user": an_account_to_dump(world, an_account), "password": "pw"}
        assert world.dumped_while(tmp_path, "DELETE FROM log", **login)

        swap = "RENAME TABLE {0} TO x, {1} TO {0}, x TO {1}".format(*pair)
        with pytest.raises(DatabaseUnavailable, match=CHANGED):
            world.dumped_while(tmp_path, swap, **login)


@on_newest("mysql")
def test_a_swap_that_is_taken_back_within_a_dump_ends_the_backup(
    mysql_server: MysqlServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It gets in between two tables, of which the dump then reads the new one.

    MariaDB's tool keeps all that it has read from being moved.
    """
    session_run, swap_run, insist_on = Session.run, swap.Swap.run, Source.insist_on
    swapping, taken_back = threading.Event(), threading.Event()
    told: list[BackupError] = []

    def back_up(world: World) -> None:
        def wait() -> None:
            begun.set()
            swapping.wait(30)
            time.sleep(1)  # its RENAME waits for the table that is being dumped

        try:
            an_engine(mysql_server, world.database).create_backup(
                MemorySink(), a_context(world_path, report=paused_at(1_000_000, wait))
            )
        except BackupError as error:
            told.append(error)

    def run(one: swap.Swap, kept: str | None) -> list[str]:
        thread.start()
        assert begun.wait(30)
        swapping.set()
        monkeypatch.setattr(Session, "run", fail_at_last)
        return swap_run(one, kept)

    def fail_at_last(session: Session, *statements: str, what: str = "") -> None:
        if any(re.match("CREATE .* EVENT", statement) for statement in statements):
            monkeypatch.setattr(Session, "run", session_run)  # taking back makes it again
            raise BackupError("the server is on fire")
        session_run(session, *statements, what=what)

    def insist(one: Source, *arguments: object) -> None:
        assert taken_back.wait(60)
        insist_on(one, *arguments)

    for world in a_world(mysql_server, "t"):
        world_path, begun = tmp_path / "dump", threading.Event()
        world_path.mkdir()
        thread = threading.Thread(target=back_up, args=(world,))
        backup = a_backup(mysql_server, world.database, tmp_path)
        before = fingerprint(mysql_server, world.database)
        monkeypatch.setattr(swap.Swap, "run", run)
        monkeypatch.setattr(Source, "insist_on", insist)
        with pytest.raises(BackupError, match="on fire"):
            backup.restore(tmp_path, replace=True)
        taken_back.set()
        thread.join()

        monkeypatch.undo()
        assert fingerprint(mysql_server, world.database) == before
        (error,) = told
        assert isinstance(error, DatabaseUnavailable)
        # MySQL may also end the dump itself, when it and the swap wait for each other.
        assert "a restore into" in str(error) or "Deadlock" in str(error)
        a_backup(mysql_server, world.database, tmp_path)


@pytest.mark.parametrize(
    ("statement", "is_fine"),
    [
        ("DROP EVENT tidy", False),
        ("ALTER EVENT tidy DO DELETE FROM b", False),
        ("CREATE EVENT other ON SCHEDULE EVERY 1 DAY DO DELETE FROM log", False),
        ("DROP EVENT once", True),  # as the server does when it has had its time
        ("ALTER EVENT kept DISABLE", True),  # likewise
    ],
)
def test_events_are_of_one_instant_too_but_for_their_time(
    world: World, tmp_path: Path, statement: str, is_fine: bool
) -> None:
    once = "ON SCHEDULE AT '2037-01-01 00:00:00'"
    world.server.run(
        *(f"DROP EVENT IF EXISTS {name}" for name in ("tidy", "other", "once", "kept")),
        "CREATE EVENT tidy ON SCHEDULE EVERY 1 DAY DO DELETE FROM log",
        f"CREATE EVENT once {once} DO DELETE FROM log",
        f"CREATE EVENT kept {once} ON COMPLETION PRESERVE DO DELETE FROM log",
        database=world.database,
    )
    refused = pytest.raises(DatabaseUnavailable, match=f"{CHANGED}.*: the event")

    with contextlib.nullcontext() if is_fine else refused:
        world.dumped_while(tmp_path, statement)


def an_account_to_dump(world: World, an_account: AnAccount) -> str:
    user, server = an_account(), world.server
    server.run(
        f"GRANT SELECT, SHOW VIEW, TRIGGER, EVENT ON `{world.database}`.* TO {user}@'%'",
        routines(server, world.database, user),
    )
    return user
