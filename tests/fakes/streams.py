"""Streams of a backup in memory: what the runner's pipeline is to an engine."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from controller.api.errors import ObjectExists, TruncatedBackup
from engines.interface import StreamName


class MemoryWriter:
    def __init__(self, sink: MemorySink, name: StreamName) -> None:
        self._sink = sink
        self._name = name
        self._parts: list[bytes] = []

    def write(self, data: bytes | memoryview, /) -> int:
        self._sink.take(len(data))
        self._parts.append(bytes(data))
        return len(data)

    def close(self) -> None:
        self._sink.streams[self._name] = b"".join(self._parts)

    def abort(self, cause: BaseException, /) -> None:
        self._sink.aborted[self._name] = cause


class MemorySink:
    """Keeps whole streams; fails with `error` when `fail_at` bytes have been written in all."""

    def __init__(self, *, fail_at: int | None = None, error: Exception | None = None) -> None:
        self.opened: list[StreamName] = []
        self.streams: dict[StreamName, bytes] = {}
        self.aborted: dict[StreamName, BaseException] = {}
        self.started = threading.Event()
        self._fail_at = fail_at
        self._error = error
        self._size = 0
        self._lock = threading.Lock()

    def open(self, name: StreamName, /) -> MemoryWriter:
        with self._lock:
            if name in self.opened:
                raise ObjectExists(name)
            self.opened.append(name)
        return MemoryWriter(self, name)

    def take(self, size: int) -> None:
        self.started.set()
        with self._lock:
            self._size += size
            if self._fail_at is not None and self._size > self._fail_at:
                assert self._error is not None
                raise self._error


class MemoryReader:
    """Gives `data`, the last byte by itself; then raises `error` or ends.

    With an error the last byte is never given out: that is what holding back
    means.
    """

    def __init__(self, data: bytes, error: Exception | None) -> None:
        self._data = data
        self._at = 0
        self._error = error

    def read(self, size: int = -1, /) -> bytes:
        verified_at = max(len(self._data) - 1, 0)
        if self._at >= verified_at and self._error is not None:
            raise self._error
        end = len(self._data) if size < 0 else self._at + size
        if self._at < verified_at:
            end = min(end, verified_at)
        block = self._data[self._at : end]
        self._at += len(block)
        return block

    def close(self) -> None: ...


class MemorySource:
    """Streams to restore from. `errors`: stream -> what its reader raises before the end."""

    def __init__(
        self, streams: dict[StreamName, bytes], errors: dict[str, Exception] | None = None
    ) -> None:
        self._streams = streams
        self._errors = errors or {}

    def names(self) -> Sequence[StreamName]:
        return tuple(self._streams)

    def size(self, name: StreamName, /) -> int:
        return len(self._streams[name])

    def open(self, name: StreamName, /) -> MemoryReader:
        return MemoryReader(self._streams[name], self._errors.get(name))


def cut(data: bytes, at: int) -> tuple[bytes, Exception]:
    """A stream that ends early, and what its reader says of it."""
    return data[:at], TruncatedBackup("the stream ends early")
