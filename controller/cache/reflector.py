"""A reflector keeps a sink the same as one kind of objects on the API server.

It lists once and then watches on from version to version. What ends a watch
decides what comes next; the table is `Ending`. A list costs the server and the
network as much as all objects weigh, so there is none while the version that
was seen last is still good.
"""

from __future__ import annotations

import enum
import logging
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol, get_args

from attrs import frozen

from controller.api.errors import (
    ApiExpired,
    ApiThrottled,
    ApiUnavailable,
    BackupError,
    FormatError,
    RetriableError,
)
from controller.cache.backoff import Backoff
from controller.kube.watch import EventType, Listing, WatchEvent
from controller.process.clock import Clock
from controller.process.logging import kv

log = logging.getLogger(__name__)

#: A watch that ended sooner, without an event, is a server that cannot watch.
_SHORT_WATCH_S = 1.0


class WatchStream(AbstractContextManager["WatchStream"], Protocol):
    """An open watch. Iterating it ends when the server closes it in order.

    Iterating raises ApiUnavailable when the connection breaks or is silent for
    too long, and FormatError for a line that is no event.
    """

    def __iter__(self) -> Iterator[WatchEvent]: ...

    def interrupt(self) -> None:
        """Wake the reader at once, from another thread; also harmless after the end."""
        ...


class ListerWatcher(Protocol):
    """One kind of objects on an API server. Every call has a timeout."""

    def list(self) -> Listing: ...
    def watch(self, resource_version: str, /) -> WatchStream: ...


class Sink(Protocol):
    """What a reflector writes to, from its own thread."""

    def replace(self, items_raw: Iterable[Mapping[str, Any]], /) -> object: ...
    def put(self, object_raw: Mapping[str, Any], /) -> object: ...
    def remove(self, object_raw: Mapping[str, Any], /) -> object: ...


class Ending(enum.Enum):
    """How a step ended, and whether the version that was seen last is lost by it."""

    CLOSED = "closed", False  # by the server, in order: watch on
    TOO_SHORT = "too_short", False  # the same at once and for nothing: back off
    THROTTLED = "throttled", False  # 429: wait as long as the server says
    UNAVAILABLE = "unavailable", False  # refused, 5xx, broken or silent: back off
    EXPIRED = "expired", True  # 410: list again
    MALFORMED = "malformed", True  # what else was in that line? Back off, list again
    FAILED = "failed", True  # nobody knows: back off, list again

    def __init__(self, word: str, loses_version: bool) -> None:
        self.word = word
        self.loses_version = loses_version


@frozen(kw_only=True)
class ReflectorCounts:
    """What a reflector did so far; everything that can be counted is there, from 0.

    Args:
        lists: that succeeded; all but the first are relists.
        watches: that were opened; all but the first are restarts.
    """

    lists: int
    watches: int
    endings: Mapping[Ending, int]
    events: Mapping[EventType, int]


class Reflector:
    """Lists and watches one kind into a sink.

    Args:
        kind: for the log.

    Threads: one runs it; `interrupt`, `counts` and `stale_s` are for any.
    """

    def __init__(
        self,
        kind: str,
        source: ListerWatcher,
        sink: Sink,
        *,
        clock: Clock,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._kind = kind
        self._source = source
        self._sink = sink
        self._clock = clock
        self._backoff = Backoff(clock=clock, jitter=jitter)
        # The sink is the server's state as of this one; None: it has to be listed.
        self._version: str | None = None
        # The stream that is being read, for `interrupt`.
        self._stream: WatchStream | None = None
        # When the sink was last known to be as the server; None: it was never listed.
        self._current_mono: float | None = None
        self._lists = 0
        self._watches = 0
        self._endings = Counter(dict.fromkeys(Ending, 0))
        self._events: Counter[EventType] = Counter(dict.fromkeys(get_args(EventType), 0))

    def run(self, stop: threading.Event) -> None:
        """Keep the sink up to date until `stop` is set; then `interrupt` ends it at once."""
        while not stop.is_set():
            self._clock.wait(stop, self.list_and_watch_once(stop))

    def interrupt(self) -> None:
        """Wake the thread in `run` from its read, after `stop` was set."""
        stream = self._stream
        if stream is not None:
            stream.interrupt()

    def list_and_watch_once(self, stop: threading.Event) -> float:
        """List if that is needed, watch until the watch ends; say how long to wait now."""
        is_first = self._version is None
        try:
            if self._version is None:
                self._version = self._list()
            ending, error = self._watch(self._version, stop), None
        except Exception as caught:  # noqa: BLE001 - of whatever went wrong, the next step is the cure
            ending, error = _ending(caught), caught
        if stop.is_set():
            # What an interrupted read looks like is nobody's failure.
            return 0.0
        self._endings[ending] += 1
        if ending.loses_version:
            self._version = None
        delay_s = self._delay_s(ending, error, is_first=is_first)
        self._tell(ending, error, delay_s)
        return delay_s

    def counts(self) -> ReflectorCounts:
        return ReflectorCounts(
            lists=self._lists,
            watches=self._watches,
            endings=dict(self._endings),
            events=dict(self._events),
        )

    def stale_s(self) -> float | None:
        """For how long the sink may have been behind the server; None: it was never listed.

        Nothing while a watch is open, else since a list or a watch told something last. One
        that opens and tells nothing before it breaks has not told that nothing happened.
        """
        # In this order: who finds that a stream has ended finds its time, too.
        is_watching, current_mono = self._stream is not None, self._current_mono
        if current_mono is None:
            return None
        return 0.0 if is_watching else self._clock.monotonic() - current_mono

    def _list(self) -> str:
        listing = self._source.list()
        if not listing.resource_version:
            # A watch from nothing would begin anywhere.
            raise FormatError("a list without metadata.resourceVersion")
        self._sink.replace(listing.items)
        self._lists += 1
        self._current_mono = self._clock.monotonic()
        return listing.resource_version

    def _watch(self, version: str, stop: threading.Event) -> Ending:
        started_mono = self._clock.monotonic()
        is_empty = True
        with self._source.watch(version) as stream:
            self._watches += 1
            # Before the look at `stop`: `interrupt` comes after it was set, so
            # either that look finds it or `interrupt` finds the stream.
            self._stream = stream
            try:
                if not stop.is_set():
                    for event in stream:
                        is_empty = False
                        self._apply(event)
                        if stop.is_set():
                            break
                ended_mono = self._clock.monotonic()
                is_short = is_empty and ended_mono - started_mono < _SHORT_WATCH_S
                if not is_short:
                    self._current_mono = ended_mono
            finally:
                self._stream = None
        return Ending.TOO_SHORT if is_short else Ending.CLOSED

    def _apply(self, event: WatchEvent) -> None:
        version = _version_of(event.object)
        match event.type:
            case "ADDED" | "MODIFIED":
                self._sink.put(event.object)
            case "DELETED":
                self._sink.remove(event.object)
            case "BOOKMARK":
                pass
        self._events[event.type] += 1
        # Last: what the sink did not take is watched again.
        self._version = version
        self._current_mono = self._clock.monotonic()

    def _delay_s(self, ending: Ending, error: Exception | None, *, is_first: bool) -> float:
        if ending is Ending.CLOSED:
            return 0.0
        if ending is Ending.EXPIRED and not is_first:
            # A version that was good for a while. One that was just listed is not
            # listed again at once: that would never end.
            return 0.0
        if isinstance(error, ApiThrottled):
            return error.retry_after_s or self._backoff.next_s()
        asked_s = error.retry_after_s if isinstance(error, ApiUnavailable) else None
        return max(self._backoff.next_s(), asked_s or 0.0)

    def _tell(self, ending: Ending, error: Exception | None, delay_s: float) -> None:
        keys = kv(
            kind=self._kind,
            reason=ending.word,
            requeue_after_s=round(delay_s, 3),
            error=str(error or ""),
        )
        if error is not None and not isinstance(error, BackupError):
            log.error("list or watch failed", exc_info=error, extra=keys)
        elif ending in {Ending.CLOSED, Ending.EXPIRED}:
            log.debug("watch ended", extra=keys)
        else:
            log.warning("list or watch failed", extra=keys)


def _ending(error: Exception) -> Ending:
    match error:
        case ApiExpired():
            return Ending.EXPIRED
        case ApiThrottled():
            return Ending.THROTTLED
        case FormatError():
            return Ending.MALFORMED
        case RetriableError():
            return Ending.UNAVAILABLE
        case _:
            return Ending.FAILED


def _version_of(object_raw: Mapping[str, Any]) -> str:
    match object_raw:
        case {"metadata": {"resourceVersion": str(version)}} if version:
            return version
    raise FormatError("an event whose object has no metadata.resourceVersion")
