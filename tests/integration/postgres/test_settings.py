"""What a database or a role has set does not bend a backup or a restore."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import pytest

from engines.interface import Target
from tests.fakes.streams import MemorySink, MemorySource
from tests.integration.postgres.conftest import fill_small
from tests.servers.postgres import PostgresServer
from tests.servers.postgres_engine import a_context, an_engine
from tests.servers.postgres_samples import fingerprint

AnyDatabase = Callable[..., str]

#: Each alone breaks a job or bends what it reads, if it reaches our sessions or our tools.
SETTINGS = {
    "DateStyle": "German, DMY",
    "IntervalStyle": "iso_8601",
    "TimeZone": "Asia/Kolkata",
    "default_transaction_read_only": "on",
    "default_transaction_isolation": "serializable",
    "exit_on_error": "on",
    "array_nulls": "off",
    "transform_null_equals": "on",
    "bytea_output": "escape",
    "quote_all_identifiers": "on",
    "search_path": "nowhere",
    "standard_conforming_strings": "off",
    "extra_float_digits": "-15",
    "client_encoding": "LATIN1",
    "row_security": "off",
}


def _fill(server: PostgresServer, database: str) -> None:
    fill_small(server, database)
    with server.connect(database) as connection:
        connection.execute(
            """
            CREATE TABLE public.odd
                (at timestamptz, d date, i interval, f float8, b bytea, t text[]);
            INSERT INTO public.odd VALUES (now(), '2026-12-31', '-1 mons +2 days -03:04',
                1 / 3.0::float8, '\\x00ff5c', ARRAY[NULL, 'NULL', 'x']);
            CREATE VIEW public.v AS SELECT * FROM public.odd WHERE d = CAST(NULL AS date)
            """
        )


@pytest.mark.parametrize("parallel", [1, 3])
@pytest.mark.parametrize("scope", ["database", "role"])
def test_settings_reach_neither_backup_nor_restore(
    postgres_server: PostgresServer,
    a_database: AnyDatabase,
    tmp_path: Path,
    scope: str,
    parallel: int,
) -> None:
    server = postgres_server
    database = a_database(server)
    _fill(server, database)
    with server.connect(database) as connection:
        name = f"owner_{database}"
        connection.execute(f"CREATE ROLE {name} SUPERUSER LOGIN PASSWORD 'pw'")
        connection.execute(f"ALTER ROLE {name} VALID UNTIL '2031-02-03 04:05:06+00'")
        connection.execute(f"GRANT SELECT ON public.a TO {name}")
        before = fingerprint(server, database)
        of = f"ROLE {name}" if scope == "role" else f"DATABASE {database}"
        for key, value in SETTINGS.items():
            connection.execute(f"ALTER {of} SET {key} = '{value}'")
    try:
        engine = an_engine(server, database, user=name, password="pw")
        sink = MemorySink()

        facts = engine.create_backup(sink, a_context(tmp_path), parallel=parallel)
        engine.restore_backup(
            MemorySource(sink.streams),
            facts,
            a_context(tmp_path),
            target=Target(database=f"{database}_new", parallel=parallel),
        )
        # A second time, with the settings on what is replaced.
        engine.restore_backup(
            MemorySource(sink.streams),
            facts,
            a_context(tmp_path),
            target=Target(database=database, replace=True, parallel=parallel),
        )

        age = datetime.now(UTC) - facts.coverage.start
        assert timedelta(0) <= age < timedelta(minutes=5)
        (role,) = (
            role for role in orjson.loads(sink.streams["globals"])["roles"] if role["name"] == name
        )
        assert role["valid_until"] == "2031-02-03 04:05:06+00"
        for key in SETTINGS:
            _reset(server, f"{database}_new", database, name, key)
        assert fingerprint(server, f"{database}_new") == before
        assert fingerprint(server, database) == before
    finally:
        with server.connect() as connection:
            rows = connection.execute(
                "SELECT datname FROM pg_database WHERE starts_with(datname, %s)", (database,)
            ).fetchall()
            for (found,) in rows:
                connection.execute(f"ALTER DATABASE {found} RESET ALL")
                with server.connect(found) as inside:
                    inside.execute(f"REASSIGN OWNED BY {name} TO postgres; DROP OWNED BY {name}")
            connection.execute(f"DROP ROLE {name}")


def _reset(server: PostgresServer, *names: str) -> None:
    restored, database, role, key = names
    with server.connect() as connection:
        for of in (f"DATABASE {restored}", f"DATABASE {database}", f"ROLE {role}"):
            connection.execute(f"ALTER {of} RESET {key}")
