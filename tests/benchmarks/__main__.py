"""Run the runner's benchmarks and write their section of docs/benchmarks.md.

python -m tests.benchmarks [--megabytes 1000] [--rounds 5] [--sizes 0.1,1,4]
"""

from __future__ import annotations

import os
import platform
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import click

from tests.benchmarks import backup, catalogue, memory, restore
from tests.benchmarks.measure import Row
from tests.benchmarks.report import write_section
from tests.benchmarks.workload import fill
from tests.servers import minio, postgres

_OPTIONS = {"shared_buffers": "512MB", "max_wal_size": "8GB", "maintenance_work_mem": "256MB"}


@click.command()
@click.option("--megabytes", default=1000, show_default=True, help="Size of the dump.")
@click.option("--rounds", default=5, show_default=True)
@click.option("--sizes", default="0.1,1,4", show_default=True, help="GB, for memory.")
@click.option(
    "--only", default="", help="backup, restore, memory or listing; the report is not written."
)
def main(megabytes: int, rounds: int, sizes: str, only: str) -> None:
    """Benchmarks of the runner against the shell pipeline on real servers."""
    rows: list[Row] = []
    memory_rows: list[memory.MemoryRow] = []
    listing = ""
    with (
        postgres.running(16, options=_OPTIONS) as server,
        minio.running() as store,
        tempfile.TemporaryDirectory(prefix="bench-") as name,
    ):
        folder = Path(name)
        if only in ("", "backup", "restore"):
            print(f"generating {megabytes} MB ...", flush=True)
            fill(server, "bench", megabytes)
        if only in ("", "backup"):
            rows += backup.run(server, "bench", store, folder, rounds)
        if only in ("", "restore"):
            rows += restore.run(server, "bench", folder, rounds)
        if only in ("", "memory"):
            steps = [float(size) for size in sizes.split(",")]
            memory_rows += memory.run(server, store, folder, steps)
        if only in ("", "listing"):
            listing = catalogue.sentence(folder)
    text = report(rows, memory_rows, megabytes, rounds) + f"\n{listing}\n"
    print(text)
    if not only:
        write_section("The runner", text)


def report(
    rows: Sequence[Row], memory_rows: Sequence[memory.MemoryRow], megabytes: int, rounds: int
) -> str:
    head = (
        f"Written by `make bench` on {datetime.now(UTC):%Y-%m-%d}: {os.cpu_count()} cores, "
        f"{platform.system()} {platform.machine()}, Python {platform.python_version()}, "
        f"PostgreSQL 16, {megabytes} MB of generated data, one uncounted round and {rounds} "
        "counted ones, interleaved. Ratios are medians of the rounds' own ratios: below 1 is "
        "faster than what it is compared with. A job's time is from its start to its end, "
        "preflight, commit and retention included; starting the process is not."
    )
    memory_head = (
        "Memory, MiB: the parent when idle, and the peaks of parent and job process added up "
        "(targets: 50 and 200). With one location it is `s3`; with three, `s3`, `minio` and "
        "`filesystem`."
    )
    lines = [
        *(head, ""),
        "| what | against | ratio | lowest - highest | target | |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.what} | {row.against.replace('|', chr(92) + '|')} | **{row.ratio:.2f}** | "
        f"{row.low:.2f} - {row.high:.2f} | {row.target} | {row.note} |"
        for row in rows
    ]
    lines += [
        *("", memory_head, ""),
        "| data | locations | idle parent | parent and job at their peaks |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {row.gigabytes:g} GB | {row.locations} | {row.idle:.0f} | **{row.peak:.0f}** |"
        for row in memory_rows
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
