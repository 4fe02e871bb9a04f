"""A location that takes nothing for a while: the dump waits, however impatient the server."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from tests.fakes.streams import MemorySink
from tests.integration.mysql.test_backup_faults import LARGE, fill_large, paused_at
from tests.integration.mysql.test_server_settings import globally
from tests.servers.mysql import MysqlServer
from tests.servers.mysql_engine import an_engine
from tests.servers.postgres_engine import a_context

MakeSchema = Callable[..., str]
#: Seconds: what the server waits for who does not read, and for how long nobody does.
PATIENCE = 1
STALL = 6


def _back_up(server: MysqlServer, database: str, tmp_path: Path, **overrides: object) -> MemorySink:
    sink = MemorySink()
    report = paused_at(1_000_000, lambda: time.sleep(STALL))
    with globally(server, "net_write_timeout", PATIENCE):
        an_engine(server, database, **overrides).create_backup(
            sink, a_context(tmp_path, report=report)
        )
    return sink


def test_a_location_may_lag_for_longer_than_the_server_waits(
    mysql_server: MysqlServer, a_schema: MakeSchema, tmp_path: Path
) -> None:
    database = a_schema(mysql_server)
    fill_large(mysql_server, database)

    sink = _back_up(mysql_server, database, tmp_path)

    assert len(sink.streams["dump"]) > 200 * LARGE


def test_so_it_may_through_a_socket(
    mysql_server: MysqlServer, a_schema: MakeSchema, tmp_path: Path
) -> None:
    database = a_schema(mysql_server)
    fill_large(mysql_server, database)

    sink = _back_up(mysql_server, database, tmp_path, host=str(mysql_server.socket))

    assert len(sink.streams["dump"]) > 200 * LARGE
