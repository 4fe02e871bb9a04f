"""One kind of objects on an API server that lives in memory, with its faults.

It keeps what a real one promises: one growing resource version for all writes,
lists as of one version, watches that deliver what happened after a version in
order, 410 for a version that was compacted away. Faults are scripted ahead and
each happens once. It knows nothing of HTTP.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from typing import Any, Self

from attrs import frozen

from controller.api.errors import ApiExpired
from controller.api.keys import ObjectKey
from controller.kube.watch import EventType, Listing, WatchEvent
from tests.fakes.clock import FakeClock

Raw = dict[str, Any]


@frozen(kw_only=True)
class Cut:
    """How one watch ends.

    Args:
        after: so many events at most are delivered before it; None: all there are.
        error: raised by the stream; None: the server closed it in order.
        lasts_s: passes on the clock before the end.
    """

    after: int | None = None
    error: Exception | None = None
    lasts_s: float = 0.0


class FakeKind:
    """A `controller.cache.reflector.ListerWatcher`, and the server's side of it."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        # Guards all below; streams wait on it.
        self.changed = threading.Condition()
        self._version = 100
        self._objects: dict[ObjectKey, Raw] = {}
        self._log: list[tuple[int, WatchEvent]] = []
        self._compacted = 0
        self._list_errors: deque[Exception] = deque()
        self._open_errors: deque[Exception] = deque()
        self._cuts: deque[Cut] = deque()
        #: What reflectors asked for: versions of opened watches.
        self.watched_from: list[str] = []
        self.reading = threading.Event()

    # The world's side.

    def put(self, name: str, *, namespace: str = "db", **fields: object) -> None:
        """Create or change an object."""
        key = ObjectKey(namespace, name)
        with self.changed:
            event: EventType = "MODIFIED" if key in self._objects else "ADDED"
            self._version += 1
            metadata = {
                "namespace": namespace,
                "name": name,
                "resourceVersion": str(self._version),
            }
            self._objects[key] = {"metadata": metadata, **fields}
            self._happened(WatchEvent(event, self._objects[key]))

    def delete(self, name: str, *, namespace: str = "db") -> None:
        with self.changed:
            self._version += 1
            last = self._objects.pop(ObjectKey(namespace, name))
            metadata = {**last["metadata"], "resourceVersion": str(self._version)}
            self._happened(WatchEvent("DELETED", {**last, "metadata": metadata}))

    def bookmark(self) -> None:
        """Tell every watch the current version, which others' writes moved on."""
        with self.changed:
            self._version += 1
            self._happened(
                WatchEvent("BOOKMARK", {"metadata": {"resourceVersion": str(self._version)}})
            )

    def tell_raw(self, event: WatchEvent) -> None:
        """Send something that no sound server would."""
        with self.changed:
            self._version += 1
            self._happened(event)

    def compact(self) -> None:
        """Forget the past: no watch can go on from a version before this."""
        with self.changed:
            self._version += 1
            self._compacted = self._version
            self._log.clear()

    def objects(self) -> dict[ObjectKey, Raw]:
        with self.changed:
            return dict(self._objects)

    @property
    def version(self) -> str:
        with self.changed:
            return str(self._version)

    # The script.

    def fail_list(self, error: Exception) -> None:
        self._list_errors.append(error)

    def forget_script(self) -> None:
        """Drop what was scripted and did not come to it."""
        self._list_errors.clear()
        self._open_errors.clear()
        self._cuts.clear()

    def fail_watch(self, error: Exception) -> None:
        """Refuse to open the next watch."""
        self._open_errors.append(error)

    def cut_watch(self, cut: Cut | None = None) -> None:
        """End the next watch; one without a cut goes on until it is interrupted."""
        self._cuts.append(cut or Cut())

    # The reflector's side.

    def list(self) -> Listing:
        if self._list_errors:
            raise self._list_errors.popleft()
        with self.changed:
            return Listing(tuple(self._objects.values()), str(self._version))

    def watch(self, resource_version: str, /) -> FakeStream:
        if self._open_errors:
            raise self._open_errors.popleft()
        with self.changed:
            self.watched_from.append(resource_version)
            if int(resource_version) < self._compacted:
                raise ApiExpired(f"too old resource version: {resource_version}")
        return FakeStream(
            self, int(resource_version), self._cuts.popleft() if self._cuts else None, self._clock
        )

    def events_after(self, version: int) -> list[tuple[int, WatchEvent]]:
        """Give what happened since; the lock held."""
        return [entry for entry in self._log if entry[0] > version]

    def _happened(self, event: WatchEvent) -> None:
        self._log.append((self._version, event))
        self.changed.notify_all()


class FakeStream:
    """A `controller.cache.reflector.WatchStream`."""

    def __init__(self, kind: FakeKind, version: int, cut: Cut | None, clock: FakeClock) -> None:
        self._kind = kind
        self._version = version
        self._cut = cut
        self._clock = clock
        self._is_interrupted = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._kind.reading.clear()

    def interrupt(self) -> None:
        with self._kind.changed:
            self._is_interrupted = True
            self._kind.changed.notify_all()

    def __iter__(self) -> Iterator[WatchEvent]:
        if self._cut is None:
            return self._live()
        return self._until_cut(self._cut)

    def _until_cut(self, cut: Cut) -> Iterator[WatchEvent]:
        with self._kind.changed:
            events = self._kind.events_after(self._version)[: cut.after]
        for _, event in events:
            yield event
        self._clock.advance(cut.lasts_s)
        if cut.error is not None:
            raise cut.error

    def _live(self) -> Iterator[WatchEvent]:
        while True:
            with self._kind.changed:
                while not (events := self._kind.events_after(self._version)):
                    if self._is_interrupted:
                        return
                    self._kind.reading.set()
                    self._kind.changed.wait()
            for self._version, event in events:
                yield event
