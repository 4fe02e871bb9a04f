"""What these tests share: a small database and a backup of it."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from attrs import frozen

from engines.interface import BackupFacts, Engine, Target
from tests.fakes.streams import MemorySink, MemorySource
from tests.servers.postgres import PostgresServer
from tests.servers.postgres_engine import a_context, an_engine


@frozen(kw_only=True)
class Backup:
    """A backup in memory and the engine that made it."""

    server: PostgresServer
    database: str
    engine: Engine
    facts: BackupFacts
    sink: MemorySink

    def source(self, **errors: Exception) -> MemorySource:
        return MemorySource(self.sink.streams, errors)

    def restore(self, tmp_path: Path, **target: object) -> object:
        return self.engine.restore_backup(
            self.source(),
            self.facts,
            a_context(tmp_path),
            target=Target(**{"database": self.database, **target}),
        )


def fill_small(server: PostgresServer, database: str, rows: int = 2000) -> None:
    with server.connect(database) as connection:
        connection.execute(
            "CREATE TABLE public.a (id int PRIMARY KEY, t text);"
            "CREATE TABLE public.b AS SELECT 1 AS x; CREATE INDEX ON public.a (t)"
        )
        connection.execute(
            f"INSERT INTO public.a SELECT i, repeat(md5(i::text), 10) "
            f"FROM generate_series(1, {rows}) i"
        )


def databases(server: PostgresServer, like: str) -> list[str]:
    with server.connect() as connection:
        rows = connection.execute(
            "SELECT datname FROM pg_database WHERE starts_with(datname, %s) ORDER BY 1", (like,)
        )
        return [name for (name,) in rows]


@pytest.fixture(params=[1, 3], ids=["one stream", "many streams"])
def backup(
    request: pytest.FixtureRequest,
    postgres16: PostgresServer,
    a_database: Callable[..., str],
    tmp_path: Path,
) -> Backup:
    database = a_database(postgres16)
    fill_small(postgres16, database)
    engine = an_engine(postgres16, database)
    sink = MemorySink()
    facts = engine.create_backup(sink, a_context(tmp_path), parallel=request.param)
    return Backup(server=postgres16, database=database, engine=engine, facts=facts, sink=sink)


@pytest.fixture
def a_role(postgres16: PostgresServer) -> Iterator[Callable[..., str]]:
    """Makes login roles with the password "pw"; they go with the test, after its databases."""
    made: list[str] = []

    def make(attributes: str = "") -> str:
        name = f"role_{secrets.token_hex(4)}"
        with postgres16.connect() as connection:
            connection.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'pw' {attributes}")
        made.append(name)
        return name

    yield make
    with postgres16.connect() as connection:
        databases = [
            row[0]
            for row in connection.execute(
                "SELECT datname FROM pg_database WHERE datallowconn AND datname <> 'template1'"
            )
        ]
    for name in made:
        for database in databases:
            with postgres16.connect(database) as connection:
                connection.execute(f"REASSIGN OWNED BY {name} TO postgres; DROP OWNED BY {name}")
        with postgres16.connect() as connection:
            connection.execute(f"DROP ROLE {name}")
