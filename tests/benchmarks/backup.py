"""Wall time of a backup against `pg_dump -Fc -Z0 | zstd -1 | age` into a file."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.benchmarks.measure import Row, interleave, ratio
from tests.benchmarks.workload import PASSPHRASE, Runner, write_runner
from tests.servers.minio import MinioServer
from tests.servers.postgres import PostgresServer

SHELL = "pg_dump -Fc -Z0 | zstd -1 | age > file"
ONE = "one location (filesystem)"
TWO = "two locations (filesystem)"
STREAMS = "one location, two streams"
MINIO = "one location (MinIO)"
MIXED = "two locations (MinIO, filesystem)"


def run(
    server: PostgresServer, database: str, minio: MinioServer, folder: Path, rounds: int
) -> list[Row]:
    def runner(name: str, locations: Sequence[dict[str, Any]], parallelism: int = 1) -> Runner:
        return write_runner(folder / name, server, database, locations, parallelism=parallelism)

    subjects = {
        SHELL: _shell(server, database, folder),
        ONE: _job(runner("one", [directory(folder, "a")])),
        STREAMS: _job(runner("streams", [directory(folder, "b")], 2)),
        TWO: _job(runner("two", [directory(folder, "c"), directory(folder, "d")])),
        MINIO: _job(runner("minio", [bucket(minio, "m")])),
        MIXED: _job(runner("mixed", [bucket(minio, "n"), directory(folder, "e")])),
    }
    times = interleave(subjects, rounds)
    return [
        ratio(ONE, SHELL, times, target="<= 1.05"),
        ratio(STREAMS, ONE, times, target="<= 1.00 on 2 cores, <= 0.60 on 4"),
        ratio(TWO, ONE, times, target="<= 1.15"),
        ratio(MIXED, MINIO, times, target="<= 1.15"),
        ratio(MINIO, SHELL, times),
    ]


def directory(folder: Path, name: str) -> dict[str, Any]:
    path = folder / f"store-{name}"
    path.mkdir()
    return {
        "name": name,
        "storageType": "filesystem",
        "path": str(path),
        "encryptionPass": {"value": PASSPHRASE},
    }


def bucket(minio: MinioServer, name: str) -> dict[str, Any]:
    return {
        "name": name,
        "storageType": "minio",
        "storageEndpoint": minio.endpoint,
        "storageBucket": minio.new_bucket(),
        "storageAccessKeyID": {"value": minio.access_key},
        "storageSecretAccessKey": {"value": minio.secret_key},
        "encryptionPass": {"value": PASSPHRASE},
    }


def _shell(server: PostgresServer, database: str, folder: Path) -> Callable[[], float]:
    made = subprocess.run(
        ["age-keygen", "-o", folder / "key"], capture_output=True, text=True, check=True
    )
    recipient = made.stderr.split()[-1]
    line = f"pg_dump -Fc -Z0 {database} | zstd -1 -q | age -r {recipient} > {folder}/shell.age"

    def run_once() -> float:
        import time

        started = time.perf_counter()
        subprocess.run(["bash", "-o", "pipefail", "-c", line], env=server.environment(), check=True)
        return time.perf_counter() - started

    return run_once


def _job(runner: Runner) -> Callable[[], float]:
    """The job from its start to its end: preflight, dump, upload, commit and retention."""

    def run_once() -> float:
        outcome = runner.outcome("backup-now")
        ended, began = (datetime.fromisoformat(outcome[key]) for key in ("finishedAt", "startedAt"))
        return (ended - began).total_seconds()

    return run_once
