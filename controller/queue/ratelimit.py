"""How long a key that failed has to wait.

Two causes of too many tries need two answers: one key that fails for ever is
slowed down by its own failures, many keys that fail together by a bucket that
all share. MaxOf makes one limiter of both.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Hashable
from typing import Generic, Protocol, TypeVar

from controller.process.clock import Clock
from controller.throttle import Limit, TokenBucket

K = TypeVar("K", bound=Hashable)
_K_contra = TypeVar("_K_contra", bound=Hashable, contravariant=True)

#: 2^64 times any delay is beyond every cap; a float does not go on for ever.
_MOST_DOUBLINGS = 64


class RateLimiter(Protocol[_K_contra]):
    """The policy of `WorkQueue.add_rate_limited`. Thread-safe."""

    def next_delay_s(self, key: _K_contra, /) -> float:
        """Count a failure of `key` and say in how many seconds it may be tried again."""
        ...

    def forget(self, key: _K_contra, /) -> None:
        """Take the failures of `key` as past."""
        ...

    def num_requeues(self, key: _K_contra, /) -> int:
        """How many failures of `key` count."""
        ...


class ExponentialPerKey(Generic[K]):
    """Twice as long after each failure of the same key, up to a cap.

    From 5 ms, so that a conflict is retried at once, to 1000 s, so that a
    thousand broken objects cost one try a second together.

    Args:
        first_s: the longest wait after the first failure.
        cap_s: the longest of all.
        jitter: random numbers from 0 to 1. They shorten a delay by up to half, so
            that it never exceeds the cap nor falls below the last one under it.
    """

    def __init__(
        self,
        *,
        first_s: float = 0.005,
        cap_s: float = 1000.0,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._first_s = first_s
        self._cap_s = cap_s
        self._jitter = jitter
        # Guards _failures; nothing is called under it.
        self._lock = threading.Lock()
        self._failures: dict[K, int] = {}

    def next_delay_s(self, key: K, /) -> float:
        with self._lock:
            failures = self._failures.get(key, 0)
            self._failures[key] = failures + 1
        longest_s = min(self._first_s * 2.0 ** min(failures, _MOST_DOUBLINGS), self._cap_s)
        return longest_s * (1 - self._jitter() / 2)

    def forget(self, key: K, /) -> None:
        with self._lock:
            self._failures.pop(key, None)

    def num_requeues(self, key: K, /) -> int:
        with self._lock:
            return self._failures.get(key, 0)


class AllTogether:
    """So many tries a second for all keys together, after a burst.

    A try that finds no token is promised a future one, and waits for that.
    """

    def __init__(self, bucket: TokenBucket) -> None:
        self._bucket = bucket

    def next_delay_s(self, _key: Hashable, /) -> float:
        return self._bucket.reserve()

    def forget(self, _key: Hashable, /) -> None:
        """A bucket knows no keys."""

    def num_requeues(self, _key: Hashable, /) -> int:
        return 0


class MaxOf(Generic[K]):
    """The longest wait that any of several limiters asks for."""

    def __init__(self, *limiters: RateLimiter[K]) -> None:
        self._limiters = limiters

    def next_delay_s(self, key: K, /) -> float:
        return max(limiter.next_delay_s(key) for limiter in self._limiters)

    def forget(self, key: K, /) -> None:
        for limiter in self._limiters:
            limiter.forget(key)

    def num_requeues(self, key: K, /) -> int:
        return max(limiter.num_requeues(key) for limiter in self._limiters)


def default_limiter(clock: Clock) -> RateLimiter[Hashable]:
    """Give what a controller's queue uses: each key by itself, and all together."""
    bucket = TokenBucket(Limit(qps=10, burst=100), clock.monotonic)
    return MaxOf(ExponentialPerKey(), AllTogether(bucket))
