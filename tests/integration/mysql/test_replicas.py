"""A backup of a replica while its source restores: the lock of a restore is its server's alone."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen
from pymysql.cursors import DictCursor

from controller.api.errors import BackupError, DatabaseUnavailable
from engines.mysql_family import swap
from engines.mysql_family.connection import Session
from engines.mysql_family.source import Source
from tests.fakes.streams import MemorySink
from tests.integration.jobs.commands import eventually
from tests.integration.mysql.conftest import Backup, a_backup, left_behind
from tests.integration.mysql.rights import routines
from tests.integration.mysql.test_backup_faults import fill_large, paused_at
from tests.integration.mysql.test_server_settings import globally
from tests.servers import mysql
from tests.servers.fixtures import given
from tests.servers.mysql import MysqlServer
from tests.servers.mysql_engine import an_engine
from tests.servers.mysql_fixtures import newest, on_newest
from tests.servers.mysql_samples import fingerprint
from tests.servers.postgres_engine import a_context

MakeSchema = Callable[..., str]
AnAccount = Callable[..., str]
#: File and position in a binary log.
Position = tuple[str, int]


@frozen
class Replica:
    """A server that follows another one, as far as it is told."""

    server: MysqlServer
    source: MysqlServer

    def follow(self) -> None:
        """From now on; nothing of before."""
        file, position = self.position()
        source = self.source
        self.server.run(
            "STOP REPLICA",
            f"CHANGE REPLICATION SOURCE TO SOURCE_HOST = '{source.host}',"
            f" SOURCE_PORT = {source.port}, SOURCE_USER = '{source.user}',"
            f" SOURCE_PASSWORD = '{source.password}', SOURCE_SSL = 0, GET_SOURCE_PUBLIC_KEY = 1,"
            f" SOURCE_LOG_FILE = '{file}', SOURCE_LOG_POS = {position}",
            "START REPLICA",
        )

    def position(self) -> Position:
        """Of the source, now."""
        ((file, position, *_),) = self.source.run("SHOW BINARY LOG STATUS")
        return str(file), int(position)

    def apply_until(self, position: Position) -> None:
        """And no further; returns at once."""
        file, at = position
        self.server.run(
            f"START REPLICA SQL_THREAD UNTIL SOURCE_LOG_FILE = '{file}', SOURCE_LOG_POS = {at}"
        )

    def insist_on(self, position: Position) -> None:
        """Wait until it has applied that."""

        def has() -> bool:
            status = self._status()
            assert not status["Last_SQL_Error"], status["Last_SQL_Error"]
            applied = status["Relay_Source_Log_File"], int(status["Exec_Source_Log_Pos"])
            return applied >= position

        eventually(has, say=lambda: f"not at {position}: {self._status()}")

    def _status(self) -> dict[str, Any]:
        with self.server.connect() as connection, connection.cursor(DictCursor) as cursor:
            cursor.execute("SHOW REPLICA STATUS")
            (status,) = cursor.fetchall()
            return dict(status)


@pytest.fixture
def replica(mysql_server: MysqlServer) -> Iterator[Replica]:
    options = {"server_id": "2", "replica_parallel_workers": "1"}
    for server in given(mysql.running("mysql", newest("mysql"), options=options)):
        yield Replica(server, mysql_server)


@on_newest("mysql")
def test_a_swap_that_was_taken_back_on_the_source_ends_the_backup_of_a_replica(
    mysql_server: MysqlServer,
    replica: Replica,
    a_schema: MakeSchema,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The dump has begun when all is loaded there, and reads a table while it is swapped.

    MariaDB's tool keeps all that it has read from being moved, and its tables get a new time.
    """
    replica.follow()
    database = a_schema(mysql_server)
    fill_large(mysql_server, database)
    restored = a_backup(mysql_server, database, tmp_path)
    mysql_server.run("DELETE FROM zz_last", database=database)
    loaded = replica.position()
    replica.insist_on(loaded)
    replica.server.run("STOP REPLICA SQL_THREAD")
    before = fingerprint(replica.server, database)
    begun, moved = a_swap_that_fails(restored, replica, tmp_path, monkeypatch)
    ended = replica.position()
    insist_on = Source.insist_on

    def insist(one: Source, *arguments: object) -> None:
        replica.insist_on(moved)
        replica.server.run("START REPLICA SQL_THREAD")
        replica.insist_on(ended)
        insist_on(one, *arguments)  # type: ignore[arg-type]

    def swap_there() -> None:
        replica.apply_until(moved)
        time.sleep(1)  # it waits for the table that is being dumped

    replica.apply_until(begun)
    replica.insist_on(begun)
    monkeypatch.setattr(Source, "insist_on", insist)
    sink = MemorySink()
    with pytest.raises(DatabaseUnavailable, match="a restore into"):
        an_engine(replica.server, database).create_backup(
            sink, a_context(tmp_path, report=paused_at(1_000_000, swap_there))
        )

    monkeypatch.undo()
    assert fingerprint(replica.server, database) == before
    assert left_behind(replica.server) == []
    assert a_backup(replica.server, database, tmp_path)


def a_swap_that_fails(
    backup: Backup, source: Replica, tmp_path: Path, patches: pytest.MonkeyPatch
) -> tuple[Position, Position]:
    """A restore whose swap is taken back.

    Returns: where the source's binary log was when it began, and before the first step back.
    """
    run, swap_run = Session.run, swap.Swap.run
    positions: list[Position] = []

    def swapping(one: swap.Swap, kept: str | None) -> list[str]:
        positions.append(source.position())
        return swap_run(one, kept)

    def failing(session: Session, *statements: str, what: str = "") -> None:
        if len(positions) == 1 and any(re.match("CREATE .* EVENT", one) for one in statements):
            positions.append(source.position())
            raise BackupError("the server is on fire")
        run(session, *statements, what=what)

    with patches.context() as patched:
        patched.setattr(swap.Swap, "run", swapping)
        patched.setattr(Session, "run", failing)
        with pytest.raises(BackupError, match="on fire"):
            backup.restore(tmp_path, replace=True)
    begun, moved = positions
    return begun, moved


@on_newest("mysql")
def test_without_the_right_a_replica_whose_source_renames_tables_gives_no_backup(
    mysql_server: MysqlServer, a_schema: MakeSchema, an_account: AnAccount, tmp_path: Path
) -> None:
    """Its tables are of different seconds, so that none stands for another."""
    database, other, user = a_schema(mysql_server), a_schema(mysql_server), an_account()
    mysql_server.run("CREATE TABLE moved (id INT)", database=other)
    mysql_server.run(
        *(
            statement
            for at, name in enumerate(("first", "last"))
            for statement in (
                f"SET timestamp = {1_700_000_000 + at}",
                f"CREATE TABLE {name} (id INT AUTO_INCREMENT PRIMARY KEY, t TEXT)",
                f"INSERT INTO {name} (t) VALUES (REPEAT('x', 10000))",
                *[f"INSERT INTO {name} (t) SELECT t FROM {name}"] * 8,
            )
        ),
        database=database,
    )
    mysql_server.run(
        f"GRANT SELECT, SHOW VIEW, TRIGGER, EVENT ON `{database}`.* TO {user}@'%'",
        routines(mysql_server, database, user),
    )
    rename = "RENAME TABLE moved TO elsewhere, elsewhere TO moved"

    def back_up() -> None:
        report = paused_at(1_000_000, lambda: mysql_server.run(rename, database=other) and None)
        engine = an_engine(mysql_server, database, user=user, password="pw")
        engine.create_backup(MemorySink(), a_context(tmp_path, report=report))

    back_up()
    with globally(mysql_server, "read_only", 1):
        with pytest.raises(DatabaseUnavailable, match=r"replica's source .*GRANT PROCESS") as told:
            back_up()
        mysql_server.run(str(told.value)[str(told.value).index("GRANT") :])
        back_up()
