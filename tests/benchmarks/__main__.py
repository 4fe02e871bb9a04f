"""Run the runner's benchmarks and write their sections of docs/benchmarks.md.

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

from tests.benchmarks import backup, catalogue, memory, mysql_family, restore
from tests.benchmarks.measure import Row
from tests.benchmarks.report import write_section
from tests.benchmarks.workload import fill
from tests.servers import minio, mysql, postgres
from tests.servers.minio import MinioServer

_OPTIONS = {"shared_buffers": "512MB", "max_wal_size": "8GB", "maintenance_work_mem": "256MB"}
_PARTS = ("backup", "restore", "memory", "listing", *mysql_family.SUBJECTS)


@click.command()
@click.option(
    "--megabytes",
    default=1000,
    show_default=True,
    help="Size of the dump; of MariaDB half, of MySQL a quarter.",
)
@click.option("--rounds", default=5, show_default=True)
@click.option("--sizes", default="0.1,1,4", show_default=True, help="GB, for memory.")
@click.option("--only", type=click.Choice(_PARTS), help="The report is not written then.")
def main(megabytes: int, rounds: int, sizes: str, only: str | None) -> None:
    """Benchmarks of the runner against the shell pipeline on real servers."""
    parts = (only,) if only else _PARTS

    def tell(heading: str, text: str) -> None:
        """At once: the next part may find no server."""
        print(text)
        if not only:
            write_section(heading, text)

    with minio.running() as store, tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        if not set(parts) <= mysql_family.SUBJECTS.keys():
            steps = [float(size) for size in sizes.split(",")]
            tell("The runner", of_postgres(store, folder, parts, megabytes, rounds, steps))
        for family, share in (("mariadb", 2), ("mysql", 4)):
            if family in parts:
                subject = mysql_family.SUBJECTS[family]
                text = of_mysql_family(subject, store, folder, megabytes // share, rounds)
                tell(f"The runner with {subject.title}", text)


def of_postgres(
    store: MinioServer,
    folder: Path,
    parts: Sequence[str],
    megabytes: int,
    rounds: int,
    sizes: Sequence[float],
) -> str:
    rows: list[Row] = []
    memory_rows: list[memory.MemoryRow] = []
    listing = ""
    with postgres.running(16, options=_OPTIONS) as server:
        if "backup" in parts or "restore" in parts:
            print(f"generating {megabytes} MB ...", flush=True)
            fill(server, "bench", megabytes)
        if "backup" in parts:
            rows += backup.run(server, "bench", store, folder, rounds)
        if "restore" in parts:
            rows += restore.run(server, "bench", folder, rounds)
        if "memory" in parts:
            memory_rows += memory.run(server, store, folder, sizes)
        if "listing" in parts:
            listing = catalogue.sentence(folder)
    head = (
        f"{_measured('PostgreSQL 16', megabytes, rounds)} Ratios are medians of the rounds' own "
        "ratios: below 1 is faster than what it is compared with. A job's time is from its start "
        "to its end, preflight, commit and retention included; starting the process is not."
    )
    memory_head = (
        "Memory, MiB: the parent when idle, and the peaks of parent and job process added up "
        "(targets: 50 and 200). With one location it is `s3`; with three, `s3`, `minio` and "
        "`filesystem`."
    )
    return _joined(head, _ratios(rows), memory_head, _memory(memory_rows), listing)


def of_mysql_family(
    subject: mysql_family.Subject, store: MinioServer, folder: Path, megabytes: int, rounds: int
) -> str:
    with mysql.running(subject.family, subject.series, options=subject.options) as server:
        print(f"generating {megabytes} MB ...", flush=True)
        mysql_family.fill(subject, server, "bench", megabytes)
        result = mysql_family.run(
            subject, server, "bench", store, folder, megabytes=megabytes, rounds=rounds
        )
    head = (
        f"{_measured(f'{subject.title} {subject.series}', megabytes, rounds)} Restores: at "
        f"most {mysql_family.RESTORES}. Otherwise as above. The server has a buffer pool of 512 MB "
        f"and {subject.log}."
    )
    memory_head = "Memory as above; the location is `s3`."
    return _joined(head, _ratios(result.rows), memory_head, _memory([result.memory]))


def _measured(server: str, megabytes: int, rounds: int) -> str:
    return (
        f"Written by `make bench` on {datetime.now(UTC):%Y-%m-%d}: {os.cpu_count()} cores, "
        f"{platform.system()} {platform.machine()}, Python {platform.python_version()}, "
        f"{server}, {megabytes} MB of generated data, one uncounted round and {rounds} "
        "counted ones, interleaved."
    )


def _ratios(rows: Sequence[Row]) -> str:
    lines = [
        "| what | against | ratio | lowest - highest | target | |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.what} | {row.against.replace('|', chr(92) + '|')} | **{row.ratio:.2f}** | "
        f"{row.low:.2f} - {row.high:.2f} | {row.target} | {row.note} |"
        for row in rows
    ]
    return "\n".join(lines)


def _memory(rows: Sequence[memory.MemoryRow]) -> str:
    lines = [
        "| data | locations | idle parent | parent and job at their peaks |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {row.gigabytes:g} GB | {row.locations} | {row.idle:.0f} | **{row.peak:.0f}** |"
        for row in rows
    ]
    return "\n".join(lines)


def _joined(*paragraphs: str) -> str:
    return "\n\n".join(paragraph for paragraph in paragraphs if paragraph) + "\n"


if __name__ == "__main__":
    sys.exit(main())
