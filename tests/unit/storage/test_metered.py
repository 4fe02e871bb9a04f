"""The meter hears of each call once, with what it moved and how it ended."""

from __future__ import annotations

import pytest

from controller.api.errors import ObjectNotFound, StorageUnavailable
from runner.storage.memory import MemoryStorage
from runner.storage.metered import Metered
from tests.unit.storage.scripted import ScriptedStorage


class Clock:
    """Moves on by one second each time it is read."""

    now = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


class Notes:
    def __init__(self) -> None:
        self.records: list[tuple[str, int, float, str]] = []

    def record(self, operation: str, /, *, size_bytes: int, duration_s: float, reason: str) -> None:
        self.records.append((operation, size_bytes, duration_s, reason))


@pytest.fixture
def notes() -> Notes:
    return Notes()


@pytest.fixture
def scripted() -> ScriptedStorage:
    return ScriptedStorage(MemoryStorage())


@pytest.fixture
def storage(scripted: ScriptedStorage, notes: Notes) -> Metered:
    return Metered(scripted, notes, monotonic=Clock())


def test_calls_are_counted_with_their_bytes(storage: Metered, notes: Notes) -> None:
    storage.put("a", b"12")
    storage.put_new("b", b"123")
    upload = storage.create_upload("c")
    upload.put_part(1, b"1234")
    upload.complete()
    upload.abort()
    storage.stat("a")
    list(storage.list(""))
    storage.delete(["a"])
    storage.abort_stale_uploads("")

    assert notes.records == [
        ("put", 2, 1.0, ""),
        ("put_new", 3, 1.0, ""),
        ("create_upload", 0, 1.0, ""),
        ("put_part", 4, 1.0, ""),
        ("complete", 0, 1.0, ""),
        ("abort", 0, 1.0, ""),
        ("stat", 0, 1.0, ""),
        ("list", 0, 1.0, ""),
        ("delete", 0, 1.0, ""),
        ("abort_stale_uploads", 0, 1.0, ""),
    ]


def test_a_failed_call_moved_nothing_and_has_a_reason(
    scripted: ScriptedStorage, storage: Metered, notes: Notes
) -> None:
    scripted.faults["put"] = [StorageUnavailable("down")]

    with pytest.raises(StorageUnavailable):
        storage.put("a", b"12")
    with pytest.raises(ObjectNotFound):
        list(storage.open_stream("none"))

    assert notes.records == [
        ("put", 0, 1.0, "StorageUnavailable"),
        ("open_stream", 0, 1.0, "ObjectNotFound"),
    ]


def test_a_stream_counts_at_its_end_without_its_readers_time(
    storage: Metered, scripted: ScriptedStorage, notes: Notes
) -> None:
    scripted.inner.put("a", bytes(3 * 1024 * 1024))
    stream = storage.open_stream("a")
    next(stream)
    storage._monotonic.now += 1000  # type: ignore[attr-defined] - the reader thinks

    assert len(list(stream)) == 2
    # Three chunks and the end.
    assert notes.records == [("open_stream", 3 * 1024 * 1024, 4.0, "")]


def test_a_stream_that_is_closed_early_counts_what_it_gave(
    storage: Metered, scripted: ScriptedStorage, notes: Notes
) -> None:
    scripted.inner.put("a", bytes(3 * 1024 * 1024))
    stream = storage.open_stream("a")
    next(stream)
    stream.close()

    assert notes.records == [("open_stream", 1024 * 1024, 1.0, "")]
