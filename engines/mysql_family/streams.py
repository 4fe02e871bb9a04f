"""The streams of a backup: their names, and which tables are in which."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from engines.interface import BackupFacts, StreamName
from engines.mysql_family.catalogue import Table

#: All tables and their rows; of several streams, each has some of them.
DUMP = StreamName("dump")
_PART = re.compile(r"dump-\d{3}")
#: MariaDB's sequences, which a table has to find there when it is made.
SEQUENCES = StreamName("sequences")
OBJECTS = StreamName("objects")


def plan(
    tables: Sequence[Table], sizes: Mapping[str, int], parallel: int
) -> dict[StreamName, list[Table]]:
    """Spread tables over at most `parallel` streams of about the same size, in a restore's order.

    Sequences are a stream by themselves where there are several, which is loaded before the others.

    Args:
        tables: without views. sizes: bytes by a table's name, as far as they are known.
    """
    alike: dict[bytes, list[Table]] = {}
    for table in tables:
        if table.kind != "SEQUENCE":
            alike.setdefault(taken_for(table.name), []).append(table)
    number = min(parallel, len(alike))
    if number < 2:
        return {DUMP: list(tables)}
    shares: list[list[Table]] = [[] for _ in range(number)]
    filled = [0] * number
    weights = {key: sum(sizes.get(t.name, 0) for t in group) for key, group in alike.items()}
    for key in sorted(alike, key=lambda key: (-weights[key], key)):
        emptiest = filled.index(min(filled))
        shares[emptiest] += alike[key]
        filled[emptiest] += weights[key] + 1  # empty ones are spread, too
    streams = {StreamName(f"dump-{at:03d}"): share for at, share in enumerate(shares)}
    sequences = [table for table in tables if table.kind == "SEQUENCE"]
    return {SEQUENCES: sequences, **streams} if sequences else streams


def taken_for(name: str) -> bytes:
    """Equal for names that the tools may take for the same one when they are told what to ignore.

    They compare bytes as if these were Latin 1, whatever the case and the accents.
    """
    return re.sub(rb"[\xc0-\xff]", b"?", name.encode().lower())


def of_tables(facts: BackupFacts) -> list[StreamName]:
    """The streams that a client loads, in their order."""
    return [name for name in facts.streams if name != OBJECTS]


def are_whole(names: Iterable[StreamName]) -> bool:
    """Whether streams of these names can make a backup."""
    found = set(names)
    parts = found - {OBJECTS, SEQUENCES}
    if OBJECTS not in found:
        return False
    if DUMP in parts:
        return found == {DUMP, OBJECTS}
    return len(parts) > 1 and all(map(_PART.fullmatch, parts))
