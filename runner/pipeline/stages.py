"""The steps between an engine's bytes and parts of stored objects; no threads here."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import zstandard
from attrs import field, frozen

from runner.crypto import age

#: The last object of a stream may be smaller. A limit of ours, far below every
#: store's, so that parts can be small and of one size (DESIGN: 5 TB in bounded memory).
MAX_OBJECT_BYTES = 64 * 1024**3


@frozen(kw_only=True)
class StoredObject:
    """One object of a stream as it is stored: what the manifest says of it."""

    number: int
    size_bytes: int
    sha256: str


@frozen(kw_only=True)
class Part:
    """A piece of one stored object; shared by all locations, never changed.

    Args:
        object_number: from 0. number: from 1, within the object.
        last: the object ends with this part; `total_bytes` is then its size.
    """

    object_number: int
    number: int
    data: bytes = field(repr=False)
    last: bool
    total_bytes: int


class Cutter:
    """Cuts a run of bytes into objects, and objects into parts of one size."""

    def __init__(
        self,
        emit: Callable[[Part], None],
        *,
        part_size_bytes: int,
        max_object_bytes: int = MAX_OBJECT_BYTES,
    ) -> None:
        self._emit = emit
        self._part_size = part_size_bytes
        self._parts_per_object = max(1, max_object_bytes // part_size_bytes)
        self._pieces: list[bytes] = []
        self._pending_bytes = 0
        self._part_number = 0
        self._object_bytes = 0
        self._sha256 = hashlib.sha256()
        self.objects: list[StoredObject] = []

    def feed(self, data: bytes) -> None:
        """Take bytes; a full part leaves only once a byte follows it.

        Whether a part is its object's last one is known only then.
        """
        if data:
            self._pieces.append(data)
            self._pending_bytes += len(data)
        while self._pending_bytes > self._part_size:
            # Only the last piece can cross the border: all others came while there was room.
            border = self._part_size - self._pending_bytes
            last = self._pieces[-1]
            self._pieces[-1] = last[:border]
            part = b"".join(self._pieces)
            self._pieces = [last[border:]]
            self._pending_bytes = -border
            self._leave(part, end=False)

    def finish(self) -> None:
        """Let the last part go; an empty run still is one object of one empty part."""
        self._leave(b"".join(self._pieces), end=True)
        self._pieces = []
        self._pending_bytes = 0

    def _leave(self, data: bytes, *, end: bool) -> None:
        self._part_number += 1
        self._object_bytes += len(data)
        self._sha256.update(data)
        last = end or self._part_number == self._parts_per_object
        part = Part(
            object_number=len(self.objects),
            number=self._part_number,
            data=data,
            last=last,
            total_bytes=self._object_bytes,
        )
        if last:
            stored = StoredObject(
                number=len(self.objects),
                size_bytes=self._object_bytes,
                sha256=self._sha256.hexdigest(),
            )
            self.objects.append(stored)
            self._part_number = self._object_bytes = 0
            self._sha256 = hashlib.sha256()
        self._emit(part)


class Stopwatch:
    """Adds up how long a stage worked, and on how many bytes; waiting is not work.

    Threads: each is fed by one.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self.bytes = 0

    @contextmanager
    def working(self, count_bytes: int) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.seconds += time.perf_counter() - started
        self.bytes += count_bytes


class Transform:
    """Compresses a stream once, and encrypts it once for all locations that want it so.

    Args:
        plain, sealed: where the compressed and the encrypted bytes go; None
            where no location wants them.
        level: of zstd, 1 to 19.
        public_key: X25519, of this backup; needed with `sealed`.
    """

    def __init__(
        self, *, plain: Cutter | None, sealed: Cutter | None, level: int, public_key: bytes | None
    ) -> None:
        self._plain = plain
        self._sealed = sealed
        self._zstd = zstandard.ZstdCompressor(level=level, write_checksum=True).compressobj()
        self._age = age.Encryptor(public_key) if sealed and public_key else None
        if sealed and self._age is None:
            raise ValueError("encrypted locations need a key")
        self.compressing = Stopwatch()
        self.encrypting = Stopwatch()

    def feed(self, data: bytes) -> None:
        with self.compressing.working(len(data)):
            compressed = self._zstd.compress(data)
        self._spread(compressed)

    def finish(self) -> None:
        with self.compressing.working(0):
            compressed = self._zstd.flush()
        self._spread(compressed)
        if self._plain:
            self._plain.finish()
        if self._sealed and self._age:
            self._sealed.feed(self._age.finish())
            self._sealed.finish()

    def _spread(self, compressed: bytes) -> None:
        if not compressed:
            return
        if self._plain:
            self._plain.feed(compressed)
        if self._sealed and self._age:
            with self.encrypting.working(len(compressed)):
                sealed = self._age.update(compressed)
            self._sealed.feed(sealed)
