"""The work queue: each key once, to one worker at a time, now or later.

Fair: keys come out in the order in which they were first added. Deduplicating:
a key that is added several times before it is handed out is worked on once.
Exclusive: a key that is added while a worker has it comes again after `done`,
never to a second worker beside the first.

Delays are part of the queue rather than a wrapper around it, because `get` is
what waits for them: under one lock it can wait for "a key or the earliest due
time", and no helper thread is needed that a queue would have to start and end.
How long a failed key waits is a policy, and an object of its own.
"""

from __future__ import annotations

import heapq
import itertools
import threading
from collections import deque
from collections.abc import Hashable
from typing import Generic, Protocol, TypeVar

from attrs import frozen

from controller.process.clock import Clock
from controller.queue.ratelimit import RateLimiter

K = TypeVar("K", bound=Hashable)


class QueueMetrics(Protocol):
    """Takes durations, for histograms. Thread-safe; called under no lock of the queue."""

    def queued(self, seconds: float) -> None:
        """A key was handed out so long after it was added, or came due."""
        ...

    def worked(self, seconds: float) -> None:
        """A worker had a key for so long."""
        ...


class Unmeasured:
    """Metrics that nobody reads."""

    def queued(self, seconds: float) -> None: ...
    def worked(self, seconds: float) -> None: ...


@frozen(kw_only=True)
class QueueStats:
    """A queue at one moment; counters start at 0.

    Args:
        depth: keys that a worker could have now.
        delayed: keys that are not due yet.
        adds: keys that were accepted so far; one that was there already is none.
        retries: calls of `add_rate_limited` so far.
        unfinished_work_s: how long all keys in work together have been so. Grows
            without end when workers hang.
        longest_running_s: the same of the oldest of them.
    """

    depth: int
    delayed: int
    adds: int
    retries: int
    unfinished_work_s: float
    longest_running_s: float


class WorkQueue(Generic[K]):
    """Keys on their way to workers.

    Args:
        limiter: says how long a key waits that is added with `add_rate_limited`.

    Threads: any number of producers and of workers.
    """

    def __init__(
        self,
        limiter: RateLimiter[K],
        *,
        clock: Clock,
        metrics: QueueMetrics | None = None,
    ) -> None:
        self._limiter = limiter
        self._clock = clock
        self._metrics = metrics or Unmeasured()
        # Guards all below; only the clock is called under it. Notified when a worker
        # that waits has something to look at: a key, an earlier due time, the end.
        self._changed = threading.Condition(threading.Lock())
        # Keys to hand out, in order: those in _dirty that are not in _processing.
        self._fifo: deque[K] = deque()
        # Keys that have to be worked on (again), with the time of the add.
        self._dirty: dict[K, float] = {}
        # Keys that workers have, with the time of the get.
        self._processing: dict[K, float] = {}
        # Keys that wait, with the time they are due at. The heap holds (due, seq, key);
        # an entry of another time than here was overtaken by an earlier one.
        self._due: dict[K, float] = {}
        self._heap: list[tuple[float, int, K]] = []
        self._seq = itertools.count()
        self._adds = 0
        self._retries = 0
        self._is_shut_down = False

    def add(self, key: K) -> None:
        """Have `key` worked on, unless it waits for that already."""
        with self._changed:
            self._add_locked(key, self._clock.monotonic())
            self._changed.notify()

    def add_after(self, key: K, delay_s: float) -> None:
        """Add `key` in `delay_s` seconds; of two delays of one key the earlier end counts."""
        with self._changed:
            now = self._clock.monotonic()
            if delay_s <= 0:
                self._add_locked(key, now)
                self._changed.notify()
                return
            due = now + delay_s
            known = self._due.get(key)
            if self._is_shut_down or (known is not None and known <= due):
                return
            self._due[key] = due
            entry = (due, next(self._seq), key)
            heapq.heappush(self._heap, entry)
            if self._heap[0] is entry:
                self._changed.notify()

    def add_rate_limited(self, key: K) -> None:
        """Add `key` when the limiter allows it: for one that failed."""
        delay_s = self._limiter.next_delay_s(key)
        with self._changed:
            self._retries += 1
        self.add_after(key, delay_s)

    def get(self) -> K | None:
        """Wait for a key; it is the caller's alone until `done`. None: shut down and empty."""
        with self._changed:
            while True:
                now = self._clock.monotonic()
                self._promote_due_locked(now)
                if self._fifo:
                    break
                if self._is_shut_down:
                    return None
                self._clock.wait(self._changed, self._heap[0][0] - now if self._heap else None)
            key = self._fifo.popleft()
            queued_s = now - self._dirty.pop(key)
            self._processing[key] = now
            # One after the other: this worker perhaps was the only one that waited for the
            # next due time, and several keys may have come due at once.
            if self._fifo or self._heap:
                self._changed.notify()
        self._metrics.queued(queued_s)
        return key

    def done(self, key: K) -> None:
        """Give `key` back after `get`, whatever came of it.

        Raises: KeyError for a key that nobody has: a defect of the caller.
        """
        with self._changed:
            worked_s = self._clock.monotonic() - self._processing.pop(key)
            if key in self._dirty:
                self._fifo.append(key)
                self._changed.notify()
        self._metrics.worked(worked_s)

    def forget(self, key: K) -> None:
        """Take the failures of `key` as past. It stays in the queue if it is there."""
        self._limiter.forget(key)

    def num_requeues(self, key: K) -> int:
        """How often `key` was rate-limited since it was last forgotten."""
        return self._limiter.num_requeues(key)

    def shut_down(self) -> None:
        """Take no more keys and drop those that are not due. The rest is still handed out.

        A key that was added while a worker has it counts to the rest.
        """
        with self._changed:
            self._is_shut_down = True
            self._due.clear()
            self._heap.clear()
            self._changed.notify_all()

    def stats(self) -> QueueStats:
        with self._changed:
            now = self._clock.monotonic()
            self._promote_due_locked(now)
            running_s = [now - since for since in self._processing.values()]
            return QueueStats(
                depth=len(self._fifo),
                delayed=len(self._due),
                adds=self._adds,
                retries=self._retries,
                unfinished_work_s=sum(running_s),
                longest_running_s=max(running_s, default=0.0),
            )

    def __len__(self) -> int:
        """Count the keys that a worker could have now."""
        with self._changed:
            self._promote_due_locked(self._clock.monotonic())
            return len(self._fifo)

    def _add_locked(self, key: K, now: float) -> None:
        if self._is_shut_down or key in self._dirty:
            return
        self._adds += 1
        self._dirty[key] = now
        if key not in self._processing:
            self._fifo.append(key)

    def _promote_due_locked(self, now: float) -> None:
        """Add what is due; afterwards the heap's first entry, if any, counts and lies ahead."""
        while self._heap:
            due, _, key = self._heap[0]
            overtaken = self._due.get(key) != due
            if due > now and not overtaken:
                return
            heapq.heappop(self._heap)
            if not overtaken:
                del self._due[key]
                self._add_locked(key, due)
