"""A backup of a standby says of what instant it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from engines.interface import BackupFacts, Target
from tests.fakes.streams import MemorySink, MemorySource
from tests.integration.postgres.conftest import fill_small
from tests.integration.postgres.test_backup_faults import wait_for
from tests.servers import postgres
from tests.servers.postgres import PostgresServer
from tests.servers.postgres_engine import a_context, an_engine

AnyDatabase = Callable[..., str]


@pytest.fixture
def quiet(postgres16: PostgresServer) -> Iterator[None]:
    """Nothing commits but what a test does: autovacuum's work would be replayed, too."""
    with postgres16.connect() as connection:
        connection.execute("ALTER SYSTEM SET autovacuum = off")
        connection.execute("SELECT pg_reload_conf()")
    wait_for(
        postgres16,
        "SELECT current_setting('autovacuum') = 'off' AND NOT EXISTS"
        " (SELECT FROM pg_stat_activity WHERE backend_type LIKE 'autovacuum %')",
    )
    yield
    with postgres16.connect() as connection:
        connection.execute("ALTER SYSTEM RESET autovacuum")
        connection.execute("SELECT pg_reload_conf()")


@pytest.fixture
def database(postgres16: PostgresServer, a_database: AnyDatabase, quiet: None) -> str:
    name = a_database(postgres16)
    fill_small(postgres16, name)
    with postgres16.connect() as connection:
        # Nothing of this is to be replayed by the standby.
        connection.execute("CHECKPOINT")
        connection.execute(
            f"ALTER DATABASE {name} SET default_transaction_isolation = 'serializable'"
        )
        connection.execute("CHECKPOINT")
    return name


@pytest.fixture
def standby(postgres16: PostgresServer, database: str) -> Iterator[PostgresServer]:
    with postgres.standby_of(postgres16) as server:
        yield server


def _back_up(
    server: PostgresServer, database: str, tmp_path: Path
) -> tuple[BackupFacts, MemorySink]:
    sink = MemorySink()
    engine = an_engine(server, database)
    return engine.create_backup(sink, a_context(tmp_path), parallel=2), sink


def _ask(server: PostgresServer, query: str) -> datetime:
    with server.connect() as connection:
        found: datetime = connection.execute(query).fetchone()[0]
        return found


def test_of_the_last_transaction_that_it_replayed(
    postgres16: PostgresServer, database: str, standby: PostgresServer, tmp_path: Path
) -> None:
    with postgres16.connect(database) as connection:
        connection.execute("CREATE TABLE public.late ()")
    wait_for(standby, "SELECT pg_last_xact_replay_timestamp() IS NOT NULL")
    with postgres16.connect() as connection:
        lsn = connection.execute("SELECT pg_current_wal_lsn()").fetchone()[0]
    wait_for(standby, f"SELECT pg_last_wal_replay_lsn() >= '{lsn}'")
    replayed_at = _ask(standby, "SELECT pg_last_xact_replay_timestamp()")

    facts, sink = _back_up(standby, database, tmp_path)

    assert facts.coverage.start == replayed_at
    an_engine(postgres16, database).restore_backup(
        MemorySource(sink.streams),
        facts,
        a_context(tmp_path),
        target=Target(database=f"{database}_new"),
    )
    with postgres16.connect(f"{database}_new") as connection:
        assert connection.execute("SELECT count(*) FROM public.a").fetchone() == (2000,)


def test_of_its_start_when_it_replayed_none(
    database: str, standby: PostgresServer, tmp_path: Path
) -> None:
    assert _ask(standby, "SELECT pg_last_xact_replay_timestamp()") is None
    started_at = _ask(standby, "SELECT checkpoint_time FROM pg_control_checkpoint()")
    wait_for(standby, f"SELECT clock_timestamp() > '{started_at.isoformat()}'::timestamptz + '3 s'")

    facts, _sink = _back_up(standby, database, tmp_path)

    assert facts.coverage.start == facts.coverage.end == started_at + timedelta(seconds=1)
