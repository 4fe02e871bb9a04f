"""In which order indexes and constraints of an archive are made, and what may be made at once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TextIO

_ENTRY = re.compile(r"(?P<id>\d+); \d+ \d+ (?P<entry>.*)")
_ATTACH = "INDEX ATTACH "
#: What may stand among entries that attach, as it does not need what they do.
_BESIDE = ("INDEX ", "CONSTRAINT ")


class BuildOrder:
    """Three steps of `pg_restore`, of which the second does one entry after the other.

    It attaches the indexes of partitions. Two workers that attach at once on two
    levels each see the other's index as not valid yet, and the one above both stays
    invalid for good: no statement mends it, and nothing plans with it. Attaching
    changes the catalogue alone, so that nothing is lost by doing it in order.

    Args:
        folder: for the lists of entries.
    """

    def __init__(self, folder: Path) -> None:
        self._files = [folder / f"entries-{number}" for number in range(3)]
        self._has_attached = False

    def noting(self, listing: Iterable[str]) -> Iterator[str]:
        """Pass the lines of `pg_restore --list` on, and write down whose step each is."""
        before, attaching, after = self._files
        with before.open("w") as first, attaching.open("w") as second, after.open("w") as third:
            step: TextIO = first
            for line in listing:
                if found := _ENTRY.match(line):
                    if step is first and found["entry"].startswith(_ATTACH):
                        step, self._has_attached = second, True
                    elif step is second and not found["entry"].startswith((_ATTACH, *_BESIDE)):
                        step = third
                    step.write(f"{found['id']};\n")
                yield line

    def steps(self, *, parallel: int) -> Sequence[tuple[str, ...]]:
        """Options of `pg_restore` for each step, after all lines were noted."""
        jobs = f"--jobs={parallel}"
        if not self._has_attached or parallel == 1:
            return ((jobs,),)
        before, attaching, after = (f"--use-list={file}" for file in self._files)
        return ((before, jobs), (attaching,), (after, jobs))
