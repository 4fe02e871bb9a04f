"""Memory stays flat however many tables there are; `make test-many-tables` makes it 10,000."""

from __future__ import annotations

import multiprocessing
import os
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from attrs import evolve

from engines.interface import StreamName, Target
from tests.integration.mysql.conftest import left_behind, schemas
from tests.servers.mysql import MysqlServer
from tests.servers.mysql_engine import an_engine
from tests.servers.postgres_engine import a_context

FEW = 20
MANY = int(os.environ.get("DB_BACKUP_TEST_MANY_TABLES", "150"))
#: Of names and definitions, which are held: a few hundred bytes a table.
GROWTH_BYTES = 48 << 20


class Written:
    """One stream, into a file."""

    def __init__(self, file: Path) -> None:
        self._file = file.open("wb")

    def write(self, data: bytes | memoryview, /) -> int:
        return self._file.write(data)

    def close(self) -> None:
        self._file.close()

    def abort(self, cause: BaseException, /) -> None:
        self._file.close()
        raise cause


class FolderSink:
    """Streams as files: what is in memory is the engine's own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def open(self, name: StreamName, /) -> Written:
        return Written(self._folder / name)


class FolderSource:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def open(self, name: StreamName, /) -> BinaryIO:
        return (self._folder / name).open("rb")

    def names(self) -> list[StreamName]:
        return [StreamName(path.name) for path in self._folder.iterdir()]

    def size(self, name: StreamName, /) -> int:
        return (self._folder / name).stat().st_size


def _there_and_back(
    server: MysqlServer, database: str, folder: Path, answers: multiprocessing.Queue[object]
) -> None:
    streams = folder / "streams"
    streams.mkdir()
    engine = an_engine(server, database)
    started = time.monotonic()
    facts = engine.create_backup(FolderSink(streams), a_context(folder))
    dumped = time.monotonic()
    target = Target(database=database, replace=True)
    engine.restore_backup(FolderSource(streams), facts, a_context(folder), target=target)
    answers.put(
        (
            resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10,
            facts.counts["tables"],
            round(dumped - started, 1),
            round(time.monotonic() - dumped, 1),
        )
    )


def there_and_back(server: MysqlServer, database: str, folder: Path) -> tuple[int, int]:
    """Back up and replace, in a process of its own: peak memory, and tables."""
    folder.mkdir()
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    arguments = (evolve(server, process=None), database, folder, answers)
    process = context.Process(target=_there_and_back, args=arguments)
    process.start()
    peak, tables, *seconds = answers.get(timeout=3000)
    process.join()
    print(f"{server.family}: {tables} tables, {peak >> 20} MiB, dump and restore {seconds} s")
    return peak, tables


def test_memory_does_not_grow_with_the_number_of_tables(
    mysql_server: MysqlServer, a_schema: Callable[..., str], tmp_path: Path
) -> None:
    peaks = []
    for number in (FEW, MANY):
        database = a_schema(mysql_server)
        with mysql_server.connect(database) as connection, connection.cursor() as cursor:
            for table in range(number):
                cursor.execute(f"CREATE TABLE t{table:05} (id INT PRIMARY KEY, t TEXT)")
                if table < 50:
                    cursor.execute(f"INSERT INTO t{table:05} VALUES (1, 'x')")

        peak, tables = there_and_back(mysql_server, database, tmp_path / str(number))

        assert tables == number
        peaks.append(peak)
        assert len(mysql_server.run(f"SHOW TABLES FROM `{database}`")) == number
        (kept,) = schemas(mysql_server, f"{database}_before_")
        assert len(mysql_server.run(f"SHOW TABLES FROM `{kept}`")) == number
    assert left_behind(mysql_server) == []
    assert peaks[1] - peaks[0] < GROWTH_BYTES
