"""A storage in memory, for tests and for trying things out."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from datetime import UTC, datetime

from controller.api.errors import ObjectExists
from runner.storage.base import ObjectInfo, Properties
from runner.storage.failure import Call, missing, refused

_PART_SIZE_BYTES = 8 * 1024 * 1024
_CHUNK_BYTES = 1024 * 1024


def _utc_now() -> datetime:
    return datetime.now(UTC)


class MemoryStorage:
    """Keeps every object as bytes. Atomic, consistent, gone at exit."""

    def __init__(
        self,
        location: str = "memory",
        *,
        part_size_bytes: int = _PART_SIZE_BYTES,
        now: Callable[[], datetime] = _utc_now,
    ) -> None:
        self._location = location
        self._now = now
        self._properties = Properties(
            part_size_bytes=part_size_bytes,
            max_parts=10_000,
            conditional_put=True,
            checksum="sha256",
        )
        # Guards the three below; nothing is called under it but dict methods.
        self._lock = threading.Lock()
        self._objects: dict[str, tuple[ObjectInfo, bytes]] = {}
        self._pending: set[MemoryUpload] = set()
        self._etags = itertools.count(1)

    @property
    def properties(self) -> Properties:
        return self._properties

    def create_upload(self, key: str, /) -> MemoryUpload:
        upload = MemoryUpload(self, key, self._now())
        with self._lock:
            self._pending.add(upload)
        return upload

    def put_new(self, key: str, data: bytes, /) -> ObjectInfo:
        with self._lock:
            if key in self._objects:
                raise ObjectExists(f"{Call(self._location, 'put_new', key)}: it exists already")
            return self._store_locked(key, data)

    def put(self, key: str, data: bytes, /) -> ObjectInfo:
        with self._lock:
            return self._store_locked(key, data)

    def open_stream(self, key: str, /, *, offset: int = 0) -> Generator[bytes, None, None]:
        _, data = self._get("open_stream", key)
        for start in range(offset, len(data), _CHUNK_BYTES):
            yield data[start : start + _CHUNK_BYTES]

    def stat(self, key: str, /) -> ObjectInfo:
        return self._get("stat", key)[0]

    def list(self, prefix: str, /) -> Iterator[ObjectInfo]:
        with self._lock:
            found = [info for key, (info, _) in self._objects.items() if key.startswith(prefix)]
        yield from sorted(found, key=lambda info: info.key)

    def delete(self, keys: Iterable[str], /) -> None:
        for key in keys:
            with self._lock:
                self._objects.pop(key, None)

    def abort_stale_uploads(self, prefix: str, /, *, begun_before: datetime | None = None) -> int:
        with self._lock:
            stale = {
                upload
                for upload in self._pending
                if upload.key.startswith(prefix)
                and (begun_before is None or upload.begun_at < begun_before)
            }
            self._pending -= stale
        return len(stale)

    def close(self) -> None:
        """Nothing to free: the objects stay as long as the instance does."""

    def _get(self, operation: str, key: str) -> tuple[ObjectInfo, bytes]:
        with self._lock:
            try:
                return self._objects[key]
            except KeyError as error:
                raise missing(Call(self._location, operation, key), "no such object") from error

    def _store_locked(self, key: str, data: bytes) -> ObjectInfo:
        info = ObjectInfo(
            key=key,
            size_bytes=len(data),
            etag=str(next(self._etags)),
            modified_at=self._now(),
        )
        self._objects[key] = (info, bytes(data))
        return info

    def finish(self, upload: MemoryUpload, data: bytes) -> ObjectInfo:
        with self._lock:
            if upload not in self._pending:
                raise refused(
                    Call(self._location, "complete", upload.key), "the upload was aborted"
                )
            self._pending.discard(upload)
            return self._store_locked(upload.key, data)

    def forget(self, upload: MemoryUpload) -> None:
        with self._lock:
            self._pending.discard(upload)


class MemoryUpload:
    """Parts in a dict until `complete`."""

    def __init__(self, storage: MemoryStorage, key: str, begun_at: datetime) -> None:
        self.key = key
        self.begun_at = begun_at
        self._storage = storage
        self._parts: dict[int, bytes] = {}
        self._done: ObjectInfo | None = None

    def put_part(self, number: int, data: bytes, /) -> None:
        self._parts[number] = bytes(data)

    def complete(self) -> ObjectInfo:
        if self._done is None:
            data = b"".join(self._parts[number] for number in sorted(self._parts))
            self._done = self._storage.finish(self, data)
        return self._done

    def abort(self) -> None:
        self._storage.forget(self)
