"""Wall time of a restore against `zstd -d | psql` of a plain dump."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from pathlib import Path

from tests.benchmarks.backup import bash_s, directory
from tests.benchmarks.measure import Row, interleave, ratio
from tests.benchmarks.workload import Runner, write_runner
from tests.servers.postgres import PostgresServer

SHELL = "zstd -d | psql of a plain dump"
ANALYZED = "the same, and ANALYZE after it"
PARALLEL = "restore, two streams"
ONE = "restore, one stream"


def run(server: PostgresServer, database: str, folder: Path, rounds: int) -> list[Row]:
    one = write_runner(folder / "restore-one", server, database, [directory(folder, "r1")])
    two = write_runner(
        folder / "restore-two", server, database, [directory(folder, "r2")], parallelism=2
    )
    for runner in (one, two):
        runner.outcome("backup-now")
    shell = Shell(server, database, folder)
    times = interleave(
        {
            SHELL: shell.run,
            ANALYZED: shell.analyzed_s,
            ONE: _restore(server, one),
            PARALLEL: _restore(server, two),
        },
        rounds,
    )
    return [
        ratio(PARALLEL, SHELL, times, target="<= 0.80"),
        ratio(PARALLEL, ANALYZED, times),
        ratio(ONE, SHELL, times),
        ratio(ONE, ANALYZED, times),
    ]


class Shell:
    """What a person does without us; a restore of ours has the statistics, too."""

    def __init__(self, server: PostgresServer, database: str, folder: Path) -> None:
        self._server = server
        self._dump = folder / "plain.sql.zst"
        self._analyzed_s = 0.0
        bash_s(f"pg_dump {database} | zstd -1 -q -o {self._dump}", server.environment())

    def run(self) -> float:
        environ = self._server.environment()
        target = new_name()
        bash_s(f"createdb {target}", environ)
        started = time.perf_counter()
        bash_s(
            f"zstd -dcq {self._dump} | psql -qX -v ON_ERROR_STOP=1 -o /dev/null {target}", environ
        )
        seconds = time.perf_counter() - started
        bash_s(f"psql -qX -c ANALYZE {target}", environ)
        self._analyzed_s = time.perf_counter() - started
        _drop(self._server, target)
        return seconds

    def analyzed_s(self) -> float:
        """Of the last run, until its database had statistics."""
        return self._analyzed_s


def _restore(server: PostgresServer, runner: Runner) -> Callable[[], float]:
    def run_once() -> float:
        target = new_name()
        seconds = runner.job_s("restore", "--at", "now", "--database", target)
        _drop(server, target)
        return seconds

    return run_once


def new_name() -> str:
    return f"restored_{secrets.token_hex(4)}"


def _drop(server: PostgresServer, database: str) -> None:
    with server.connect() as connection:
        connection.execute(f'DROP DATABASE "{database}" WITH (FORCE)')
        connection.execute("CHECKPOINT")
