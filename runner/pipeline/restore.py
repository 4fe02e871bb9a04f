"""The reading side: one location's objects into the plain streams of an engine.

Everything read is untrusted until its hash is checked, and the last block of a
stream is held back until that has happened: an engine that sees the end, and
commits, has seen what the dump wrote. Memory is bounded whatever the objects
hold: at most one chunk is decompressed ahead.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import IO, cast

import zstandard
from attrs import frozen

from controller.api.errors import (
    ChecksumMismatch,
    FormatError,
    IntegrityError,
    ObjectNotFound,
    TruncatedBackup,
)
from engines.interface import StreamName
from runner.crypto import age
from runner.pipeline.pipe import Pipe
from runner.storage.base import Storage

#: What one read of the decompressor gives at most, and so what is held back.
_BLOCK_BYTES = 256 * 1024
#: What the decompressor asks for at a time.
_READ_BYTES = zstandard.DECOMPRESSION_RECOMMENDED_INPUT_SIZE
#: Chunks (of at most 1 MiB) that are downloaded ahead.
_AHEAD_CHUNKS = 4
#: 128 MiB: what zstd's `--long=27` needs; a frame that asks for more is refused.
_MAX_WINDOW_BYTES = 1 << 27


@frozen(kw_only=True)
class ObjectToRead:
    """One stored object of a stream, as the manifest describes it."""

    key: str
    size_bytes: int
    sha256: str


@frozen(kw_only=True)
class StreamToRead:
    """One stream of a backup, as the manifest describes it."""

    name: StreamName
    plain_bytes: int
    plain_sha256: str
    objects: tuple[ObjectToRead, ...]


class BackupSource:
    """Gives the streams of one backup from one location.

    Args:
        identity: of an encrypted backup, None of a plain one.
        on_bytes: told how many plain bytes were read, for progress.

    `error` is the first error that reading met: it tells a fault of this
    location, after which another may be tried, from one of the engine.
    """

    def __init__(
        self,
        storage: Storage,
        streams: Sequence[StreamToRead],
        *,
        identity: age.Identity | None,
        on_bytes: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._storage = storage
        self._streams = {stream.name: stream for stream in streams}
        self._identity = identity
        self._on_bytes = on_bytes
        self.error: BaseException | None = None

    def names(self) -> Sequence[StreamName]:
        return tuple(self._streams)

    def size(self, name: StreamName, /) -> int:
        return self._streams[name].plain_bytes

    def open(self, name: StreamName, /) -> VerifiedStream:
        return VerifiedStream(
            self._storage, self._streams[name], self._identity, self._on_bytes, self._failed
        )

    def _failed(self, error: BaseException) -> None:
        if self.error is None:
            self.error = error


class VerifiedStream:
    """The plain bytes of one stream; its end is given only when all of it is verified."""

    def __init__(
        self,
        storage: Storage,
        stream: StreamToRead,
        identity: age.Identity | None,
        on_bytes: Callable[[int], None],
        on_error: Callable[[BaseException], None],
    ) -> None:
        self._on_bytes = on_bytes
        self._on_error = on_error
        self._download = _Download(storage, stream.objects)
        self._blocks = self._hold_back(self._plain(stream, identity))
        self._rest = b""

    def read(self, size: int = -1, /) -> bytes:
        try:
            if size < 0:
                everything = self._rest + b"".join(self._blocks)
                self._rest = b""
                return everything
            if not self._rest:
                self._rest = next(self._blocks, b"")
        except GeneratorExit:
            raise
        except BaseException as error:
            self._on_error(error)
            raise
        data, self._rest = self._rest[:size], self._rest[size:]
        return data

    def close(self) -> None:
        self._download.close()

    def _plain(self, stream: StreamToRead, identity: age.Identity | None) -> Iterator[bytes]:
        stored = iter(self._download)
        compressed = _decrypt(stream.name, stored, identity) if identity else stored
        decompressor = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW_BYTES)
        rope = cast("IO[bytes]", _Rope(compressed))
        reader = decompressor.stream_reader(rope, read_size=_READ_BYTES, read_across_frames=True)
        sha256 = hashlib.sha256()
        count = 0
        while block := _decompress(stream.name, reader):
            sha256.update(block)
            count += len(block)
            if count > stream.plain_bytes:
                raise ChecksumMismatch(
                    f"stream {stream.name} holds more than its {stream.plain_bytes} bytes"
                )
            yield block
        # Every object is hashed to its end, whatever the decompressor needed of it.
        for _ in stored:
            pass
        if count < stream.plain_bytes:
            raise TruncatedBackup(
                f"stream {stream.name} ends after {count} of {stream.plain_bytes} bytes"
            )
        if sha256.hexdigest() != stream.plain_sha256:
            raise ChecksumMismatch(f"stream {stream.name} differs from what was dumped")

    def _hold_back(self, blocks: Iterator[bytes]) -> Iterator[bytes]:
        held = b""
        for block in blocks:
            if held:
                self._on_bytes(len(held))
                yield held
            held = block
        if held:
            self._on_bytes(len(held))
            yield held


def _decrypt(name: StreamName, stored: Iterator[bytes], identity: age.Identity) -> Iterator[bytes]:
    """Decrypt, and say of which stream it is that a block is damaged."""
    try:
        yield from age.decrypt(stored, identity)
    except IntegrityError as error:
        raise type(error)(f"stream {name}: {error}") from error


def _decompress(name: StreamName, reader: zstandard.ZstdDecompressionReader) -> bytes:
    try:
        return reader.read(_BLOCK_BYTES)
    except zstandard.ZstdError as error:
        raise FormatError(f"stream {name} is not readable zstd: {error}") from error


class _Rope:
    """An iterator of chunks as the file that zstandard reads from."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = memoryview(b"")

    def read(self, size: int = -1, /) -> bytes:
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return b""
            self._rest = memoryview(chunk)
        data, self._rest = self._rest[:size], self._rest[size:]
        return bytes(data)


class _Download:
    """The stored bytes of a stream's objects, one after the other, each checked; read ahead."""

    def __init__(self, storage: Storage, objects: Sequence[ObjectToRead]) -> None:
        self._storage = storage
        self._objects = objects
        self._pipe: Pipe[bytes] = Pipe(_AHEAD_CHUNKS)
        # A daemon for the same reason as an upload's thread: a dead store must not hold the job.
        self._thread = threading.Thread(target=self._run, name="download", daemon=True)
        self._started = False

    def __iter__(self) -> Iterator[bytes]:
        if not self._started:
            self._started = True
            self._thread.start()
        while (chunk := self._pipe.get()) is not None:
            yield chunk

    def close(self) -> None:
        self._pipe.abort(GeneratorExit())
        if self._started:
            self._thread.join(timeout=10)

    def _run(self) -> None:
        try:
            for stored in self._objects:
                self._fetch(stored)
            self._pipe.close()
        except BaseException as error:  # noqa: BLE001 - thread top: raised to whoever reads
            self._pipe.abort(error)

    def _fetch(self, stored: ObjectToRead) -> None:
        sha256 = hashlib.sha256()
        count = 0
        chunks = self._storage.open_stream(stored.key)
        try:
            for chunk in chunks:
                sha256.update(chunk)
                count += len(chunk)
                if count > stored.size_bytes:
                    raise ChecksumMismatch(
                        f"{stored.key} is larger than its {stored.size_bytes} bytes"
                    )
                self._pipe.put(chunk)
        except ObjectNotFound as error:
            raise TruncatedBackup(f"{stored.key} is missing: {error}") from error
        finally:
            close = getattr(chunks, "close", None)
            if close is not None:
                close()
        if count < stored.size_bytes:
            raise TruncatedBackup(f"{stored.key} has {count} of {stored.size_bytes} bytes")
        if sha256.hexdigest() != stored.sha256:
            raise ChecksumMismatch(f"{stored.key} differs from what was stored")


def check_objects(
    storage: Storage, objects: Sequence[ObjectToRead], on_bytes: Callable[[int], None]
) -> None:
    """Read stored objects to their end and compare size and hash, without decrypting.

    Raises: TruncatedBackup, ChecksumMismatch, ObjectNotFound, StorageUnavailable.
    """
    download = _Download(storage, objects)
    try:
        for chunk in download:
            on_bytes(len(chunk))
    finally:
        download.close()
