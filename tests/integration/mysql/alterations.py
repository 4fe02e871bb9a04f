"""Tables whose indexes take as long as a test needs, and what a server alters meanwhile."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

import pymysql
from attrs import evolve

from tests.fakes.streams import MemorySink
from tests.integration.mysql.conftest import Backup, a_backup
from tests.servers.mysql import MysqlServer

_ALTERED = (
    "SELECT INFO FROM information_schema.PROCESSLIST WHERE INFO LIKE 'ALTER TABLE%KEY%'"
    " AND (DB LIKE 'dbb\\_restore\\_%' OR INFO LIKE '%dbb\\_restore\\_%')"
)
_PERIOD_S = 0.02
#: A number that stands nowhere else in a dump: how long a text each entry of the index is made of.
_LENGTH = 1_111
_ROWS = 600
#: About what the server makes an entry of in a millisecond.
_LENGTH_MS = 300_000


def slow(
    server: MysqlServer, database: str, tmp_path: Path, *, tables: int = 1, linked: bool = False
) -> Backup:
    """A backup of tables that have an index on what is computed for it, from few bytes as yet.

    A row is a fifth of a page: between two pages a server looks whether it is to stop.
    """
    for number in range(tables):
        parent = f"slow{(number + 1) % tables}"
        key = f", FOREIGN KEY (id) REFERENCES {parent} (id)" if linked else ""
        server.run(
            "SET SESSION foreign_key_checks = 0",
            f"CREATE TABLE slow{number} (id INT PRIMARY KEY, filler CHAR(250) NOT NULL DEFAULT"
            " 'x', more VARBINARY(3000) NOT NULL, hash CHAR(128) CHARACTER SET latin1 AS"
            f" (SHA2(REPEAT(id % 10, {_LENGTH}), 512)) VIRTUAL, KEY hash (hash){key})",
            f"INSERT INTO slow{number} (id, more) VALUES "
            + ", ".join(f"({row}, REPEAT('x', 3000))" for row in range(1, _ROWS + 1)),
            database=database,
        )
    return a_backup(server, database, tmp_path)


def slowed(backup: Backup, rows_s: float = 10) -> Backup:
    """The same with indexes that take about so many seconds each."""
    length = str(int(rows_s * 1000 / _ROWS * _LENGTH_MS)).encode()
    sink = MemorySink()
    for name, data in backup.sink.streams.items():
        sink.streams[name] = data.replace(str(_LENGTH).encode(), length)
    assert sink.streams != backup.sink.streams
    return evolve(backup, sink=sink)


class Watch:
    """Looks at what a restore alters, all the time while it is in its block.

    Args:
        then: called once, when something is altered.
    Attributes:
        seen: whether anything was. most_at_once: how many tables were, at most.
    """

    def __init__(self, server: MysqlServer, then: Callable[[], object] = lambda: None) -> None:
        self._server = server
        self._then = then
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watch")
        self._seen_at = 0.0
        self._ended_at = 0.0
        self.most_at_once = 0

    @property
    def seen(self) -> bool:
        return self.most_at_once > 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended_at = time.monotonic()
        self._stop.set()
        self._thread.join()

    def since_s(self) -> float:
        """From when something was seen to be altered until the block's end."""
        assert self.seen, "no restore was seen to alter a table"
        return self._ended_at - self._seen_at

    def running(self) -> set[str]:
        """What is altered at this moment."""
        return {info for (info,) in self._server.run(_ALTERED)}

    def _watch(self) -> None:
        with (
            contextlib.suppress(pymysql.MySQLError),  # the server may be what ends
            self._server.connect() as connection,
            connection.cursor() as cursor,
        ):
            while not self._stop.wait(_PERIOD_S):
                cursor.execute(_ALTERED)
                found = len(cursor.fetchall())
                if found and not self.seen:
                    self._seen_at = time.monotonic()
                    self.most_at_once = found
                    self._then()
                self.most_at_once = max(self.most_at_once, found)
