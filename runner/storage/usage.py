"""Adds up what was done at one location, for the outcome of a job."""

from __future__ import annotations

import threading
from collections import defaultdict

from attrs import define

from runner.outcome import Direction, StorageUse

_READING = frozenset({"open_stream", "stat", "list"})


@define
class _Sum:
    ok: int = 0
    failed: int = 0
    bytes: int = 0


class UsageMeter:
    """A Meter (runner.storage.metered) that counts by operation.

    Threads: `_lock` guards `_sums`; nothing is called under it.
    """

    def __init__(self, location: str) -> None:
        self._location = location
        self._lock = threading.Lock()
        self._sums: defaultdict[str, _Sum] = defaultdict(_Sum)

    def record(self, operation: str, /, *, size_bytes: int, duration_s: float, reason: str) -> None:
        del duration_s
        with self._lock:
            total = self._sums[operation]
            if reason:
                total.failed += 1
            else:
                total.ok += 1
            total.bytes += size_bytes

    @property
    def succeeded(self) -> int:
        """How many requests the store answered well so far."""
        with self._lock:
            return sum(total.ok for total in self._sums.values())

    def uses(self) -> tuple[StorageUse, ...]:
        with self._lock:
            return tuple(
                StorageUse(
                    location=self._location,
                    operation=operation,
                    ok=total.ok,
                    failed=total.failed,
                    bytes=total.bytes,
                    direction=Direction.READ if operation in _READING else Direction.WRITTEN,
                )
                for operation, total in sorted(self._sums.items())
            )
