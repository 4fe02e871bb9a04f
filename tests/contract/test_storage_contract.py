"""What every storage does, on real servers.

Not here: faults that only one protocol has (tests/unit/storage, test_storage_faults).
"""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from controller.api.errors import BackupError, ObjectExists, ObjectNotFound
from controller.api.secrets import Secret
from runner.storage.base import Storage
from runner.storage.connection import Connection
from runner.storage.filesystem import FilesystemStorage
from runner.storage.gcs import GcsStorage
from runner.storage.memory import MemoryStorage
from runner.storage.minio import MinioStorage
from runner.storage.s3 import S3Storage

# The smallest that a real S3 server takes for a part that is not the last.
PART_BYTES = 5 * 1024 * 1024
KINDS = ("memory", "filesystem", "s3-on-moto", "s3-on-minio", "minio-on-minio", "gcs-on-fake-gcs")


def _keyed(server: object, bucket: str) -> Connection:
    return Connection(
        location="contract",
        bucket=bucket,
        endpoint=server.endpoint,
        secure=False,
        access_key=Secret(server.access_key),
        secret_key=Secret(server.secret_key),
    )


@pytest.fixture(params=KINDS)
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Storage]:
    """An empty storage of each kind."""
    kind = request.param
    if kind == "memory":
        made: Storage = MemoryStorage(part_size_bytes=PART_BYTES)
    elif kind == "filesystem":
        made = FilesystemStorage("contract", tmp_path, part_size_bytes=PART_BYTES)
    elif kind == "gcs-on-fake-gcs":
        server = request.getfixturevalue("gcs_server")
        made = GcsStorage(
            Connection(
                location="contract",
                bucket=server.new_bucket(),
                endpoint=server.endpoint,
                secure=False,
            ),
            part_size_bytes=PART_BYTES,
        )
    else:
        adapter = MinioStorage if kind.startswith("minio") else S3Storage
        server = request.getfixturevalue(kind.rpartition("-")[2] + "_server")
        made = adapter(_keyed(server, server.new_bucket()), part_size_bytes=PART_BYTES)
    with contextlib.closing(made):
        yield made


def payload(size_bytes: int, seed: str = "payload") -> bytes:
    """Bytes without repetition, the same each time."""
    return hashlib.shake_128(seed.encode()).digest(size_bytes)


def upload(storage: Storage, key: str, data: bytes) -> object:
    """Store in parts, the way the pipeline does."""
    part_bytes = storage.properties.part_size_bytes
    one = storage.create_upload(key)
    for number, start in enumerate(range(0, len(data), part_bytes), start=1):
        one.put_part(number, data[start : start + part_bytes])
    return one.complete()


def read(storage: Storage, key: str, *, offset: int = 0) -> bytes:
    return b"".join(storage.open_stream(key, offset=offset))


def keys(storage: Storage, prefix: str = "") -> list[str]:
    return [info.key for info in storage.list(prefix)]


@pytest.mark.parametrize(
    "size_bytes",
    [0, 1, PART_BYTES - 1, PART_BYTES, PART_BYTES + 1, 2 * PART_BYTES, 2 * PART_BYTES + 3],
)
def test_upload_reads_back_for_every_size_around_a_part(storage: Storage, size_bytes: int) -> None:
    data = payload(size_bytes)

    info = upload(storage, "ns/db/_data/x/main.0001", data)

    assert info.size_bytes == size_bytes
    assert info == storage.stat("ns/db/_data/x/main.0001")
    assert hashlib.sha256(data).digest() == (
        hashlib.sha256(read(storage, "ns/db/_data/x/main.0001")).digest()
    )


def test_upload_takes_an_empty_last_part(storage: Storage) -> None:
    data = payload(PART_BYTES)
    one = storage.create_upload("a")
    one.put_part(1, data)
    one.put_part(2, b"")

    assert one.complete().size_bytes == PART_BYTES
    assert read(storage, "a") == data


def test_object_is_invisible_until_complete(storage: Storage) -> None:
    one = storage.create_upload("p/a")
    one.put_part(1, payload(PART_BYTES))
    one.put_part(2, b"tail")

    assert keys(storage) == []
    with pytest.raises(ObjectNotFound):
        storage.stat("p/a")

    one.complete()
    assert keys(storage) == ["p/a"]


def test_abort_leaves_no_object_and_no_pending_upload(storage: Storage) -> None:
    one = storage.create_upload("p/a")
    one.put_part(1, payload(PART_BYTES))

    one.abort()
    one.abort()

    assert keys(storage) == []
    assert storage.abort_stale_uploads("") == 0


def test_complete_again_gives_the_same_object(storage: Storage) -> None:
    one = storage.create_upload("a")
    one.put_part(1, b"x")

    assert one.complete() == one.complete()


def test_part_sent_again_counts_once(storage: Storage) -> None:
    first, second = payload(PART_BYTES, "1"), payload(100, "2")
    one = storage.create_upload("a")
    one.put_part(1, first)
    one.put_part(1, first)
    one.put_part(2, second)
    one.put_part(2, second)

    info = one.complete()

    assert info.size_bytes == len(first) + len(second)
    assert read(storage, "a") == first + second


def test_upload_replaces_an_older_object_whole(storage: Storage) -> None:
    storage.put("a", b"old")
    one = storage.create_upload("a")
    one.put_part(1, b"new content")

    assert read(storage, "a") == b"old"
    one.complete()
    assert read(storage, "a") == b"new content"


def test_stale_uploads_are_aborted_below_the_prefix_only(storage: Storage) -> None:
    uploads = [storage.create_upload(key) for key in ("mine/a", "mine/sub/b", "mine2/c")]
    for one in uploads:
        one.put_part(1, payload(PART_BYTES))
    # Cloud Storage cannot list them; they end by themselves.
    is_listing = not isinstance(storage, GcsStorage)

    assert storage.abort_stale_uploads("mine/") == (2 if is_listing else 0)
    assert storage.abort_stale_uploads("mine/") == 0
    assert storage.abort_stale_uploads("") == (1 if is_listing else 0)

    for one in uploads:
        one.abort()  # of what is gone already
    assert keys(storage) == []


def test_uploads_that_somebody_may_be_at_work_on_are_left_alone(
    storage: Storage, request: pytest.FixtureRequest
) -> None:
    if "moto" in request.node.name:
        pytest.skip("moto says of every upload that it began in 2010")
    now = datetime.now(UTC)
    one = storage.create_upload("mine/a")
    one.put_part(1, payload(PART_BYTES))
    is_listing = not isinstance(storage, GcsStorage)

    assert storage.abort_stale_uploads("mine/", begun_before=now - timedelta(hours=1)) == 0
    aborted = storage.abort_stale_uploads("mine/", begun_before=now + timedelta(hours=1))

    assert aborted == (1 if is_listing else 0)
    one.abort()


def test_absent_key_is_named(storage: Storage) -> None:
    for call in (
        lambda: storage.stat("no/such"),
        lambda: read(storage, "no/such"),
        lambda: read(storage, "no/such", offset=5),
    ):
        with pytest.raises(ObjectNotFound, match="no/such"):
            call()


ODD_KEYS = (
    "plain",
    "with space",
    "hash#tag",
    "percent%2Fliteral",
    "plus+sign",
    "question?mark=1&b",
    "quote'\"quote",
    "umlaut-äöü",
    "emoji-🗄️/日本語",
    "tilde~star*(paren)",
    "back\\slash",
    "a=b;c:d@e,f!$",
    "_manifests/2026-11-23T10-00-00Z-1a2b.json",
)


@pytest.mark.parametrize("key", ODD_KEYS)
def test_odd_keys_stay_themselves(storage: Storage, key: str) -> None:
    full_key = f"odd/{key}"
    storage.put(full_key, b"put")
    assert storage.stat(full_key).key == full_key
    assert upload(storage, full_key, b"upload").key == full_key

    assert keys(storage, "odd/") == [full_key]
    assert keys(storage, full_key) == [full_key]
    assert read(storage, full_key) == b"upload"
    with pytest.raises(ObjectExists):
        storage.put_new(full_key, b"x")

    storage.delete([full_key])
    assert keys(storage, "odd/") == []


def test_list_is_in_order_of_code_points(storage: Storage) -> None:
    # "-" and "." sort before "/", "0" after it, and so do all letters.
    wanted = sorted(
        ["a", "a-b", "a.b/c", "a0", "ab", "b/a/z", "b/a-", "b/a0", "B", "_", "ä", "z", "b/ä"]
    )
    for key in reversed(wanted):
        storage.put(key, key.encode())

    assert keys(storage) == wanted


def test_list_takes_a_prefix_that_ends_inside_of_a_name(storage: Storage) -> None:
    for key in ("p/aa", "p/ab", "p/b", "pa", "q"):
        storage.put(key, b"")

    assert keys(storage, "p/a") == ["p/aa", "p/ab"]
    assert keys(storage, "p") == ["p/aa", "p/ab", "p/b", "pa"]
    assert keys(storage, "p/") == ["p/aa", "p/ab", "p/b"]
    assert keys(storage, "none/") == []


@pytest.mark.slow
def test_list_and_delete_go_through_all_pages(storage: Storage) -> None:
    wanted = [f"many/{number:05}" for number in range(1205)]
    for key in wanted:
        storage.put(key, b"x")

    found = list(storage.list("many/"))

    assert [info.key for info in found] == wanted
    assert {info.size_bytes for info in found} == {1}

    storage.delete(wanted)
    assert keys(storage) == []


def test_list_and_stat_describe_the_same(storage: Storage) -> None:
    before = datetime.now(UTC) - timedelta(seconds=5)
    info = storage.put("a", b"12345")

    [listed] = storage.list("")

    assert (listed.key, listed.size_bytes, listed.etag) == (info.key, 5, info.etag)
    assert listed.etag == storage.stat("a").etag
    assert listed.modified_at.tzinfo is not None
    assert before <= listed.modified_at <= datetime.now(UTC) + timedelta(seconds=5)


def test_etag_changes_with_the_content(storage: Storage) -> None:
    etags = [storage.put("a", content).etag for content in (b"1", b"2", b"3")]
    etags.append(upload(storage, "a", b"4").etag)

    assert all(etags)
    assert len(set(etags)) == len(etags)


def test_put_new_leaves_the_first_alone(storage: Storage) -> None:
    first = storage.put_new("a", b"first")

    with pytest.raises(ObjectExists, match="'a'"):
        storage.put_new("a", b"second")

    assert read(storage, "a") == b"first"
    assert storage.stat("a").etag == first.etag


def test_put_new_has_one_winner_when_many_race(storage: Storage) -> None:
    assert storage.properties.conditional_put
    barrier = threading.Barrier(8)
    outcomes: dict[int, str] = {}

    def race(number: int) -> None:
        barrier.wait()
        try:
            storage.put_new("race", f"runner {number}".encode())
            outcomes[number] = "won"
        except BackupError as error:
            outcomes[number] = error.reason

    _in_threads(race, 8)

    winners = [number for number, outcome in outcomes.items() if outcome == "won"]
    assert len(winners) == 1
    assert read(storage, "race") == f"runner {winners[0]}".encode()
    # A store may also answer "somebody else is at it, try again".
    assert set(outcomes.values()) <= {"won", "ObjectExists", "StorageUnavailable"}


def test_put_replaces_and_takes_nothing_at_all(storage: Storage) -> None:
    storage.put("a", b"something")
    assert storage.put("a", b"").size_bytes == 0
    assert read(storage, "a") == b""


@pytest.mark.parametrize("offset", [0, 1, 1023, 1024 * 1024, 3 * 1024 * 1024 - 1])
def test_open_stream_starts_anywhere(storage: Storage, offset: int) -> None:
    data = payload(3 * 1024 * 1024)
    storage.put("a", data)

    chunks = list(storage.open_stream("a", offset=offset))

    assert b"".join(chunks) == data[offset:]
    assert all(0 < len(chunk) <= 1024 * 1024 for chunk in chunks)


@pytest.mark.parametrize("size_bytes", [0, 10])
def test_open_stream_at_the_end_is_empty(storage: Storage, size_bytes: int) -> None:
    storage.put("a", payload(size_bytes))

    assert read(storage, "a", offset=size_bytes) == b""


def test_streams_that_are_not_read_to_their_end_leave_the_storage_usable(storage: Storage) -> None:
    storage.put("a", payload(4 * 1024 * 1024))
    for _ in range(30):  # more than there are connections in a pool
        stream = storage.open_stream("a")
        next(stream)
        stream.close()
    storage.open_stream("a").close()

    assert storage.stat("a").size_bytes == 4 * 1024 * 1024


def test_delete_of_the_absent_is_fine(storage: Storage) -> None:
    storage.put("a", b"")
    storage.put("b", b"")

    storage.delete(["a", "none/such", "a"])
    storage.delete([])

    assert keys(storage) == ["b"]


def test_uploads_of_different_keys_run_at_once(storage: Storage) -> None:
    contents = {f"up/{number}": payload(PART_BYTES + number, str(number)) for number in range(4)}

    _in_threads(lambda number: upload(storage, f"up/{number}", contents[f"up/{number}"]), 4)

    for key, data in contents.items():
        assert read(storage, key) == data


def _in_threads(function: Callable[[int], object], count: int) -> None:
    with ThreadPoolExecutor(count) as pool:
        list(pool.map(function, range(count)))
