"""A limit of one's own: so much in the long run, so that one controller cannot starve a cluster."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from attrs import frozen


@frozen
class Limit:
    """How much a second in the long run, and how much may come at once."""

    qps: float
    burst: int


class TokenBucket:
    """Says how long the next one has to wait. Thread-safe.

    They are let go in the order in which they asked: each takes its token
    at once, even if that token is only there later.
    """

    def __init__(self, limit: Limit, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._monotonic = monotonic
        # Guards the two below.
        self._lock = threading.Lock()
        #: Negative: so many tokens are promised ahead.
        self._tokens = float(limit.burst)
        self._filled_mono = monotonic()

    def reserve(self) -> float:
        """Take a token.

        Returns: seconds to wait until it is there; 0 mostly.
        """
        with self._lock:
            self._fill_locked()
            self._tokens -= 1
            return max(0.0, -self._tokens / self._limit.qps)

    def take(self) -> bool:
        """Take a token if one is there, for what is not worth waiting for."""
        with self._lock:
            self._fill_locked()
            if self._tokens < 1:
                return False
            self._tokens -= 1
            return True

    def _fill_locked(self) -> None:
        now_mono = self._monotonic()
        gained = (now_mono - self._filled_mono) * self._limit.qps
        self._tokens = min(float(self._limit.burst), self._tokens + gained)
        self._filled_mono = now_mono
