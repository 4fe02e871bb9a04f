"""A storage that fails as a test tells it, around a real one."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from datetime import datetime

from runner.storage.base import ObjectInfo, Properties, Storage, Upload


class ScriptedStorage:
    """Raises what `faults` holds for an operation, call by call; then the inner storage answers.

    Args:
        faults: operation -> errors; None lets one call through. An error in
            `late` is raised after the inner call took effect.
        cut_streams: a stream ends with this error after so many bytes.
    """

    def __init__(self, inner: Storage) -> None:
        self.inner = inner
        self.faults: dict[str, list[Exception | None]] = {}
        self.late: dict[str, list[Exception | None]] = {}
        self.cut_streams: list[tuple[int, Exception]] = []
        self.cut_lists: list[tuple[int, Exception]] = []
        self.calls: list[str] = []

    @property
    def properties(self) -> Properties:
        return self.inner.properties

    def step(self, operation: str) -> None:
        self.calls.append(operation)
        self._raise(self.faults, operation)

    def step_late(self, operation: str) -> None:
        self._raise(self.late, operation)

    def _raise(self, table: dict[str, list[Exception | None]], operation: str) -> None:
        if table.get(operation) and (error := table[operation].pop(0)):
            raise error

    def create_upload(self, key: str, /) -> Upload:
        self.step("create_upload")
        return ScriptedUpload(self, self.inner.create_upload(key))

    def put_new(self, key: str, data: bytes, /) -> ObjectInfo:
        self.step("put_new")
        info = self.inner.put_new(key, data)
        self.step_late("put_new")
        return info

    def put(self, key: str, data: bytes, /) -> ObjectInfo:
        self.step("put")
        return self.inner.put(key, data)

    def open_stream(self, key: str, /, *, offset: int = 0) -> Generator[bytes, None, None]:
        self.step(f"open_stream@{offset}" if offset else "open_stream")
        cut = self.cut_streams.pop(0) if self.cut_streams else None
        for chunk in self.inner.open_stream(key, offset=offset):
            if cut and len(chunk) > cut[0]:
                yield chunk[: cut[0]]
                raise cut[1]
            yield chunk

    def stat(self, key: str, /) -> ObjectInfo:
        self.step("stat")
        return self.inner.stat(key)

    def list(self, prefix: str, /) -> Iterator[ObjectInfo]:
        self.step("list")
        cut = self.cut_lists.pop(0) if self.cut_lists else None
        for number, info in enumerate(self.inner.list(prefix)):
            if cut and number == cut[0]:
                raise cut[1]
            yield info

    def delete(self, keys: Iterable[str], /) -> None:
        self.step("delete")
        self.inner.delete(keys)

    def abort_stale_uploads(self, prefix: str, /, *, begun_before: datetime | None = None) -> int:
        self.step("abort_stale_uploads")
        return self.inner.abort_stale_uploads(prefix, begun_before=begun_before)

    def close(self) -> None:
        self.inner.close()


class ScriptedUpload:
    def __init__(self, storage: ScriptedStorage, inner: Upload) -> None:
        self._storage = storage
        self._inner = inner

    def put_part(self, number: int, data: bytes, /) -> None:
        self._storage.step("put_part")
        self._inner.put_part(number, data)
        self._storage.step_late("put_part")

    def complete(self) -> ObjectInfo:
        self._storage.step("complete")
        return self._inner.complete()

    def abort(self) -> None:
        self._storage.step("abort")
        self._inner.abort()
