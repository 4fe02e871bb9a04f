"""An informer keeps a store up to date and tells handlers what changed.

Handlers compute keys and add them to a queue, nothing else: they run in the
informer's threads, and what they are told may be outdated already. They get
the value before and after, for the key that an object *no longer* points to
has to be looked at, too.
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, TypeVar

from controller.api.keys import ObjectKey
from controller.cache.reflector import ListerWatcher, Reflector, ReflectorCounts
from controller.cache.store import Change, Store
from controller.process.clock import Clock
from controller.process.logging import kv

log = logging.getLogger(__name__)

T = TypeVar("T")
Handler = Callable[[Change[T]], None]

#: A resync comes in so many slices, so that it is a trickle and no flood.
RESYNC_SLICES = 60


class Informer(Generic[T]):
    """One kind: reflector, store, handlers.

    Args:
        kind: for the log.
        resync_period_s: each object is delivered again once in about so many
            seconds, from the store; the API server is not asked. The cure for
            what a handler or a reconcile missed.
        jitter: random numbers from 0 to 1.

    Threads: `run` and `run_resync` have one each, and both call handlers.
    """

    def __init__(
        self,
        kind: str,
        source: ListerWatcher,
        store: Store[T],
        *,
        clock: Clock,
        resync_period_s: float = 600.0,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._kind = kind
        self._store = store
        self._clock = clock
        self._resync_period_s = resync_period_s
        self._jitter = jitter
        self._reflector = Reflector(kind, source, self, clock=clock, jitter=jitter)
        self._handlers: list[Handler[T]] = []
        # Guards _handler_failures, for two threads deliver.
        self._lock = threading.Lock()
        self._handler_failures = 0
        self._synced = threading.Event()
        # Set once it is known whether the first list ever comes.
        self._settled = threading.Event()
        # Of the running resync: its keys, and which slice is next.
        self._resync_keys: tuple[ObjectKey, ...] = ()
        self._next_slice = 0

    @property
    def handler_failures(self) -> int:
        """How often a handler raised: a defect."""
        return self._handler_failures

    def counts(self) -> ReflectorCounts:
        return self._reflector.counts()

    def stale_s(self) -> float | None:
        """For how long the store may have been behind; None before the first list."""
        return self._reflector.stale_s()

    def object_count(self) -> int:
        return len(self._store)

    def unreadable_count(self) -> int:
        return self._store.unreadable_count()

    def add_handler(self, handler: Handler[T]) -> None:
        """Have `handler` told of every change. Before `run`: what is past is not told again."""
        self._handlers.append(handler)

    def has_synced(self) -> bool:
        """Whether the first list is in the store and was delivered."""
        return self._synced.is_set()

    def wait_until_synced(self) -> bool:
        """Wait for the first list; False if `run` ended before. Nobody acts on half a cluster."""
        self._settled.wait()
        return self.has_synced()

    def run(self, stop: threading.Event) -> None:
        """Keep the store up to date until `stop` is set; then `interrupt` ends it at once."""
        try:
            self._reflector.run(stop)
        finally:
            self._settled.set()

    def interrupt(self) -> None:
        """Wake the thread in `run` from its read, after `stop` was set."""
        self._reflector.interrupt()

    def list_and_watch_once(self, stop: threading.Event) -> float:
        """Do what `run` repeats: see the reflector."""
        return self._reflector.list_and_watch_once(stop)

    def run_resync(self, stop: threading.Event) -> None:
        """Deliver slice after slice until `stop` is set."""
        while not self._clock.wait(stop, self._slice_s()):
            self.resync_slice()

    def resync_slice(self) -> None:
        """Deliver the next part of what is in the store, as it is."""
        if self._next_slice == 0:
            self._resync_keys = self._store.keys()
        for key in self._resync_keys[self._next_slice :: RESYNC_SLICES]:
            value = self._store.get(key)
            if value is not None:
                self._deliver(Change(key, value, value))
        self._next_slice = (self._next_slice + 1) % RESYNC_SLICES

    # The reflector writes here.

    def replace(self, items_raw: Iterable[Mapping[str, Any]]) -> None:
        for change in self._store.replace(items_raw):
            self._deliver(change)
        self._synced.set()
        self._settled.set()

    def put(self, object_raw: Mapping[str, Any]) -> None:
        self._deliver(self._store.put(object_raw))

    def remove(self, object_raw: Mapping[str, Any]) -> None:
        self._deliver(self._store.remove(object_raw))

    def _slice_s(self) -> float:
        """Half to one and a half of a slice's time: replicas and kinds do not march in step."""
        return self._resync_period_s / RESYNC_SLICES * (0.5 + self._jitter())

    def _deliver(self, change: Change[T] | None) -> None:
        if change is None:
            return
        for handler in self._handlers:
            try:
                handler(change)
            except Exception:
                # The store has the change already: if this ended the step, no
                # other handler would ever hear of it.
                with self._lock:
                    self._handler_failures += 1
                log.exception(
                    "handler failed",
                    extra=kv(kind=self._kind, namespace=change.key.namespace, name=change.key.name),
                )
