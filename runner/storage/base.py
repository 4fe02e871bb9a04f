"""What a storage is: the protocol that every adapter and decorator implements.

Adapters map every SDK exception to one of StorageUnavailable, AccessDenied,
ObjectNotFound, ObjectExists (`raise ... from`) - or to InvalidSpec when the
location's own settings are at fault (an untrusted certificate, a wrong
region), or to TerminalError for a refusal that nobody foresaw. They never loop
over retries themselves (storage/retrying.py is the one policy) and hold no
state but their client, so that one instance serves many threads.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from datetime import datetime
from typing import Protocol

from attrs import frozen


@frozen(kw_only=True)
class ObjectInfo:
    """One stored object as its store describes it.

    Args:
        key: full key, location prefix included.
        size_bytes: stored size.
        etag: opaque; changes whenever the content changes. Never empty.
        modified_at: aware UTC, the store's clock.
    """

    key: str
    size_bytes: int
    etag: str
    modified_at: datetime


@frozen(kw_only=True)
class Properties:
    """What a storage can do, as data instead of isinstance checks.

    Args:
        part_size_bytes: size of every part of an upload but the last, which
            may have any size from 0.
        max_parts: parts per object.
        conditional_put: `put_new` is atomic on the server.
        checksum: what the store confirmed about the data before `complete`
            returns: "sha256" or "md5" of each part, "crc32c" of the whole
            object, or "fsync" (filesystem: the kernel said that all is on
            disk; reading it back would only read the page cache).
    """

    part_size_bytes: int
    max_parts: int
    conditional_put: bool
    checksum: str


class Upload(Protocol):
    """One object being written in parts. Used by one thread, in order.

    Nothing is visible under the key until `complete` returned. After `abort`
    nothing of it is left on the store, not even an unfinished multipart upload.
    """

    def put_part(self, number: int, data: bytes, /) -> None:
        """Send part `number` (from 1, in order); calling it again with the same data is safe.

        Raises: StorageUnavailable (send the same part again), AccessDenied.
        """
        ...

    def complete(self) -> ObjectInfo:
        """Make the object visible; its size and checksums are those that were sent.

        Calling it again after StorageUnavailable is safe.
        Raises: ChecksumMismatch if the store holds something else.
        """
        ...

    def abort(self) -> None:
        """Forget the upload; best effort, never raises for what is already gone."""
        ...


class Storage(Protocol):
    """One storage location. Thread-safe. Keys are unicode, ``/`` separated."""

    @property
    def properties(self) -> Properties: ...

    def create_upload(self, key: str, /) -> Upload:
        """Start writing an object of unknown size."""
        ...

    def put_new(self, key: str, data: bytes, /) -> ObjectInfo:
        """Create a small object; raises ObjectExists and leaves it alone if it is there.

        Atomic where `properties.conditional_put`, a stat and a put elsewhere.
        Retried after an unclear answer, it may find its own write: the
        retrying decorator compares the content then.
        """
        ...

    def put(self, key: str, data: bytes, /) -> ObjectInfo:
        """Create or replace a small object, atomically for readers."""
        ...

    def open_stream(self, key: str, /, *, offset: int = 0) -> Generator[bytes, None, None]:
        """The object's bytes from `offset` on, in chunks of at most 1 MiB.

        Raises ObjectNotFound before the first chunk, StorageUnavailable at any
        time - also when the connection ends before the object does. Closing
        the iterator frees the connection.
        """
        ...

    def stat(self, key: str, /) -> ObjectInfo:
        """Describe one object; raises ObjectNotFound."""
        ...

    def list(self, prefix: str, /) -> Iterator[ObjectInfo]:
        """All objects whose key starts with `prefix`, by ascending key (code points)."""
        ...

    def delete(self, keys: Iterable[str], /) -> None:
        """Delete objects; an absent one is fine. All are tried before an error is raised."""
        ...

    def abort_stale_uploads(self, prefix: str, /, *, begun_before: datetime | None = None) -> int:
        """Abort unfinished uploads of keys below `prefix`; returns how many there were.

        Args:
            begun_before: younger ones stay, for somebody may be at work on them.
                By the store's clock; a store that knows the last write only takes that.
        """
        ...

    def close(self) -> None:
        """Free connections; calls under way may fail with StorageUnavailable."""
        ...
