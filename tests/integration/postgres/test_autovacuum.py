"""A restore does not wait a second for each table that an autovacuum worker has."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from engines.interface import Target
from tests.fakes.streams import MemorySink, MemorySource
from tests.servers.postgres import PostgresServer
from tests.servers.postgres_engine import a_context, an_engine

AnyDatabase = Callable[..., str]

#: What a session has when it fills the view, and when ANALYZE takes its sample of the index.
_OBSERVER = """
CREATE FUNCTION public.waits(int) RETURNS text LANGUAGE sql IMMUTABLE
    AS $$ SELECT pg_catalog.current_setting('deadlock_timeout') $$;
CREATE TABLE public.t AS SELECT i FROM generate_series(1, 100) i;
CREATE INDEX by_waits ON public.t (public.waits(i));
CREATE MATERIALIZED VIEW public.at_build AS SELECT public.waits(1) AS is
"""
_SEEN = """
SELECT (SELECT "is" FROM public.at_build),
       (SELECT most_common_vals::text FROM pg_stats WHERE tablename = 'by_waits')
"""


@pytest.mark.parametrize("right", ["SUPERUSER", "granted", "none"])
@pytest.mark.parametrize("parallel", [1, 2])
def test_sessions_end_autovacuum_s_workers_early_where_they_may(
    postgres16: PostgresServer,
    a_database: AnyDatabase,
    a_role: Callable[..., str],
    tmp_path: Path,
    right: str,
    parallel: int,
) -> None:
    server = postgres16
    database = a_database(server)
    role = a_role("SUPERUSER" if right == "SUPERUSER" else "CREATEDB")
    with server.connect(database) as connection:
        if right == "granted":
            connection.execute(f"GRANT SET ON PARAMETER deadlock_timeout TO {role}")
        connection.execute(f"ALTER DATABASE {database} OWNER TO {role}")
    with server.connect(database, user=role, password="pw") as connection:
        connection.execute(_OBSERVER)
    engine = an_engine(server, database, user=role, password="pw")
    sink = MemorySink()
    facts = engine.create_backup(sink, a_context(tmp_path), parallel=parallel)

    restored = engine.restore_backup(
        MemorySource(sink.streams),
        facts,
        a_context(tmp_path),
        target=Target(database=f"{database}_new", parallel=parallel),
    )

    asked = "1s" if right == "none" else "100ms"
    with server.connect(f"{database}_new") as connection:
        assert connection.execute(_SEEN).fetchone() == (asked, f"{{{asked}}}")
    assert not restored.warnings
