"""The clock: the one way to the time of day, to elapsed time and to waiting.

Decisions take `now` as an argument; what has to ask or wait is given a Clock,
so that tests step through hours without sleeping.
"""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """What time it is and how to wait. Thread-safe."""

    def now(self) -> datetime:
        """The time of day, aware UTC. May jump in both directions."""
        ...

    def monotonic(self) -> float:
        """Seconds since some fixed point; never falls."""
        ...

    def wait(self, signal: threading.Condition | threading.Event, timeout_s: float | None) -> bool:
        """Wait until `signal` is notified or set, or `timeout_s` have passed.

        Args:
            signal: of a Condition the caller holds the lock, as for its own `wait`.
            timeout_s: seconds; None waits for ever, what is not positive only looks.
        Returns: False after a timeout. As with every condition, what was
            waited for has to be looked at again either way.
        """
        ...


class SystemClock:
    """The machine's clocks."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    def wait(self, signal: threading.Condition | threading.Event, timeout_s: float | None) -> bool:
        return signal.wait(timeout_s if timeout_s is None else max(0.0, timeout_s))
