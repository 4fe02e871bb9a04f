"""How long to leave an API server alone that did not answer."""

from __future__ import annotations

import random
from collections.abc import Callable

from controller.process.clock import Clock


class Backoff:
    """Twice as long each time, up to a cap, and from the start after a quiet time.

    With jitter on top: all controllers of a cluster lose the same server in the
    same moment, and should not come back in one. No success resets it, only
    time: a server that answers a list and breaks each watch is not well.

    Args:
        jitter: random numbers from 0 to 1; a delay is lengthened by as much of itself.

    Threads: one.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        first_s: float = 0.8,
        cap_s: float = 30.0,
        reset_after_s: float = 120.0,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._clock = clock
        self._first_s = first_s
        self._cap_s = cap_s
        self._reset_after_s = reset_after_s
        self._jitter = jitter
        self._next_s = first_s
        self._asked_mono: float | None = None

    def next_s(self) -> float:
        """Count a failure and say how long to wait."""
        now = self._clock.monotonic()
        if self._asked_mono is None or now - self._asked_mono > self._reset_after_s:
            self._next_s = self._first_s
        self._asked_mono = now
        delay_s = self._next_s
        self._next_s = min(2 * delay_s, self._cap_s)
        return delay_s * (1 + self._jitter())
