"""A resumable upload keeps its place, whatever gets lost between request and answer."""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Iterator

import pytest

from controller.api.errors import (
    ChecksumMismatch,
    ObjectNotFound,
    StorageUnavailable,
    TerminalError,
)
from runner.storage.connection import Connection
from runner.storage.gcs import GcsStorage
from runner.storage.retrying import Retrying, RetryPolicy
from tests.servers.resumable import UNIT_BYTES, ResumableServer

PART_BYTES = 2 * UNIT_BYTES
DATA = hashlib.shake_128(b"gcs").digest(2 * PART_BYTES + 3)
PARTS = (DATA[:PART_BYTES], DATA[PART_BYTES : 2 * PART_BYTES], DATA[2 * PART_BYTES :])


@pytest.fixture
def server() -> Iterator[ResumableServer]:
    with ResumableServer() as running:
        yield running


@pytest.fixture
def gcs(server: ResumableServer) -> Iterator[GcsStorage]:
    made = GcsStorage(
        Connection(location="gcs", bucket="b", endpoint=server.endpoint, secure=False),
        part_size_bytes=PART_BYTES,
    )
    with contextlib.closing(made):
        yield made


@pytest.fixture
def retrying(gcs: GcsStorage) -> Retrying:
    return Retrying(gcs, policy=RetryPolicy(first_delay_s=0.01), stop=threading.Event())


def _upload(storage: GcsStorage | Retrying) -> int:
    one = storage.create_upload("k")
    for number, part in enumerate(PARTS, start=1):
        one.put_part(number, part)
    return one.complete().size_bytes


def test_only_the_last_request_names_the_total_and_its_checksum(
    server: ResumableServer, gcs: GcsStorage
) -> None:
    assert _upload(gcs) == len(DATA)

    assert server.objects == {"k": DATA}
    assert server.ranges == [
        f"bytes 0-{PART_BYTES - 1}/*",
        f"bytes {PART_BYTES}-{2 * PART_BYTES - 1}/*",
        f"bytes {2 * PART_BYTES}-{len(DATA) - 1}/{len(DATA)}",
    ]
    assert server.hashes == [f"crc32c={server.describe('k')['crc32c']}"]


def test_a_whole_last_part_is_followed_by_the_total_alone(
    server: ResumableServer, gcs: GcsStorage
) -> None:
    one = gcs.create_upload("k")
    one.put_part(1, PARTS[0])
    one.complete()

    assert server.ranges[-1] == f"bytes */{PART_BYTES}"
    assert server.objects == {"k": PARTS[0]}


def test_what_the_server_did_not_store_is_sent_again(
    server: ResumableServer, gcs: GcsStorage
) -> None:
    server.stored_limit_bytes = UNIT_BYTES

    _upload(gcs)

    assert server.objects == {"k": DATA}
    assert f"bytes {UNIT_BYTES}-{PART_BYTES - 1}/*" in server.ranges


@pytest.mark.parametrize("lost", [1, 2, 3])
def test_lost_answers_store_nothing_twice(
    server: ResumableServer, retrying: Retrying, lost: int
) -> None:
    server.lose_answers = lost

    assert _upload(retrying) == len(DATA)

    assert server.objects == {"k": DATA}
    assert "bytes */*" in server.ranges


def test_lost_requests_are_sent_again(server: ResumableServer, retrying: Retrying) -> None:
    server.lose_requests = 2

    assert _upload(retrying) == len(DATA)
    assert server.objects == {"k": DATA}


def test_a_part_that_failed_is_resumed_in_its_middle(
    server: ResumableServer, gcs: GcsStorage
) -> None:
    one = gcs.create_upload("k")
    server.stored_limit_bytes = UNIT_BYTES
    server.lose_answers = 1
    with pytest.raises(StorageUnavailable, match="put_part 'k'"):
        one.put_part(1, PARTS[0])

    for number, part in enumerate(PARTS, start=1):
        one.put_part(number, part)
    one.complete()

    assert server.ranges[1] == "bytes */*"
    assert server.ranges[2] == f"bytes {UNIT_BYTES}-{PART_BYTES - 1}/*"
    assert server.objects == {"k": DATA}


def test_complete_finds_that_it_had_finished(server: ResumableServer, gcs: GcsStorage) -> None:
    one = gcs.create_upload("k")
    one.put_part(1, b"all of it")
    server.lose_answers = 1
    with pytest.raises(StorageUnavailable):
        one.complete()

    assert one.complete().size_bytes == 9


def test_complete_finds_its_object_when_the_session_is_forgotten(
    server: ResumableServer, gcs: GcsStorage
) -> None:
    one = gcs.create_upload("k")
    one.put_part(1, b"all of it")
    server.lose_answers = 1
    with pytest.raises(StorageUnavailable):
        one.complete()
    server.session_lost = True

    assert one.complete().size_bytes == 9


def test_a_forgotten_session_without_an_object_is_an_error(
    server: ResumableServer, gcs: GcsStorage
) -> None:
    one = gcs.create_upload("k")
    one.put_part(1, b"all of it")
    server.session_lost = True

    with pytest.raises(ObjectNotFound):
        one.complete()


def test_damaged_data_is_found_and_removed(server: ResumableServer, gcs: GcsStorage) -> None:
    server.flip_bit = True

    with pytest.raises(ChecksumMismatch, match="not what was sent"):
        _upload(gcs)

    assert server.objects == {}


def test_other_content_for_a_stored_part_is_refused(gcs: GcsStorage) -> None:
    one = gcs.create_upload("k")
    one.put_part(1, PARTS[0])

    with pytest.raises(TerminalError, match="other content"):
        one.put_part(1, PARTS[1])
    with pytest.raises(TerminalError, match="does not follow"):
        one.put_part(3, PARTS[1])


def test_abort_cancels_the_session(server: ResumableServer, gcs: GcsStorage) -> None:
    one = gcs.create_upload("k")
    one.put_part(1, PARTS[0])

    one.abort()
    one.abort()

    assert server.uploads == {}
    assert server.objects == {}


def test_errors_do_not_show_the_url_of_the_session(
    server: ResumableServer, gcs: GcsStorage
) -> None:
    one = gcs.create_upload("k")
    [upload_id] = server.uploads
    server.lose_requests = 1

    with pytest.raises(StorageUnavailable) as caught:
        one.put_part(1, PARTS[0])

    assert upload_id not in str(caught.value)
