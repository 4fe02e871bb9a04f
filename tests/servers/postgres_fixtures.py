"""Fixtures: one server per major and run, one database per test."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable, Iterator

import pytest

from tests.servers import postgres
from tests.servers.postgres import PostgresServer


def _given(major: int, *, options: dict[str, str] | None = None) -> Iterator[PostgresServer]:
    with contextlib.ExitStack() as stack:
        try:
            server = stack.enter_context(postgres.running(major, options=options))
        except postgres.ServerMissing as missing:
            if os.environ.get("DB_BACKUP_TEST_REQUIRE_SERVERS") == "1":
                raise
            pytest.skip(f"{missing} ({postgres.HOW_TO_GET})")
        yield server


_OPTIONS = {"wal_level": "logical", "max_prepared_transactions": "5"}


@pytest.fixture(scope="session")
def postgres15() -> Iterator[PostgresServer]:
    yield from _given(15, options=_OPTIONS)


@pytest.fixture(scope="session")
def postgres16() -> Iterator[PostgresServer]:
    yield from _given(16, options=_OPTIONS)


@pytest.fixture(scope="session")
def postgres17() -> Iterator[PostgresServer]:
    yield from _given(17, options=_OPTIONS)


@pytest.fixture(scope="session")
def postgres18() -> Iterator[PostgresServer]:
    yield from _given(18, options=_OPTIONS)


@pytest.fixture(params=postgres.MAJORS)
def postgres_server(request: pytest.FixtureRequest) -> PostgresServer:
    """Each major in turn; only those that a selected test asks for are started."""
    server: PostgresServer = request.getfixturevalue(f"postgres{request.param}")
    return server


@pytest.fixture
def a_database() -> Iterator[Callable[[PostgresServer], str]]:
    """Makes empty databases; they and what restores made beside them go with the test."""
    made: list[tuple[PostgresServer, str]] = []

    def make(server: PostgresServer, *, prefix: str = "t") -> str:
        name = f"{prefix}_{secrets.token_hex(4)}"
        with server.connect() as connection:
            connection.execute(f'CREATE DATABASE "{name}" TEMPLATE template0')
        made.append((server, name))
        return name

    yield make
    for server, name in made:
        with server.connect() as connection:
            rows = connection.execute(
                "SELECT datname FROM pg_database WHERE datname = %s OR starts_with(datname, %s)",
                (name, f"{name}_"),
            ).fetchall()
            for (found,) in rows:
                quoted = found.replace('"', '""')
                connection.execute(f'ALTER DATABASE "{quoted}" ALLOW_CONNECTIONS true')
                connection.execute(f'DROP DATABASE "{quoted}" WITH (FORCE)')
