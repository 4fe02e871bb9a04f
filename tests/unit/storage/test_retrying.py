"""One policy: what is tried again, how often, how long, and what is not."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from hypothesis import given, strategies as st

from controller.api.errors import (
    AccessDenied,
    Cancelled,
    ChecksumMismatch,
    InvalidSpec,
    ObjectExists,
    ObjectNotFound,
    StorageUnavailable,
)
from runner.storage.memory import MemoryStorage
from runner.storage.retrying import Retrying, RetryPolicy
from tests.unit.storage.scripted import ScriptedStorage

DOWN = StorageUnavailable("down")


class Waits(threading.Event):
    """A stop event on which time passes at once: it notes the waits and moves the clock."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float] = []
        self.now = 0.0
        self.set_at_wait: int | None = None

    def wait(self, timeout: float | None = None) -> bool:
        self.waits.append(timeout or 0.0)
        self.now += timeout or 0.0
        if self.set_at_wait == len(self.waits):
            self.set()
        return self.is_set()


@pytest.fixture
def stop() -> Waits:
    return Waits()


@pytest.fixture
def scripted() -> ScriptedStorage:
    return ScriptedStorage(MemoryStorage())


@pytest.fixture
def storage(scripted: ScriptedStorage, stop: Waits) -> Retrying:
    return Retrying(
        scripted, policy=RetryPolicy(), stop=stop, monotonic=lambda: stop.now, jitter=lambda: 1.0
    )


CALLS: dict[str, Callable[[Retrying], object]] = {
    "create_upload": lambda storage: storage.create_upload("k"),
    "put_new": lambda storage: storage.put_new("new", b"x"),
    "put": lambda storage: storage.put("k", b"x"),
    "open_stream": lambda storage: list(storage.open_stream("k")),
    "stat": lambda storage: storage.stat("k"),
    "list": lambda storage: list(storage.list("")),
    "delete": lambda storage: storage.delete(["k"]),
    "abort_stale_uploads": lambda storage: storage.abort_stale_uploads(""),
    "put_part": lambda storage: storage.create_upload("k").put_part(1, b"x"),
    "complete": lambda storage: storage.create_upload("k").complete(),
    "abort": lambda storage: storage.create_upload("k").abort(),
}


@pytest.mark.parametrize("operation", CALLS)
def test_every_operation_is_tried_again_with_growing_waits(
    scripted: ScriptedStorage, storage: Retrying, stop: Waits, operation: str
) -> None:
    scripted.inner.put("k", b"old")
    scripted.faults[operation] = [DOWN, DOWN, DOWN]

    CALLS[operation](storage)

    assert stop.waits == [0.5, 1.0, 2.0]
    assert scripted.calls.count(operation) == 4


@pytest.mark.parametrize("operation", CALLS)
@pytest.mark.parametrize(
    "error",
    [
        AccessDenied("no"),
        ObjectNotFound("no"),
        InvalidSpec("no"),
        ChecksumMismatch("no"),
        ObjectExists("no"),
        RuntimeError("a defect"),
    ],
)
def test_what_waiting_does_not_mend_passes_at_once(
    scripted: ScriptedStorage,
    storage: Retrying,
    stop: Waits,
    operation: str,
    error: Exception,
) -> None:
    scripted.inner.put("k", b"old")
    scripted.faults[operation] = [error]

    with pytest.raises(type(error)):
        CALLS[operation](storage)

    assert stop.waits == []


@pytest.mark.parametrize("operation", CALLS)
def test_attempts_end(
    scripted: ScriptedStorage, storage: Retrying, stop: Waits, operation: str
) -> None:
    scripted.inner.put("k", b"old")
    scripted.faults[operation] = [StorageUnavailable("down")] * 100

    with pytest.raises(StorageUnavailable) as caught:
        CALLS[operation](storage)

    assert scripted.calls.count(operation) == RetryPolicy().max_attempts
    assert caught.value.__notes__ == ["given up after 6 attempts"]


@pytest.mark.parametrize(
    "operation", sorted(set(CALLS) - {"abort", "abort_stale_uploads", "put_part", "complete"})
)
def test_after_one_was_given_up_a_call_is_tried_once_until_one_succeeds(
    scripted: ScriptedStorage, storage: Retrying, stop: Waits, operation: str
) -> None:
    """A job asks a location several times: one that is down holds it up once."""
    scripted.inner.put("k", b"old")
    scripted.faults["delete"] = [StorageUnavailable("down")] * RetryPolicy().max_attempts
    with pytest.raises(StorageUnavailable):
        storage.delete(["other"])
    scripted.calls.clear()
    stop.waits.clear()
    scripted.faults[operation] = [StorageUnavailable("down")]

    with pytest.raises(StorageUnavailable) as caught:
        CALLS[operation](storage)
    assert stop.waits == []
    assert caught.value.__notes__ == ["not tried again: the last call was given up already"]
    CALLS[operation](storage)
    scripted.faults["stat"] = [StorageUnavailable("down")]
    scripted.inner.put("k", b"old")
    storage.stat("k")
    assert stop.waits == [0.5]


def test_what_has_to_be_taken_back_is_tried_as_often_as_ever(
    scripted: ScriptedStorage, storage: Retrying
) -> None:
    upload = storage.create_upload("k")
    scripted.faults["put_part"] = [StorageUnavailable("down")] * RetryPolicy().max_attempts
    with pytest.raises(StorageUnavailable):
        upload.put_part(1, b"x")
    scripted.faults["abort"] = [StorageUnavailable("down")] * 3

    upload.abort()

    assert scripted.calls.count("abort") == 4


def test_the_deadline_ends_attempts_that_take_long(scripted: ScriptedStorage, stop: Waits) -> None:
    policy = RetryPolicy(max_attempts=1000, first_delay_s=10, max_delay_s=40, deadline_s=100)
    storage = Retrying(
        scripted, policy=policy, stop=stop, monotonic=lambda: stop.now, jitter=lambda: 1.0
    )
    scripted.faults["stat"] = [StorageUnavailable("down")] * 100

    with pytest.raises(StorageUnavailable) as caught:
        storage.stat("k")

    assert stop.waits == [10, 20, 40]  # the next would end at 110
    assert caught.value.__notes__ == ["given up after 70 s"]


@pytest.mark.parametrize("operation", sorted(set(CALLS) - {"abort"}))
def test_stop_ends_the_wait(
    scripted: ScriptedStorage, storage: Retrying, stop: Waits, operation: str
) -> None:
    scripted.inner.put("k", b"old")
    scripted.faults[operation] = [DOWN] * 3
    stop.set_at_wait = 2

    with pytest.raises(Cancelled):
        CALLS[operation](storage)

    assert len(stop.waits) == 2


def test_abort_is_tried_even_when_stopped_already(
    scripted: ScriptedStorage, storage: Retrying, stop: Waits
) -> None:
    upload = storage.create_upload("k")
    stop.set()

    upload.abort()

    assert scripted.calls[-1] == "abort"
    scripted.faults["abort"] = [DOWN]
    upload.abort()  # fails, and there is no time left to try again


def test_a_stream_is_resumed_where_it_was_cut(
    scripted: ScriptedStorage, storage: Retrying, stop: Waits
) -> None:
    scripted.inner.put("k", bytes(range(100)))
    scripted.cut_streams = [(10, DOWN), (0, DOWN), (20, DOWN)]

    assert b"".join(storage.open_stream("k", offset=5)) == bytes(range(5, 100))

    assert scripted.calls == [f"open_stream@{at}" for at in (5, 15, 15, 35)]


def test_a_stream_that_makes_progress_is_never_given_up(
    scripted: ScriptedStorage, storage: Retrying
) -> None:
    scripted.inner.put("k", bytes(range(100)))
    scripted.cut_streams = [(1, DOWN)] * 50

    assert b"".join(storage.open_stream("k")) == bytes(range(100))


def test_a_stream_without_progress_is_given_up(
    scripted: ScriptedStorage, storage: Retrying
) -> None:
    scripted.inner.put("k", b"x" * 100)
    scripted.cut_streams = [(1, DOWN)] + [(0, StorageUnavailable("down"))] * 50

    with pytest.raises(StorageUnavailable):
        list(storage.open_stream("k"))
    assert len(scripted.calls) == RetryPolicy().max_attempts


def test_a_list_goes_on_after_the_last_key(scripted: ScriptedStorage, storage: Retrying) -> None:
    wanted = [f"k{number}" for number in range(9)]
    for key in wanted:
        scripted.inner.put(key, b"")
    scripted.cut_lists = [(3, DOWN), (2, DOWN), (7, DOWN)]

    assert [info.key for info in storage.list("k")] == wanted


@pytest.mark.parametrize("is_late", [True, False])
def test_put_new_takes_its_own_object_for_its_own(
    scripted: ScriptedStorage, storage: Retrying, is_late: bool
) -> None:
    (scripted.late if is_late else scripted.faults)["put_new"] = [DOWN]

    info = storage.put_new("k", b"mine")

    assert info == scripted.inner.stat("k")
    assert b"".join(storage.open_stream("k")) == b"mine"


@pytest.mark.parametrize("other", [b"", b"min", b"MINE", b"mine and more"])
def test_put_new_does_not_take_anothers_object_for_its_own(
    scripted: ScriptedStorage, storage: Retrying, other: bytes
) -> None:
    scripted.inner.put("k", other)
    scripted.faults["put_new"] = [DOWN]

    with pytest.raises(ObjectExists):
        storage.put_new("k", b"mine")


def test_put_new_with_a_clear_answer_does_not_look(
    scripted: ScriptedStorage, storage: Retrying
) -> None:
    scripted.inner.put("k", b"mine")

    with pytest.raises(ObjectExists):
        storage.put_new("k", b"mine")
    assert scripted.calls == ["put_new"]


def test_a_part_whose_answer_was_lost_counts_once(
    scripted: ScriptedStorage, storage: Retrying
) -> None:
    scripted.late["put_part"] = [DOWN, DOWN]
    upload = storage.create_upload("k")
    upload.put_part(1, b"first ")
    upload.put_part(2, b"second")

    upload.complete()

    assert b"".join(storage.open_stream("k")) == b"first second"


@given(
    failures=st.integers(1, 200),
    jitter=st.floats(0, 1),
    first_delay_s=st.floats(0.001, 10),
    max_delay_s=st.floats(0.001, 100),
)
def test_delays_grow_and_are_capped(
    failures: int, jitter: float, first_delay_s: float, max_delay_s: float
) -> None:
    policy = RetryPolicy(first_delay_s=first_delay_s, max_delay_s=max_delay_s)

    delay_s = policy.delay_s(failures, jitter)

    assert 0 < delay_s <= max_delay_s
    assert delay_s <= policy.delay_s(failures + 1, jitter)
