"""A database with more tables than the server has room to lock."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from controller.api.errors import PreflightFailed
from engines import process
from tests.fakes.streams import MemorySink
from tests.integration.postgres.test_backup_faults import children, gone
from tests.servers import postgres
from tests.servers.postgres import PostgresServer
from tests.servers.postgres_engine import a_context, an_engine


@pytest.fixture(scope="module")
def small_server() -> Iterator[PostgresServer]:
    options = {"max_locks_per_transaction": "10", "max_connections": "12"}
    with postgres.running(16, options=options) as server:
        yield server


#: With so many the snapshot has its locks and pg_dump has not; then not even the snapshot.
@pytest.mark.parametrize(
    ("tables", "who"), [(400, process.ProcessFailed), (1200, psycopg.errors.OutOfMemory)]
)
@pytest.mark.parametrize("parallel", [1, 3])
def test_the_setting_that_is_too_low_is_named_at_once(
    small_server: PostgresServer, tmp_path: Path, tables: int, who: type[Exception], parallel: int
) -> None:
    database = f"crowded_{tables}_{parallel}"
    with small_server.connect() as connection:
        connection.execute(f"CREATE DATABASE {database} TEMPLATE template0")
    with small_server.connect(database) as connection:
        for first in range(0, tables, 50):  # nor is there room for more in one transaction
            connection.execute(
                ";".join(
                    f"CREATE TABLE public.a_table_with_quite_a_long_name_{number} (a int)"
                    for number in range(first, first + 50)
                )
            )
    sink = MemorySink()
    engine = an_engine(small_server, database)

    with pytest.raises(PreflightFailed, match="raise max_locks_per_transaction") as caught:
        engine.create_backup(sink, a_context(tmp_path), parallel=parallel)

    assert isinstance(caught.value.__cause__, who)
    assert not sink.opened
    assert children() == []
    gone(small_server)
