"""What goes into the pipeline comes out of it, or nothing does."""

import hashlib
import io
import random
import threading

import pytest
import zstandard
from hypothesis import given, strategies as st

from controller.api.errors import (
    ChecksumMismatch,
    IntegrityError,
    LocationsFailed,
    ObjectNotFound,
    StorageUnavailable,
    TruncatedBackup,
)
from engines.interface import StreamName
from runner.crypto import age
from runner.pipeline.backup import BackupOptions, BackupSink, StreamResult
from runner.pipeline.fanout import Destination
from runner.pipeline.restore import BackupSource, ObjectToRead, StreamToRead
from runner.pipeline.stages import StoredObject
from runner.repository.layout import object_name
from runner.storage.base import Upload
from runner.storage.memory import MemoryStorage
from tests.profiles import fewer

PREFIX = "p/ns/name/_data/2026-11-23T00-00-00Z-abcd/"
DUMP = StreamName("dump")
PART = 64 * 1024


def content(size: int, seed: int = 1) -> bytes:
    """Half compressible, half not."""
    rng = random.Random(seed)
    return b"".join(
        rng.randbytes(512) + b"all work and no play " * 24 for _ in range(size // 1016 + 1)
    )[:size]


def options(**changes: object) -> BackupOptions:
    defaults: dict[str, object] = {
        "identity": age.Identity.generate(),
        "part_size_bytes": PART,
        "max_object_bytes": 3 * PART,
        "stall_s": 30.0,
    }
    return BackupOptions(**(defaults | changes))  # type: ignore[arg-type]


def destination(storage: MemoryStorage, name: str = "a", *, encrypted: bool = True) -> Destination:
    return Destination(name=name, storage=storage, data_prefix=PREFIX, encrypted=encrypted)


def back_up(
    sink: BackupSink, data: bytes, *, step: int = 50_000, name: StreamName = DUMP
) -> StreamResult:
    stream = sink.open(name)
    for at in range(0, len(data), step):
        stream.write(data[at : at + step])
    stream.close()
    return sink.finish([name])[0]


def to_read(result: StreamResult, objects: tuple[StoredObject, ...]) -> StreamToRead:
    return StreamToRead(
        name=result.name,
        plain_bytes=result.plain_bytes,
        plain_sha256=result.plain_sha256,
        objects=tuple(
            ObjectToRead(
                key=PREFIX + object_name(result.name, stored.number),
                size_bytes=stored.size_bytes,
                sha256=stored.sha256,
            )
            for stored in objects
        ),
    )


def read_back(storage: MemoryStorage, stream: StreamToRead, identity: age.Identity | None) -> bytes:
    source = BackupSource(storage, [stream], identity=identity)
    reader = source.open(stream.name)
    out = io.BytesIO()
    try:
        while block := reader.read(100_000):
            out.write(block)
    finally:
        reader.close()
    return out.getvalue()


@fewer(0.5)
@given(
    size=st.one_of(st.integers(0, 3000), st.integers(0, 8 * PART)),
    step=st.integers(1000, 200_000),
    encrypted=st.booleans(),
)
def test_round_trip_whatever_the_chunking(size: int, step: int, encrypted: bool) -> None:
    storage = MemoryStorage()
    made = options()
    sink = BackupSink([destination(storage, encrypted=encrypted)], made)
    data = content(size)

    result = back_up(sink, data, step=step)

    objects = result.sealed_objects if encrypted else result.plain_objects
    stream = to_read(result, objects)
    assert hashlib.sha256(data).hexdigest() == result.plain_sha256
    assert data == read_back(storage, stream, made.identity if encrypted else None)
    assert len(objects) == len(list(storage.list(PREFIX)))


def test_one_dump_reaches_plain_and_encrypted_locations_alike() -> None:
    plain, first, second = MemoryStorage(), MemoryStorage(), MemoryStorage()
    made = options()
    sink = BackupSink(
        [
            destination(plain, "plain", encrypted=False),
            destination(first, "first"),
            destination(second, "second"),
        ],
        made,
    )
    data = content(500_000)

    result = back_up(sink, data)

    assert data == read_back(plain, to_read(result, result.plain_objects), None)
    assert data == read_back(first, to_read(result, result.sealed_objects), made.identity)
    for info in first.list(PREFIX):
        assert b"".join(first.open_stream(info.key)) == b"".join(second.open_stream(info.key))


def test_the_objects_of_a_plain_location_are_one_zstd_file() -> None:
    storage = MemoryStorage()
    sink = BackupSink([destination(storage, encrypted=False)], options(identity=None))
    data = content(700_000)

    result = back_up(sink, data)

    assert len(result.plain_objects) > 1
    stored = b"".join(b"".join(storage.open_stream(info.key)) for info in storage.list(PREFIX))
    assert data == zstandard.ZstdDecompressor().decompressobj().decompress(stored)


class FailingUpload:
    """An upload whose part `fail_at` fails."""

    def __init__(self, upload: Upload, fail_at: int) -> None:
        self._upload = upload
        self._fail_at = fail_at

    def put_part(self, number: int, data: bytes, /) -> None:
        if number == self._fail_at:
            raise StorageUnavailable("the store is on fire")
        self._upload.put_part(number, data)

    def complete(self) -> object:
        return self._upload.complete()

    def abort(self) -> None:
        self._upload.abort()


class FailingStorage(MemoryStorage):
    def __init__(self, fail_at: int) -> None:
        super().__init__()
        self._fail_at = fail_at

    def create_upload(self, key: str, /) -> Upload:
        return FailingUpload(super().create_upload(key), self._fail_at)  # type: ignore[return-value]


def test_a_failing_location_is_dropped_and_the_other_goes_on() -> None:
    good, bad = MemoryStorage(), FailingStorage(2)
    made = options()
    sink = BackupSink([destination(bad, "bad"), destination(good, "good")], made)
    data = content(600_000)

    result = back_up(sink, data)

    assert [StorageUnavailable, type(None)] == [type(lane.error) for lane in sink.lanes]
    assert data == read_back(good, to_read(result, result.sealed_objects), made.identity)
    assert list(bad.list(PREFIX)) == []
    assert bad.abort_stale_uploads("") == 0


def test_the_engine_is_stopped_when_every_location_failed() -> None:
    sink = BackupSink([destination(FailingStorage(1), "bad")], options())
    stream = sink.open(DUMP)

    with pytest.raises(LocationsFailed, match="bad: the store is on fire"):
        for seed in range(1000):
            stream.write(content(100_000, seed))


def test_a_stalled_location_is_dropped_and_reported() -> None:
    release = threading.Event()

    class Stalled(MemoryStorage):
        def create_upload(self, key: str, /) -> Upload:
            release.wait(60)
            return super().create_upload(key)

    good, stalled = MemoryStorage(), Stalled()
    made = options(stall_s=0.3)
    sink = BackupSink([destination(stalled, "stalled"), destination(good, "good")], made)
    data = content(1_500_000)

    try:
        result = back_up(sink, data)
    finally:
        release.set()

    assert "no part was stored for 0 s" in str(sink.lanes[0].error)
    assert data == read_back(good, to_read(result, result.sealed_objects), made.identity)


def test_an_abort_leaves_no_upload_and_reaches_the_writer() -> None:
    storage = MemoryStorage()
    sink = BackupSink([destination(storage)], options())
    stream = sink.open(DUMP)
    stream.write(content(900_000))

    stream.abort(RuntimeError("pg_dump exited with 1"))

    with pytest.raises(RuntimeError, match="pg_dump"):
        stream.write(b"x")
    with pytest.raises(RuntimeError, match="pg_dump"):
        sink.finish([DUMP])
    assert storage.abort_stale_uploads("") == 0


def test_streams_that_the_engine_does_not_name_void_the_backup() -> None:
    sink = BackupSink([destination(MemoryStorage())], options())
    sink.open(StreamName("other")).close()

    with pytest.raises(ValueError, match="other"):
        sink.finish([DUMP])


def stored_backup(data: bytes) -> tuple[MemoryStorage, StreamToRead, BackupOptions]:
    storage = MemoryStorage()
    made = options()
    result = back_up(BackupSink([destination(storage)], made), data)
    return storage, to_read(result, result.sealed_objects), made


def replace(storage: MemoryStorage, key: str, data: bytes) -> None:
    storage.delete([key])
    storage.put_new(key, data)


@pytest.mark.parametrize("damage", ["cut", "flip", "grow", "swap", "missing"])
@pytest.mark.parametrize("which", [0, -1])
def test_damage_is_noticed_before_the_end_is_given(damage: str, which: int) -> None:
    data = content(600_000)
    storage, stream, made = stored_backup(data)
    other_storage, other, _ = stored_backup(content(600_000, seed=2))
    key = stream.objects[which].key
    raw = b"".join(storage.open_stream(key))
    if damage == "missing":
        storage.delete([key])
    elif damage == "swap":
        replace(storage, key, b"".join(other_storage.open_stream(other.objects[which].key)))
    else:
        flipped = raw[:1000] + bytes([raw[1000] ^ 1]) + raw[1001:]
        replace(storage, key, {"cut": raw[:-1], "flip": flipped, "grow": raw + b"x"}[damage])
    out = io.BytesIO()
    reader = BackupSource(storage, [stream], identity=made.identity).open(DUMP)

    # Whichever check comes first, the hash of the object or the block's own, it says of what.
    with pytest.raises((IntegrityError, ObjectNotFound), match="dump"):
        while block := reader.read(50_000):
            out.write(block)
    reader.close()

    assert len(out.getvalue()) < len(data)


def test_a_dump_that_differs_from_its_manifest_is_not_given_to_its_end() -> None:
    data = content(300_000)
    storage, stream, made = stored_backup(data)
    lied = StreamToRead(
        name=stream.name,
        plain_bytes=stream.plain_bytes,
        plain_sha256="0" * 64,
        objects=stream.objects,
    )

    with pytest.raises(ChecksumMismatch):
        read_back(storage, lied, made.identity)


@pytest.mark.parametrize("delta", [-1, 1])
def test_a_wrong_size_in_the_manifest_is_noticed(delta: int) -> None:
    storage, stream, made = stored_backup(content(300_000))
    lied = StreamToRead(
        name=stream.name,
        plain_bytes=stream.plain_bytes + delta,
        plain_sha256=stream.plain_sha256,
        objects=stream.objects,
    )

    with pytest.raises((ChecksumMismatch, TruncatedBackup)):
        read_back(storage, lied, made.identity)


def test_a_decompression_bomb_is_refused_in_bounded_memory() -> None:
    bomb = zstandard.ZstdCompressor(level=19).compress(bytes(512 * 1024 * 1024))
    storage = MemoryStorage()
    storage.put_new(PREFIX + "dump.0000", bomb)
    stream = StreamToRead(
        name=DUMP,
        plain_bytes=1000,
        plain_sha256="0" * 64,
        objects=(
            ObjectToRead(
                key=PREFIX + "dump.0000",
                size_bytes=len(bomb),
                sha256=hashlib.sha256(bomb).hexdigest(),
            ),
        ),
    )

    with pytest.raises(ChecksumMismatch, match="more than its 1000 bytes"):
        read_back(storage, stream, None)
