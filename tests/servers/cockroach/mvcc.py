"""A toy store that keeps every version of every row: what was at a time is computed, not told."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from attrs import Factory, define

_TICK = timedelta(microseconds=1)


class Clock:
    """Never gives a time twice."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = datetime.fromtimestamp(0, UTC)

    def now(self) -> datetime:
        with self._lock:
            self._last = max(datetime.now(UTC), self._last + _TICK)
            return self._last


@define
class Table:
    """Two columns, k and v. A version without a value is a row that is gone."""

    created: datetime
    dropped: datetime | None = None
    cells: dict[str, list[tuple[datetime, str | None]]] = Factory(dict)

    def exists(self, at: datetime) -> bool:
        return self.created <= at and (self.dropped is None or self.dropped > at)

    def write(self, key: str, value: str | None, at: datetime) -> None:
        self.cells.setdefault(key, []).append((at, value))

    def rows(self, at: datetime) -> dict[str, str]:
        found = {}
        for key, versions in sorted(self.cells.items()):
            past = [value for when, value in versions if when <= at]
            if past and past[-1] is not None:
                found[key] = past[-1]
        return found


@define
class Database:
    """Tables by name; one that was dropped keeps its past beside the one that took its name."""

    owner: str
    created: datetime
    tables: dict[str, list[Table]] = Factory(dict)
    grants: dict[str, set[str]] = Factory(dict)
    gc_ttl_s: int = 14_400
    #: By name, each with its table; of these there is only the present.
    views: dict[str, str] = Factory(dict)
    #: A user-defined type is all that something without tables may have.
    types: set[str] = Factory(set)

    def table(self, name: str, at: datetime) -> Table | None:
        return next((one for one in self.tables.get(name, ()) if one.exists(at)), None)

    def names(self, at: datetime) -> list[str]:
        return sorted(name for name in self.tables if self.table(name, at))

    # -- as files -----------------------------------------------------------------

    def export(self, start: datetime | None, end: datetime, *, history: bool) -> dict[str, Any]:
        """What happened after `start` and not after `end`; without history the last of it alone."""
        found: dict[str, Any] = {}
        for name, tables in self.tables.items():
            for table in tables:
                if table.created > end:
                    continue
                cells = {
                    key: picked
                    for key, versions in table.cells.items()
                    if (picked := list(_picked(versions, start, end, history=history)))
                }
                found.setdefault(name, []).append(
                    {
                        "created": table.created.isoformat(),
                        "dropped": table.dropped.isoformat()
                        if table.dropped and table.dropped <= end
                        else None,
                        "cells": cells,
                    }
                )
        return found

    def take(self, exported: Mapping[str, Any]) -> None:
        """Add what `export` gave, layer by layer."""
        for name, tables in exported.items():
            for one in tables:
                created = datetime.fromisoformat(one["created"])
                table = next(
                    (t for t in self.tables.setdefault(name, []) if t.created == created), None
                )
                if table is None:
                    table = Table(created)
                    self.tables[name].append(table)
                dropped = one["dropped"]
                table.dropped = datetime.fromisoformat(dropped) if dropped else None
                for key, versions in one["cells"].items():
                    for when, value in versions:
                        table.write(key, value, datetime.fromisoformat(when))


def _picked(
    versions: list[tuple[datetime, str | None]],
    start: datetime | None,
    end: datetime,
    *,
    history: bool,
) -> Iterator[tuple[str, str | None]]:
    within = [(when, value) for when, value in versions if when <= end]
    if start is not None:
        within = [(when, value) for when, value in within if when > start]
    for when, value in within if history else within[-1:]:
        yield when.isoformat(), value
