"""Listing many backups on a file system: with the index, and without."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

from runner.repository.catalogue import Catalogue
from runner.storage.filesystem import FilesystemStorage
from tests.unit.repository.samples import LAYOUT, a_manifest

BACKUPS = 10_000
#: Seconds for BACKUPS with the index.
TARGET_S = 2.0


def sentence(folder: Path) -> str:
    """What the report says of it."""
    with_s, without_s = run(folder)
    return (
        f"Listing {BACKUPS:,} backups of one database in a folder takes **{with_s:.2f} s** with "
        f"the index (target: {TARGET_S:.0f} s), and {without_s:.2f} s when the index is missing "
        "and is made anew from the manifests."
    )


def run(folder: Path, *, backups: int = BACKUPS, rounds: int = 5) -> tuple[float, float]:
    """Seconds of a listing with a fresh index (median), and of the one that makes the index."""
    root = folder / "listing"
    root.mkdir()
    storage = FilesystemStorage("bench", root)
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
