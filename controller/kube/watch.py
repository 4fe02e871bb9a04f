"""What a list and a watch deliver, and the stream that a watch is read from."""

from __future__ import annotations

import contextlib
import threading
import zlib
from collections.abc import Iterable, Iterator
from typing import Any, Literal, Self, cast

import orjson
import urllib3
from attrs import field, frozen
from urllib3.exceptions import ReadTimeoutError

from controller.api.errors import FormatError
from controller.kube.decoding import decode
from controller.kube.errors import NETWORK_ERRORS, Call, network_error, status_error
from controller.kube.resource import Resource

EventType = Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]

_EVENT_TYPES = frozenset({"ADDED", "MODIFIED", "DELETED", "BOOKMARK"})
_CHUNK_BYTES = 64 << 10
#: What a reader may see when the socket is shut under it: besides what the
#: network raises, the traces of a TLS object that is gone.
_SHUT_ERRORS = (*NETWORK_ERRORS, ValueError, AttributeError)


@frozen
class Items:
    """The objects of a list, decoded a page at a time whenever they are iterated.

    Decoded they take ten times the memory of their text, and compressed a tenth
    of it; a controller lists all of its kinds at once when it begins.
    """

    _resource: Resource
    _packed_pages: tuple[bytes, ...] = field(repr=False)
    _count: int

    @staticmethod
    def pack(page: bytes) -> bytes:
        """Make of a page's text what this keeps of it."""
        return zlib.compress(page, 1)

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for packed in self._packed_pages:
            for item in decode(zlib.decompress(packed)).get("items") or ():
                yield self._typed(item)

    def _typed(self, item: dict[str, Any]) -> dict[str, Any]:
        """As a watch would deliver it: built-in kinds come without their kind."""
        item.setdefault("apiVersion", self._resource.api_version)
        item.setdefault("kind", self._resource.kind)
        return item


@frozen
class Listing:
    """All objects of one kind at one moment.

    Args:
        resource_version: of the moment; a watch goes on from it.
    """

    items: Iterable[dict[str, Any]] = field(repr=False)
    resource_version: str


@frozen
class WatchEvent:
    """What happened to one object, and the object after it.

    Args:
        type: after BOOKMARK the object has a resource version and nothing else.
    """

    type: EventType
    object: dict[str, Any] = field(repr=False)


class WatchStream:
    """An open watch: a context manager that is iterated once, by one thread.

    Iteration ends when the server closes the stream in order, as it does after
    some minutes, after `interrupt`, and when nothing came for too long: a kind
    to which nothing happens gets no bookmarks either, so that its watch looks
    like one whose server is gone. For both it is right to watch on from the
    last version, which tells them apart.

    Raises, while iterating:
        ApiExpired: the resource version is too old; list again.
        ApiUnavailable: the connection broke, or stalled in the middle of an event.
        FormatError: a line is not an event.
    """

    def __init__(self, call: Call, response: urllib3.BaseHTTPResponse, line_bytes: int) -> None:
        self._call = call
        self._response = response
        self._line_bytes = line_bytes
        # Guards against shutting a connection that `close` gave away.
        self._lock = threading.Lock()
        self._interrupted = threading.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc_info: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[WatchEvent]:
        for line in self._lines():
            if line.strip():
                yield self._event(line)

    def interrupt(self) -> None:
        """End the iteration at once, from another thread."""
        with self._lock:
            self._interrupted.set()
            # RuntimeError, ValueError: the stream has ended by itself.
            with contextlib.suppress(OSError, RuntimeError, ValueError):
                self._response.shutdown()

    def close(self) -> None:
        """Give up the connection; more than once does no harm."""
        with self._lock:
            self._response.close()

    def _lines(self) -> Iterator[bytes]:
        pending = bytearray()
        while chunk := self._read(is_between_events=not pending):
            # What was there before has no end of a line.
            begin, searched = 0, len(pending)
            pending += chunk
            while (end := pending.find(b"\n", searched)) >= 0:
                self._check_length(end - begin)
                yield bytes(pending[begin:end])
                begin = searched = end + 1
            del pending[:begin]
            self._check_length(len(pending))
        if pending and not self._interrupted.is_set():
            raise FormatError(f"{self._call}: the stream ended in the middle of an event")

    def _check_length(self, length_bytes: int) -> None:
        if length_bytes > self._line_bytes:
            raise FormatError(f"{self._call}: an event is longer than {self._line_bytes} bytes")

    def _read(self, *, is_between_events: bool) -> bytes:
        """The next bytes; empty at the end."""
        if self._interrupted.is_set():
            return b""
        try:
            return self._response.read1(_CHUNK_BYTES)
        except _SHUT_ERRORS as error:
            is_silent = isinstance(error, ReadTimeoutError) and is_between_events
            if is_silent or self._interrupted.is_set():
                return b""
            if isinstance(error, NETWORK_ERRORS):
                raise network_error(self._call, error) from error
            raise

    def _event(self, line: bytes) -> WatchEvent:
        # The line is not quoted: it may be a Secret.
        try:
            raw = decode(line)
        except orjson.JSONDecodeError as error:
            raise FormatError(f"{self._call}: a line is not JSON") from error
        body = raw.get("object") if isinstance(raw, dict) else None
        if not isinstance(body, dict):
            raise FormatError(f"{self._call}: a line is not an event")
        if raw.get("type") == "ERROR":
            code = body.get("code")
            raise status_error(self._call, code if isinstance(code, int) else 0, body)
        if raw.get("type") not in _EVENT_TYPES:
            raise FormatError(f"{self._call}: an event is of a type that nobody knows")
        return WatchEvent(cast("EventType", raw["type"]), body)
