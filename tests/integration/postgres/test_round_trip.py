"""What goes into a backup comes out of it, on every major and with one or more streams."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path

import pytest

from engines.interface import Target
from tests.fakes.streams import MemorySink, MemorySource
from tests.servers.postgres import PostgresServer
from tests.servers.postgres_engine import a_context, an_engine
from tests.servers.postgres_samples import database_properties, fill, fingerprint, leftovers

AnyDatabase = Callable[..., str]


@pytest.mark.parametrize("parallel", [1, 3])
def test_everything_comes_back_after_the_database_was_dropped(
    postgres_server: PostgresServer, a_database: AnyDatabase, tmp_path: Path, parallel: int
) -> None:
    server = postgres_server
    database = a_database(server)
    owner = f"owner_{secrets.token_hex(4)}"
    with server.connect() as connection:
        connection.execute(f"CREATE ROLE {owner} LOGIN")
        connection.execute(f"ALTER DATABASE {database} OWNER TO {owner}")
        connection.execute(f"ALTER DATABASE {database} SET work_mem = '7MB'")
        connection.execute(f'ALTER DATABASE {database} SET search_path = app, "a, b", public')
        connection.execute(f"ALTER ROLE {owner} IN DATABASE {database} SET lock_timeout = '3s'")
        connection.execute(f"REVOKE CONNECT ON DATABASE {database} FROM PUBLIC")
        connection.execute(f"GRANT CREATE ON DATABASE {database} TO {owner} WITH GRANT OPTION")
        connection.execute(f"COMMENT ON DATABASE {database} IS 'it''s \\ mine'")
    fill(server, database, owner=owner)
    before = fingerprint(server, database), database_properties(server, database)
    engine = an_engine(server, database)
    sink = MemorySink()

    facts = engine.create_backup(sink, a_context(tmp_path), parallel=parallel)
    with server.connect() as connection:
        connection.execute(f"DROP DATABASE {database} WITH (FORCE)")
        connection.execute(f"DROP ROLE {owner}")
    problems = engine.verify_streams(MemorySource(sink.streams), facts, a_context(tmp_path))
    restored = engine.restore_backup(
        MemorySource(sink.streams),
        facts,
        a_context(tmp_path),
        target=Target(database=database, parallel=parallel),
    )

    assert list(problems) == []
    assert set(facts.streams) == set(sink.streams)
    assert (fingerprint(server, database), database_properties(server, database)) == before
    assert restored.counts == facts.counts
    assert restored.kept_as is None
    assert [line for line in restored.warnings if owner in line]
    assert leftovers(server) == []
    with server.connect() as connection:
        assert connection.execute(
            "SELECT rolcanlogin FROM pg_roles WHERE rolname = %s", (owner,)
        ).fetchone() == (True,)
        connection.execute(f"DROP DATABASE {database}")
        connection.execute(f"DROP ROLE {owner}")
