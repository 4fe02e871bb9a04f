"""What is moved and moved back within one dump: at its end all is as it was at its beginning."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from attrs import frozen

from controller.api.errors import DatabaseUnavailable
from engines.mysql_family.source import Source
from tests.fakes.streams import MemorySink
from tests.integration.mysql.conftest import Backup, a_backup
from tests.integration.mysql.test_backup_faults import fill_large, paused_at
from tests.servers.mysql import MysqlServer
from tests.servers.mysql_engine import an_engine
from tests.servers.postgres_engine import a_context

MakeSchema = Callable[..., str]
#: Columns that no other test's tables have.
COLUMNS = "(id INT PRIMARY KEY, there_and_back VARCHAR(20))"
EXCHANGE = "ALTER TABLE zz_parts EXCHANGE PARTITION p0 WITH TABLE {0}"


@frozen
class World:
    """A database with a large table before one that has partitions; another one beside it."""

    server: MysqlServer
    database: str
    other: str

    def dumped_while(
        self, tmp_path: Path, patches: pytest.MonkeyPatch, there: str, back: str
    ) -> Backup:
        """A backup: something is done while its first tables are dumped, and undone at its end."""
        insist_on = Source.insist_on

        def run(statement: str) -> None:
            self.server.run(statement, database=self.database)

        def insist(one: Source, *arguments: object) -> None:
            run(back)
            insist_on(one, *arguments)  # type: ignore[arg-type]

        patches.setattr(Source, "insist_on", insist)
        engine, sink = an_engine(self.server, self.database), MemorySink()
        report = paused_at(1_000_000, lambda: run(there))
        facts = engine.create_backup(sink, a_context(tmp_path, report=report))
        return Backup(
            server=self.server, database=self.database, engine=engine, facts=facts, sink=sink
        )


@pytest.fixture
def world(mysql_server: MysqlServer, a_schema: MakeSchema) -> World:
    world = World(mysql_server, a_schema(mysql_server), a_schema(mysql_server))
    fill_large(mysql_server, world.database)
    mysql_server.run(
        f"CREATE TABLE zz_parts {COLUMNS} PARTITION BY RANGE (id)"
        " (PARTITION p0 VALUES LESS THAN (100), PARTITION p1 VALUES LESS THAN (200))",
        "INSERT INTO zz_parts VALUES (1, 'in p0'), (101, 'in p1')",
        database=world.database,
    )
    return world


@pytest.mark.parametrize("is_elsewhere", [False, True])
def test_partitions_that_are_exchanged_and_exchanged_back_make_no_backup(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_elsewhere: bool
) -> None:
    """Between the two, the dump has read the other one's rows under the partition's name."""
    plain = f"`{world.other}`.plain" if is_elsewhere else "`zz_plain`"
    world.server.run(f"CREATE TABLE {plain} {COLUMNS}", database=world.database)
    exchange = EXCHANGE.format(plain)

    with pytest.raises(DatabaseUnavailable, match="exchanged back") as told:
        world.dumped_while(tmp_path, monkeypatch, exchange, exchange)

    monkeypatch.undo()
    assert "a partition of `zz_parts` (p0)" in str(told.value)
    assert (f"{world.other}/plain" if is_elsewhere else plain) in str(told.value)
    assert world.server.run("SELECT id FROM zz_parts", database=world.database) == [(1,), (101,)]
    assert a_backup(world.server, world.database, tmp_path)


def test_tables_that_are_altered_elsewhere_hold_no_backup_up(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there is nothing that a partition could have been exchanged with."""
    world.server.run("CREATE TABLE plain (id INT PRIMARY KEY)", database=world.other)
    there, back = (f"ALTER TABLE `{world.other}`.plain {what}" for what in ("ADD x INT", "DROP x"))
    before = world.server.run("SELECT * FROM zz_parts", database=world.database)

    backup = world.dumped_while(tmp_path, monkeypatch, there, back)

    copy = f"{world.database}_copy"
    backup.restore(tmp_path, database=copy)
    assert world.server.run("SELECT * FROM zz_parts", database=copy) == before
