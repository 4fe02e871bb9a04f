"""Wall time of a backup against `pg_dump -Fc -Z0 | zstd -1 | age` into a file."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks.measure import Row, interleave, ratio
from tests.benchmarks.workload import PASSPHRASE, write_runner
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
    def job(
        name: str, locations: Sequence[dict[str, Any]], parallelism: int = 1
    ) -> Callable[[], float]:
        runner = write_runner(folder / name, server, database, locations, parallelism=parallelism)
        return lambda: runner.job_s("backup-now")

    subjects = {
        SHELL: _shell(server, database, folder),
        ONE: job("one", [directory(folder, "a")]),
        STREAMS: job("streams", [directory(folder, "b")], 2),
        TWO: job("two", [directory(folder, "c"), directory(folder, "d")]),
        MINIO: job("minio", [bucket(minio, "m")]),
        MIXED: job("mixed", [bucket(minio, "n"), directory(folder, "e")]),
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
    recipient = age_recipient(folder, "key")
    line = f"pg_dump -Fc -Z0 {database} | zstd -1 -q | age -r {recipient} > {folder}/shell.age"
    return lambda: bash_s(line, server.environment())


def age_recipient(folder: Path, name: str) -> str:
    """Make a key in a file of `folder`; returns whom to encrypt to."""
    made = subprocess.run(
        ["age-keygen", "-o", folder / name], capture_output=True, text=True, check=True
    )
    return made.stderr.split()[-1]


def bash_s(line: str, environ: Mapping[str, str]) -> float:
    """Seconds of a line of bash, each of whose programs has to exit 0."""
    started = time.perf_counter()
    subprocess.run(["bash", "-o", "pipefail", "-c", line], env=environ, check=True)
    return time.perf_counter() - started
