"""Listing many backups on a file system: with the index, and without.

python -m tests.benchmarks.catalogue
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

from runner.repository.catalogue import Catalogue
from runner.storage.filesystem import FilesystemStorage
from tests.unit.repository.samples import LAYOUT, a_manifest

BACKUPS = 10_000
#: Seconds for BACKUPS with the index.
TARGET_S = 2.0


def run(folder: Path, *, backups: int = BACKUPS, rounds: int = 5) -> tuple[float, float]:
    """Seconds of a listing with a fresh index (median), and of the one that makes the index."""
    storage = FilesystemStorage("bench", folder)
    catalogue = Catalogue(storage, LAYOUT)
    for number in range(backups):
        catalogue.commit(a_manifest(number))
    without_s = _listing_s(Catalogue(storage, LAYOUT), backups, update_index=True)
    with_s = [_listing_s(Catalogue(storage, LAYOUT), backups) for _ in range(rounds)]
    storage.close()
    return statistics.median(with_s), without_s


def _listing_s(catalogue: Catalogue, backups: int, *, update_index: bool = False) -> float:
    start = time.perf_counter()
    listing = catalogue.list(update_index=update_index)
    seconds = time.perf_counter() - start
    assert len(listing.backups) == backups
    return seconds


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        with_s, without_s = run(Path(folder))
    verdict = "met" if with_s < TARGET_S else "missed"
    print(f"listing {BACKUPS} backups: {with_s:.2f} s with the index ({TARGET_S:.0f} s: {verdict})")
    print(f"listing {BACKUPS} backups: {without_s:.2f} s without it")


if __name__ == "__main__":
    main()
