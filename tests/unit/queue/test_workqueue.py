"""The work queue's promises, one by one; test_workqueue_model.py has all of them at random."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from controller.process.clock import SystemClock
from controller.queue.ratelimit import ExponentialPerKey
from controller.queue.workqueue import QueueStats, WorkQueue
from tests.fakes.clock import FakeClock


class Measured:
    def __init__(self) -> None:
        self.queued_s: list[float] = []
        self.worked_s: list[float] = []

    def queued(self, seconds: float) -> None:
        self.queued_s.append(seconds)

    def worked(self, seconds: float) -> None:
        self.worked_s.append(seconds)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def measured() -> Measured:
    return Measured()


@pytest.fixture
def queue(clock: FakeClock, measured: Measured) -> WorkQueue[str]:
    limiter = ExponentialPerKey[str](first_s=1.0, cap_s=60.0, jitter=lambda: 0.0)
    return WorkQueue(limiter, clock=clock, metrics=measured)


class Getter:
    """A thread that gets one key."""

    def __init__(self, get: Callable[[], str | None]) -> None:
        self.got: list[str | None] = []
        # A daemon, so that a test whose queue lost a key fails instead of hanging.
        self._thread = threading.Thread(target=lambda: self.got.append(get()), daemon=True)
        self._thread.start()

    def result(self) -> str | None:
        self._thread.join(5)
        return self.got[0]


def test_keys_come_out_in_the_order_of_their_first_add(queue: WorkQueue[str]) -> None:
    for key in "abcab":
        queue.add(key)

    assert [queue.get(), queue.get(), queue.get()] == ["a", "b", "c"]
    assert len(queue) == 0


def test_add_while_processing_hands_the_key_out_again_after_done(queue: WorkQueue[str]) -> None:
    queue.add("a")
    queue.get()

    queue.add("a")
    depth_while_processing = len(queue)
    queue.done("a")

    assert depth_while_processing == 0
    assert queue.get() == "a"


def test_collapse_while_processing_makes_many_adds_one(queue: WorkQueue[str]) -> None:
    queue.add("a")
    queue.get()

    for _ in range(5):
        queue.add("a")
    queue.done("a")

    assert queue.get() == "a"
    queue.done("a")
    assert len(queue) == 0


def test_done_without_an_add_leaves_nothing(queue: WorkQueue[str]) -> None:
    queue.add("a")
    queue.get()

    queue.done("a")

    assert len(queue) == 0


def test_a_key_that_comes_again_queues_behind_the_others(queue: WorkQueue[str]) -> None:
    queue.add("a")
    queue.get()
    queue.add("a")
    queue.add("b")

    queue.done("a")

    assert [queue.get(), queue.get()] == ["b", "a"]


def test_done_of_a_key_that_nobody_has_is_a_defect(queue: WorkQueue[str]) -> None:
    queue.add("a")

    with pytest.raises(KeyError):
        queue.done("a")


def test_get_wakes_when_a_key_is_added(queue: WorkQueue[str], clock: FakeClock) -> None:
    getter = Getter(queue.get)
    clock.wait_for_waiters(1)

    queue.add("a")

    assert getter.result() == "a"


def test_a_delayed_key_comes_when_it_is_due_and_not_before(
    queue: WorkQueue[str], clock: FakeClock
) -> None:
    queue.add_after("a", 10)
    getter = Getter(queue.get)
    clock.wait_for_waiters(1)

    clock.advance(9.5)
    clock.wait_for_waiters(1)
    assert getter.got == []
    clock.advance(0.5)

    assert getter.result() == "a"


def test_a_key_that_came_due_while_all_workers_are_busy_counts_as_queued(
    queue: WorkQueue[str], clock: FakeClock
) -> None:
    queue.add_after("a", 10)

    clock.advance(10)

    assert (queue.stats().depth, queue.stats().delayed) == (1, 0)


def test_a_delay_of_nothing_is_an_add(queue: WorkQueue[str]) -> None:
    queue.add_after("a", 0)

    assert queue.get() == "a"


def test_an_earlier_delay_wakes_who_waits_for_a_later_one(
    queue: WorkQueue[str], clock: FakeClock
) -> None:
    queue.add_after("late", 100)
    getter = Getter(queue.get)
    clock.wait_for_waiters(1)

    queue.add_after("early", 1)
    clock.advance(1)

    assert getter.result() == "early"


def test_of_two_delays_of_a_key_the_earlier_end_counts_once(
    queue: WorkQueue[str], clock: FakeClock
) -> None:
    for delay_s in (50, 10, 30):
        queue.add_after("a", delay_s)

    clock.advance(10)
    assert queue.get() == "a"
    queue.done("a")
    clock.advance(1000)
    queue.add("marker")

    assert queue.get() == "marker"
    assert queue.stats().delayed == 0


def test_an_add_does_not_cancel_a_delayed_one(queue: WorkQueue[str], clock: FakeClock) -> None:
    queue.add_after("a", 10)
    queue.add("a")
    queue.get()
    queue.done("a")

    clock.advance(10)

    assert queue.get() == "a"


class CountingClock(SystemClock):
    """The real one, which wakes no worker but by time: the fake one wakes all."""

    def __init__(self) -> None:
        self.waits = threading.Semaphore(0)

    def wait(self, signal: threading.Condition | threading.Event, timeout_s: float | None) -> bool:
        self.waits.release()
        return super().wait(signal, timeout_s)


def test_a_delayed_key_reaches_the_second_worker_when_the_first_is_busy() -> None:
    """Both waited before there was any delay; one is told of the first, nobody of the second."""
    clock = CountingClock()
    queue = WorkQueue(ExponentialPerKey[str](), clock=clock)
    first, second = Getter(queue.get), Getter(queue.get)
    for _ in range(2):
        assert clock.waits.acquire(timeout=5)

    queue.add_after("a", 0.005)
    queue.add_after("b", 0.010)

    assert {first.result(), second.result()} == {"a", "b"}


def test_a_delayed_key_that_is_worked_on_comes_after_done(
    queue: WorkQueue[str], clock: FakeClock
) -> None:
    queue.add("a")
    queue.get()
    queue.add_after("a", 1)
    clock.advance(5)

    queue.done("a")

    assert queue.get() == "a"


def test_a_failed_key_waits_longer_each_time_until_it_is_forgotten(
    queue: WorkQueue[str], clock: FakeClock
) -> None:
    for delay_s in (1, 2, 4):
        queue.add_rate_limited("a")
        clock.advance(delay_s - 0.25)
        assert len(queue) == 0
        clock.advance(0.25)
        assert queue.get() == "a"
        queue.done("a")
    assert queue.num_requeues("a") == 3

    queue.forget("a")
    queue.add_rate_limited("a")
    clock.advance(1)

    assert queue.get() == "a"
    assert queue.num_requeues("a") == 1


def test_forget_leaves_a_key_in_the_queue(queue: WorkQueue[str]) -> None:
    queue.add("a")

    queue.forget("a")

    assert queue.get() == "a"


def test_shut_down_hands_out_the_rest_and_then_nothing(queue: WorkQueue[str]) -> None:
    queue.add("in work")
    queue.get()
    queue.add("in work")
    queue.add("waits")
    queue.add_after("not due", 1)

    queue.shut_down()
    queue.add("late")
    queue.add_after("late", 0)
    queue.add_after("later", 5)
    first = queue.get()
    queue.done("in work")

    assert (first, queue.get(), queue.get()) == ("waits", "in work", None)
    assert queue.stats().delayed == 0


def test_shut_down_wakes_every_worker_that_waits(queue: WorkQueue[str], clock: FakeClock) -> None:
    queue.add_after("a", 10)
    getters = [Getter(queue.get) for _ in range(3)]
    clock.wait_for_waiters(3)

    queue.shut_down()

    assert [getter.result() for getter in getters] == [None, None, None]


def test_a_new_queue_has_zeros_to_show(queue: WorkQueue[str]) -> None:
    assert queue.stats() == QueueStats(
        depth=0, delayed=0, adds=0, retries=0, unfinished_work_s=0.0, longest_running_s=0.0
    )


def test_durations_and_counts_are_told(
    queue: WorkQueue[str], clock: FakeClock, measured: Measured
) -> None:
    queue.add("a")
    queue.add("a")
    queue.add_after("b", 3)
    clock.advance(5)
    queue.get()
    queue.get()
    clock.advance(4)
    queue.done("a")
    queue.add_rate_limited("c")
    clock.advance(0.5)

    assert measured.queued_s == [5.0, 2.0]
    assert measured.worked_s == [4.0]
    assert queue.stats() == QueueStats(
        depth=0, delayed=1, adds=2, retries=1, unfinished_work_s=4.5, longest_running_s=4.5
    )


def test_many_producers_and_workers_lose_no_key_and_share_none(clock: FakeClock) -> None:
    queue = WorkQueue(ExponentialPerKey[int](), clock=clock)
    lock, in_work, seen = threading.Lock(), set[int](), list[int]()
    shared: list[int] = []

    def produce(offset: int) -> None:
        for number in range(400):
            queue.add((number * 7 + offset) % 50)

    def work() -> None:
        while (key := queue.get()) is not None:
            with lock:
                if key in in_work:
                    shared.append(key)
                in_work.add(key)
                seen.append(key)
            with lock:
                in_work.discard(key)
            queue.done(key)

    workers = [threading.Thread(target=work) for _ in range(4)]
    producers = [threading.Thread(target=produce, args=(n,)) for n in range(3)]
    for thread in (*workers, *producers):
        thread.start()
    for thread in producers:
        thread.join(20)
    queue.shut_down()
    for thread in workers:
        thread.join(20)

    assert not shared
    assert set(seen) == set(range(50))
    assert len(queue) == 0
