"""The real clock and the fake one keep the same promises."""

from __future__ import annotations

import threading
from datetime import timedelta

from controller.process.clock import Clock, SystemClock
from tests.fakes.clock import START, FakeClock


def test_the_system_clock_is_aware_and_never_falls() -> None:
    clock: Clock = SystemClock()

    first, second = clock.monotonic(), clock.monotonic()

    assert clock.now().utcoffset() == timedelta()
    assert first <= second


def test_the_system_clock_returns_when_the_event_is_set_or_time_is_up() -> None:
    clock, event = SystemClock(), threading.Event()

    timed_out = clock.wait(event, 0.01)
    overdue = clock.wait(event, -5.0)
    event.set()

    assert (timed_out, overdue, clock.wait(event, None)) == (False, False, True)


def test_the_system_clock_waits_on_a_condition() -> None:
    clock, condition = SystemClock(), threading.Condition()

    with condition:
        assert clock.wait(condition, 0.01) is False


def waiter(
    clock: FakeClock, event: threading.Event, timeout_s: float
) -> tuple[threading.Thread, list[bool]]:
    results: list[bool] = []
    thread = threading.Thread(target=lambda: results.append(clock.wait(event, timeout_s)))
    thread.start()
    clock.wait_for_waiters(1)
    return thread, results


def test_the_fake_clock_times_out_exactly_when_advanced_so_far() -> None:
    clock, event = FakeClock(), threading.Event()
    thread, results = waiter(clock, event, 10)

    clock.advance(9.5)
    clock.wait_for_waiters(1)
    assert results == []
    clock.advance(0.5)
    thread.join(5)

    assert results == [False]
    assert clock.now() == START + timedelta(seconds=10)


def test_the_fake_clock_wakes_when_the_event_is_set() -> None:
    clock, event = FakeClock(), threading.Event()
    thread, results = waiter(clock, event, 10)

    event.set()
    thread.join(5)

    assert results == [True]


def test_the_fake_clock_wakes_a_waiter_on_a_condition() -> None:
    clock, condition = FakeClock(), threading.Condition()
    results: list[bool] = []

    def wait() -> None:
        with condition:
            results.append(clock.wait(condition, 10))

    thread = threading.Thread(target=wait)
    thread.start()
    clock.wait_for_waiters(1)
    with condition:
        condition.notify_all()
    thread.join(5)

    assert results == [True]


def test_the_fake_clock_does_not_wait_for_what_is_overdue() -> None:
    clock, condition = FakeClock(), threading.Condition()

    with condition:
        assert clock.wait(condition, 0) is False


def test_a_wall_clock_that_jumps_moves_no_timeout() -> None:
    clock = FakeClock()
    before = clock.monotonic()

    clock.set_wall(START - timedelta(days=1))

    assert (clock.now(), clock.monotonic()) == (START - timedelta(days=1), before)
