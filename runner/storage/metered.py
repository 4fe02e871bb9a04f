"""Counts what a storage does: a storage around a storage."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from datetime import datetime
from typing import Protocol

from controller.api.errors import BackupError
from runner.storage.base import ObjectInfo, Properties, Storage, Upload


class Meter(Protocol):
    """Takes what happened. Called from many threads, also while an error passes."""

    def record(self, operation: str, /, *, size_bytes: int, duration_s: float, reason: str) -> None:
        """One call ended.

        Args:
            operation: the method's name, `put_part`, `complete` and `abort` included.
            size_bytes: payload sent or received; 0 for calls without one.
            duration_s: spent inside of the storage. A stream counts once, at its
                end, with the time it took to deliver and not what its reader took.
            reason: empty for success, else the error's `reason`.
        """
        ...


class Metered:
    """Reports each call to a meter. Belongs inside of Retrying, so that attempts count."""

    def __init__(
        self, inner: Storage, meter: Meter, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._inner = inner
        self._meter = meter
        self._monotonic = monotonic

    @property
    def properties(self) -> Properties:
        return self._inner.properties

    def create_upload(self, key: str, /) -> Upload:
        with self.metered("create_upload"):
            return MeteredUpload(self, self._inner.create_upload(key))

    def put_new(self, key: str, data: bytes, /) -> ObjectInfo:
        with self.metered("put_new", len(data)):
            return self._inner.put_new(key, data)

    def put(self, key: str, data: bytes, /) -> ObjectInfo:
        with self.metered("put", len(data)):
            return self._inner.put(key, data)

    def open_stream(self, key: str, /, *, offset: int = 0) -> Generator[bytes, None, None]:
        duration_s, size_bytes, reason = 0.0, 0, ""
        chunks = self._inner.open_stream(key, offset=offset)
        try:
            with contextlib.closing(chunks):
                while True:
                    started_mono = self._monotonic()
                    try:
                        chunk = next(chunks, None)
                    finally:
                        duration_s += self._monotonic() - started_mono
                    if chunk is None:
                        return
                    size_bytes += len(chunk)
                    yield chunk
        except BackupError as error:
            reason = error.reason
            raise
        finally:
            self._meter.record(
                "open_stream", size_bytes=size_bytes, duration_s=duration_s, reason=reason
            )

    def stat(self, key: str, /) -> ObjectInfo:
        with self.metered("stat"):
            return self._inner.stat(key)

    def list(self, prefix: str, /) -> Iterator[ObjectInfo]:
        with self.metered("list"):
            yield from self._inner.list(prefix)

    def delete(self, keys: Iterable[str], /) -> None:
        with self.metered("delete"):
            self._inner.delete(keys)

    def abort_stale_uploads(self, prefix: str, /, *, begun_before: datetime | None = None) -> int:
        with self.metered("abort_stale_uploads"):
            return self._inner.abort_stale_uploads(prefix, begun_before=begun_before)

    def close(self) -> None:
        self._inner.close()

    @contextlib.contextmanager
    def metered(self, operation: str, size_bytes: int = 0) -> Iterator[None]:
        """Report what happens inside; a failed call moved no bytes that count."""
        started_mono = self._monotonic()
        reason = ""
        try:
            yield
        except BackupError as error:
            reason = error.reason
            raise
        finally:
            self._meter.record(
                operation,
                size_bytes=0 if reason else size_bytes,
                duration_s=self._monotonic() - started_mono,
                reason=reason,
            )


class MeteredUpload:
    """An upload whose parts are counted."""

    def __init__(self, metered: Metered, inner: Upload) -> None:
        self._metered = metered
        self._inner = inner

    def put_part(self, number: int, data: bytes, /) -> None:
        with self._metered.metered("put_part", len(data)):
            self._inner.put_part(number, data)

    def complete(self) -> ObjectInfo:
        with self._metered.metered("complete"):
            return self._inner.complete()

    def abort(self) -> None:
        with self._metered.metered("abort"):
            self._inner.abort()
