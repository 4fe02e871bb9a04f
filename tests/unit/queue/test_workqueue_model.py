"""The work queue against a slow, obvious model, under random operations."""

from __future__ import annotations

import threading

import pytest
from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from controller.queue.workqueue import WorkQueue
from tests.fakes.clock import FakeClock

KEYS = st.sampled_from("abcd")


class WouldBlock(Exception):
    """`get` had nothing to hand out."""


class ImpatientClock(FakeClock):
    """Raises where a worker would start to wait: one thread is enough for the model."""

    def wait(self, signal: threading.Condition | threading.Event, timeout_s: float | None) -> bool:
        raise WouldBlock


class ByThree:
    """Three seconds for each failure so far: fractions are test_ratelimit.py's."""

    def __init__(self) -> None:
        self.failures: dict[str, int] = {}

    def next_delay_s(self, key: str) -> float:
        self.failures[key] = self.failures.get(key, 0) + 1
        return 3.0 * self.failures[key]

    def forget(self, key: str) -> None:
        self.failures.pop(key, None)

    def num_requeues(self, key: str) -> int:
        return self.failures.get(key, 0)


class QueueModel(RuleBasedStateMachine):
    """No key twice at once, none lost, first in first out, no delay cut short."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = ImpatientClock()
        self.limiter = ByThree()
        self.queue = WorkQueue[str](self.limiter, clock=self.clock)
        self.ready: list[str] = []
        self.in_work: set[str] = set()
        self.again: list[str] = []
        self.delayed: list[tuple[float, int, str]] = []
        self.failures: dict[str, int] = {}
        self.delays = 0
        self.is_shut_down = False

    def _add(self, key: str) -> None:
        if key in self.ready or key in self.again or self.is_shut_down:
            return
        (self.again if key in self.in_work else self.ready).append(key)

    def _delay(self, key: str, delay_s: float) -> None:
        if self.is_shut_down:
            return
        due = self.clock.monotonic() + delay_s
        waiting = next((entry for entry in self.delayed if entry[2] == key), None)
        if waiting and waiting[0] <= due:
            return
        if waiting:
            self.delayed.remove(waiting)
        self.delays += 1
        self.delayed.append((due, self.delays, key))

    def _promote(self) -> None:
        """Delays end when somebody looks."""
        for entry in sorted(self.delayed):
            if entry[0] <= self.clock.monotonic():
                self.delayed.remove(entry)
                self._add(entry[2])

    @rule(key=KEYS)
    def add(self, key: str) -> None:
        self.queue.add(key)
        self._add(key)

    @rule(key=KEYS, delay_s=st.integers(-1, 9))
    def add_after(self, key: str, delay_s: int) -> None:
        self.queue.add_after(key, delay_s)
        if delay_s <= 0:
            self._add(key)
        else:
            self._delay(key, delay_s)

    @rule(key=KEYS)
    def add_rate_limited(self, key: str) -> None:
        self.queue.add_rate_limited(key)
        self.failures[key] = self.failures.get(key, 0) + 1
        self._delay(key, 3.0 * self.failures[key])

    @rule(key=KEYS)
    def forget(self, key: str) -> None:
        self.queue.forget(key)
        self.failures.pop(key, None)

    @rule(seconds=st.integers(1, 12))
    def advance(self, seconds: int) -> None:
        self.clock.advance(seconds)

    @rule()
    def get(self) -> None:
        self._promote()
        if self.ready:
            expected = self.ready.pop(0)
            assert self.queue.get() == expected
            assert expected not in self.in_work
            self.in_work.add(expected)
        elif self.is_shut_down:
            assert self.queue.get() is None
        else:
            with pytest.raises(WouldBlock):
                self.queue.get()

    @precondition(lambda self: self.in_work)
    @rule(data=st.data())
    def done(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.in_work)))
        self.queue.done(key)
        self.in_work.remove(key)
        if key in self.again:
            self.again.remove(key)
            self.ready.append(key)

    @precondition(lambda self: not self.is_shut_down and len(self.ready) > 1)
    @rule()
    def shut_down(self) -> None:
        self.queue.shut_down()
        self.is_shut_down = True
        self.delayed.clear()

    @invariant()
    def depth_is_known(self) -> None:
        self._promote()
        stats = self.queue.stats()
        assert len(self.queue) == stats.depth == len(self.ready)
        assert stats.delayed == len(self.delayed)

    @invariant()
    def failures_are_counted(self) -> None:
        for key in "abcd":
            assert self.queue.num_requeues(key) == self.failures.get(key, 0)

    def teardown(self) -> None:
        """Whatever was added comes out in the end: nothing is lost."""
        for key in sorted(self.in_work):
            self.queue.done(key)
        expected = set(self.ready) | set(self.again) | {key for *_, key in self.delayed}
        self.clock.advance(10**6)
        left = set[str]()
        try:
            while (key := self.queue.get()) is not None:
                left.add(key)
        except WouldBlock:
            pass
        assert left == expected


QueueModel.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestQueueModel = QueueModel.TestCase
