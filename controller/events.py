"""Tells people what happened to an object, in its events; never at the cost of a reconcile.

Events are best effort: what comes too fast, comes twice or cannot be delivered
is dropped and counted. What has to be known stands in the status.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Literal, Protocol

from attrs import frozen

from controller.api.errors import BackupError
from controller.api.keys import ObjectKey
from controller.api.v1 import API_VERSION
from controller.kube.events import Event
from controller.process.clock import Clock
from controller.process.logging import kv
from controller.throttle import Limit, TokenBucket

log = logging.getLogger(__name__)

#: The same words about the same object say nothing new before this.
_REPEAT_AFTER_S = 600.0
#: Of one object: a burst, then one in five minutes.
_LIMIT = Limit(qps=1 / 300, burst=25)
#: Objects that are remembered; the ones not heard of for longest are forgotten first.
_MAX_REMEMBERED = 4096
_MAX_WAITING = 1000
_POLL_S = 0.5


def about(kind: str, key: ObjectKey, uid: str) -> dict[str, Any]:
    """What an event is about: an object of ours, by its identity."""
    metadata = {"name": key.name, "namespace": key.namespace, "uid": uid}
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata}


class EventSink(Protocol):
    """What this needs of a client."""

    def create_event(self, event: Event) -> object: ...


@frozen(kw_only=True)
class EventCounts:
    """What became of events so far.

    Args:
        suppressed: the same was told just before, or the object has too many.
        failed: the API server did not take it, or it could not be reached in time.
    """

    sent: int
    suppressed: int
    failed: int


class EventRecorder:
    """Takes events and sends them from a thread of its own.

    Args:
        reporter, instance: as `Event` has them.

    Threads: `record` and `counts` are for any, `run` and `send_next` for one.
    """

    def __init__(self, sink: EventSink, *, reporter: str, instance: str, clock: Clock) -> None:
        self._sink = sink
        self._reporter = reporter
        self._instance = instance
        self._clock = clock
        self._waiting: queue.Queue[Event] = queue.Queue(_MAX_WAITING)
        # Guards all below; nothing is called under it but the clock.
        self._lock = threading.Lock()
        # (uid, type, reason, message) -> when it was told last.
        self._told: OrderedDict[tuple[str, ...], float] = OrderedDict()
        # By uid.
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()
        self._sent = self._suppressed = self._failed = 0

    def record(
        self,
        regarding: Mapping[str, Any],
        type: Literal["Normal", "Warning"],  # noqa: A002 - the field's name on the wire
        reason: str,
        message: str,
    ) -> None:
        """Tell it, soon and perhaps; returns at once.

        Args:
            regarding: apiVersion, kind, and of the metadata name, namespace and uid.
        """
        event = Event(
            regarding=regarding,
            type=type,
            reason=reason,
            message=message,
            at=self._clock.now(),
            reporter=self._reporter,
            instance=self._instance,
        )
        uid = str(regarding["metadata"].get("uid", ""))
        with self._lock:
            if not self._is_news_locked((uid, type, reason, message), uid):
                self._suppressed += 1
                return
        try:
            self._waiting.put_nowait(event)
        except queue.Full:
            self._count_failure()

    def run(self, stop: threading.Event) -> None:
        """Send until `stop` is set, and then what is left, as long as that works."""
        while not stop.is_set():
            self.send_next(timeout_s=_POLL_S)
        while not self._waiting.empty() and self.send_next(timeout_s=0.0):
            pass

    def send_next(self, *, timeout_s: float) -> bool:
        """Send one; False: there was none, or it could not be sent."""
        try:
            event = (
                self._waiting.get(timeout=timeout_s) if timeout_s else self._waiting.get_nowait()
            )
        except queue.Empty:
            return False
        try:
            self._sink.create_event(event)
        except BackupError as error:
            self._count_failure()
            log.debug("event not sent", extra=kv(reason=error.reason, error=str(error)))
            return False
        with self._lock:
            self._sent += 1
        return True

    def counts(self) -> EventCounts:
        with self._lock:
            return EventCounts(sent=self._sent, suppressed=self._suppressed, failed=self._failed)

    def _count_failure(self) -> None:
        with self._lock:
            self._failed += 1

    def _is_news_locked(self, words: tuple[str, ...], uid: str) -> bool:
        now_mono = self._clock.monotonic()
        told_mono = self._told.get(words)
        if told_mono is not None and now_mono - told_mono < _REPEAT_AFTER_S:
            return False
        bucket = self._buckets.get(uid)
        if bucket is None:
            bucket = self._buckets[uid] = TokenBucket(_LIMIT, self._clock.monotonic)
        self._buckets.move_to_end(uid)
        if not bucket.take():
            return False
        self._told[words] = now_mono
        self._told.move_to_end(words)
        for remembered in (self._told, self._buckets):
            if len(remembered) > _MAX_REMEMBERED:
                remembered.popitem(last=False)
        return True
