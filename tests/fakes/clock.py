"""A clock that stands still until a test moves it."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

START = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)


class FakeClock:
    """A `controller.process.clock.Clock`: `advance` moves both clocks and wakes who waits.

    `wait_for_waiters` lets a test advance only when the thread under test is
    parked, so that no test depends on which thread is faster.
    """

    def __init__(self, now: datetime = START) -> None:
        # Guards the three below; never held while a waiter's condition is taken.
        self._lock = threading.Condition()
        self._now = now
        self._monotonic = 1000.0
        # Parked threads, each by a token of its own: several may wait on one condition.
        self._waiters: dict[object, threading.Condition] = {}

    def now(self) -> datetime:
        with self._lock:
            return self._now

    def monotonic(self) -> float:
        with self._lock:
            return self._monotonic

    def set_wall(self, now: datetime) -> None:
        """Let the time of day jump, as a corrected system clock does."""
        with self._lock:
            self._now = now

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass."""
        with self._lock:
            self._now += timedelta(seconds=seconds)
            self._monotonic += seconds
            # None of them counts as parked until it parks again.
            woken = set(self._waiters.values())
            self._waiters.clear()
        for condition in woken:
            with condition:
                condition.notify_all()

    def wait_for_waiters(self, count: int = 1, *, real_timeout_s: float = 5.0) -> None:
        """Block until `count` threads are parked in `wait`."""
        with self._lock:
            parked = self._lock.wait_for(
                lambda: len(self._waiters) >= count, timeout=real_timeout_s
            )
        assert parked, f"{len(self._waiters)} of {count} threads wait on the clock"

    def wait(self, signal: threading.Condition | threading.Event, timeout_s: float | None) -> bool:
        deadline = None if timeout_s is None else self.monotonic() + timeout_s
        if isinstance(signal, threading.Condition):
            return self._park(signal, deadline)
        condition = signal._cond
        with condition:
            while not signal.is_set():
                if not self._park(condition, deadline):
                    break
            return signal.is_set()

    def _park(self, condition: threading.Condition, deadline: float | None) -> bool:
        """Wait for one wake-up, the condition's lock held; False once past the deadline."""
        with self._lock:
            if deadline is not None and self._monotonic >= deadline:
                return False
            token = object()
            self._waiters[token] = condition
            self._lock.notify_all()
        try:
            condition.wait()
        finally:
            with self._lock:
                self._waiters.pop(token, None)
        return deadline is None or self.monotonic() < deadline
