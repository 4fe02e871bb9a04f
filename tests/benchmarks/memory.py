"""Peak memory of the runner's parent and job process together, as the kernel counts it."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from attrs import frozen

from tests.benchmarks.backup import bucket, directory
from tests.benchmarks.workload import Runner, fill, write_runner
from tests.servers.minio import MinioServer
from tests.servers.postgres import PostgresServer


@frozen(kw_only=True)
class MemoryRow:
    """MiB; `peak` is the sum of both processes' own peaks, so never too low."""

    gigabytes: float
    locations: int
    idle: float
    peak: float


def run(
    server: PostgresServer, minio: MinioServer, folder: Path, sizes: Sequence[float]
) -> list[MemoryRow]:
    rows = []
    for gigabytes in sizes:
        database = f"memory{int(gigabytes * 1000)}"
        fill(server, database, int(gigabytes * 1000))
        for count in (1, 3):
            name = f"{database}-{count}"
            # Three kinds at once: every SDK is loaded, the worst case.
            locations: list[dict[str, Any]] = [{**bucket(minio, "s3"), "storageType": "s3"}]
            if count == 3:
                locations += [bucket(minio, "minio"), directory(folder, f"{name}-directory")]
            runner = write_runner(folder / name, server, database, locations)
            rows.append(measure(runner, gigabytes, count))
            print(f"  {rows[-1]}", flush=True)
        with server.connect() as connection:
            connection.execute(f'DROP DATABASE "{database}" WITH (FORCE)')
    return rows


def measure(runner: Runner, gigabytes: float, locations: int) -> MemoryRow:
    """A backup by a runner that serves; the other arguments say of what."""
    with _parent(runner) as pid:
        idle = _mebibytes(pid, "VmRSS")
        jobs: dict[int, float] = {}
        stop = threading.Event()
        watcher = threading.Thread(target=_watch_jobs, args=(pid, jobs, stop))
        watcher.start()
        try:
            runner.outcome("backup-now")
        finally:
            stop.set()
            watcher.join()
        return MemoryRow(
            gigabytes=gigabytes,
            locations=locations,
            idle=idle,
            peak=_mebibytes(pid, "VmHWM") + max(jobs.values(), default=0.0),
        )


@contextlib.contextmanager
def _parent(runner: Runner) -> Iterator[int]:
    process = subprocess.Popen([Path(sys.executable).parent / "runner", "run"], env=runner.environ)
    try:
        deadline = time.monotonic() + 60
        while runner.command("status").returncode and time.monotonic() < deadline:
            time.sleep(0.2)
        time.sleep(5)  # the first look at the locations is over, its memory returned
        yield process.pid
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)


def _watch_jobs(parent: int, jobs: dict[int, float], stop: threading.Event) -> None:
    """Note each job's own high-water mark while it lives; its tools are not counted."""
    while not stop.wait(0.05):
        children = Path(f"/proc/{parent}/task").glob("*/children")
        for pid in {int(pid) for child in children for pid in child.read_text().split()}:
            with contextlib.suppress(FileNotFoundError, ProcessLookupError, StopIteration):
                jobs[pid] = _mebibytes(pid, "VmHWM")


def _mebibytes(pid: int, field: str) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    line = next(line for line in lines if line.startswith(field))
    return int(line.split()[1]) / 1024
