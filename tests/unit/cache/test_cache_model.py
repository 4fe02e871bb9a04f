"""Reflector, store and handlers against an API server, under random faults.

Whatever happens on the way: a step that ends in order leaves the store as the
server is, and what handlers were told adds up to it.
"""

from __future__ import annotations

import threading
from typing import Any

from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from controller.api.errors import ApiExpired, ApiThrottled, ApiUnavailable, FormatError
from controller.api.keys import ObjectKey
from controller.cache.informer import Informer
from controller.cache.reflector import Ending
from controller.cache.store import Change, Store
from tests.fakes.clock import FakeClock
from tests.fakes.listwatch import Cut, FakeKind

NAMES = st.sampled_from("abcde")
FAULTS = st.sampled_from(
    [
        ApiUnavailable("refused"),
        ApiThrottled("slow down", retry_after_s=2),
        ApiExpired("gone"),
        FormatError("a line is not JSON"),
        ZeroDivisionError("a defect"),
    ]
)


def project(object_raw: Any) -> tuple[object, object]:
    return object_raw["colour"], object_raw["metadata"]["name"]


class CacheModel(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.kind = FakeKind(self.clock)
        self.stop = threading.Event()
        self.store = Store(project, indexers={"colour": lambda value: [value[0]]})
        self.informer = Informer(
            "things", self.kind, self.store, clock=self.clock, jitter=lambda: 0.0
        )
        self.informer.add_handler(self._told)
        self.told: dict[ObjectKey, tuple[object, object]] = {}

    def _told(self, change: Change[tuple[object, object]]) -> None:
        assert self.told.get(change.key) == change.old
        assert change.old != change.new
        if change.new is None:
            del self.told[change.key]
        else:
            self.told[change.key] = change.new

    def _cached(self) -> dict[ObjectKey, tuple[object, object]]:
        return dict(zip(self.store.keys(), self.store.values(), strict=True))

    def _real(self) -> dict[ObjectKey, tuple[object, object]]:
        return {key: project(raw) for key, raw in self.kind.objects().items()}

    def _step(self, cut: Cut) -> Ending:
        """Run one step and wait as it says; give how it ended."""
        before = self.informer.counts().endings
        self.kind.cut_watch(cut)
        delay_s = self.informer.list_and_watch_once(self.stop)
        self.kind.forget_script()
        after = self.informer.counts().endings
        (ending,) = (ending for ending in Ending if after[ending] > before[ending])
        assert 0 <= delay_s <= 30
        assert delay_s > 0 or ending in {Ending.CLOSED, Ending.EXPIRED}
        self.clock.advance(delay_s)
        return ending

    @rule(name=NAMES, colour=st.sampled_from(["red", "blue"]), noise=st.integers(0, 3))
    def put(self, name: str, colour: str, noise: int) -> None:
        self.kind.put(name, colour=colour, noise=noise)

    @precondition(lambda self: self.kind.objects())
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.kind.objects())))
        self.kind.delete(key.name)

    @rule()
    def compact(self) -> None:
        self.kind.compact()

    @rule()
    def bookmark(self) -> None:
        self.kind.bookmark()

    @rule(lasts_s=st.sampled_from([0, 60]))
    def step_in_order(self, lasts_s: int) -> None:
        lists = self.informer.counts().lists

        ending = self._step(Cut(lasts_s=lasts_s))

        if ending in {Ending.CLOSED, Ending.TOO_SHORT}:
            assert self._cached() == self._real()
        else:
            assert ending is Ending.EXPIRED
            assert self.informer.counts().lists == lists

    @rule(fault=FAULTS, after=st.integers(0, 4))
    def step_that_breaks(self, fault: Exception, after: int) -> None:
        self._step(Cut(after=after, error=fault))

    @rule(fault=FAULTS)
    def step_whose_watch_is_refused(self, fault: Exception) -> None:
        self.kind.fail_watch(fault)
        self._step(Cut())

    @rule(fault=FAULTS)
    def step_whose_list_fails_if_there_is_one(self, fault: Exception) -> None:
        self.kind.fail_list(fault)
        self._step(Cut(lasts_s=60))

    @invariant()
    def handlers_were_told_all(self) -> None:
        assert self.told == self._cached()

    @invariant()
    def indexes_agree(self) -> None:
        for colour in ("red", "blue"):
            assert set(self.store.index_keys("colour", colour)) == {
                key for key, value in self.told.items() if value[0] == colour
            }

    def teardown(self) -> None:
        """Without new faults, a few steps make it right."""
        for _ in range(3):
            self._step(Cut(lasts_s=60))
        assert self._cached() == self._real() == self.told


CacheModel.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestCacheModel = CacheModel.TestCase
