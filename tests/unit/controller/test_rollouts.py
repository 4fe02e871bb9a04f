"""When a runner may be replaced."""

from __future__ import annotations

from typing import Any

import pytest

from controller.api.keys import ObjectKey
from controller.api.lease import BUSY_UNTIL
from controller.rollouts import BusyRunners, Rollouts
from tests.fakes.clock import FakeClock

A, B, C = (ObjectKey("db", name) for name in "abc")


UNTIL = "2026-11-23T12:00:00Z"
RENEWED = "2026-11-23T09:59:30.123456Z"


def a_lease(until: str | None = UNTIL, renewed: str | None = RENEWED) -> dict[str, Any]:
    annotations = {BUSY_UNTIL: until} if until else {}
    spec = {"renewTime": renewed, "leaseDurationSeconds": 90} if renewed else {}
    return {"metadata": {"name": "a", "annotations": annotations}, "spec": spec}


class TestBusy:
    def test_a_job_that_runs_is_seen(self) -> None:
        until = BusyRunners(FakeClock()).busy_until(A, a_lease())

        assert until is not None
        assert until.isoformat() == "2026-11-23T12:00:00+00:00"

    @pytest.mark.parametrize(
        "lease",
        [
            None,
            {"metadata": {"name": "a"}},
            a_lease(until=None),
            a_lease(renewed=None),
            a_lease(until="2026-11-23T09:50:00Z"),  # over, by any clock
            a_lease(until="tomorrow"),
        ],
    )
    def test_anything_else_is_no_job(self, lease: dict[str, Any] | None) -> None:
        assert BusyRunners(FakeClock()).busy_until(A, lease) is None

    @pytest.mark.parametrize("renewed", ["2026-11-23T09:30:00Z", "2026-11-23T10:30:00Z"])
    def test_a_runner_whose_clock_is_another_is_dead_only_when_it_stops_to_renew(
        self, renewed: str
    ) -> None:
        clock = FakeClock()
        busy = BusyRunners(clock)
        assert busy.busy_until(A, a_lease(renewed="2026-11-23T09:00:00Z"))
        clock.advance(89)
        assert busy.busy_until(A, a_lease(renewed=renewed))

        clock.advance(89)
        assert busy.busy_until(A, a_lease(renewed=renewed))
        clock.advance(1)
        assert busy.busy_until(A, a_lease(renewed=renewed)) is None

    def test_a_job_whose_end_has_just_passed_here_may_still_run_there(self) -> None:
        assert BusyRunners(FakeClock()).busy_until(A, a_lease(until="2026-11-23T09:51:00Z"))

    def test_one_runner_is_not_judged_by_anothers_lease(self) -> None:
        clock = FakeClock()
        busy = BusyRunners(clock)
        busy.busy_until(A, a_lease())
        clock.advance(90)

        assert busy.busy_until(B, a_lease())
        assert busy.busy_until(A, a_lease()) is None


class TestFewAtATime:
    def test_so_many_and_no_more(self) -> None:
        rollouts = Rollouts(
            max_rolling=2, is_complete=lambda _: False, seen_rolling=tuple, clock=FakeClock()
        )

        assert [rollouts.begin(key) for key in (A, B, C)] == [True, True, False]
        assert rollouts.begin(A)  # its own place is still its own

    def test_a_place_is_free_when_a_runner_is_up_again(self) -> None:
        complete: set[ObjectKey] = set()
        clock = FakeClock()
        rollouts = Rollouts(
            max_rolling=1, is_complete=complete.__contains__, seen_rolling=tuple, clock=clock
        )
        rollouts.begin(A)
        clock.advance(6)
        assert not rollouts.begin(B)

        complete.add(A)

        assert rollouts.begin(B)

    def test_a_cache_that_has_not_seen_the_change_yet_frees_no_place(self) -> None:
        clock = FakeClock()
        rollouts = Rollouts(
            max_rolling=1, is_complete=lambda _: True, seen_rolling=tuple, clock=clock
        )
        rollouts.begin(A)

        clock.advance(1)

        assert not rollouts.begin(B)

    def test_a_runner_that_never_comes_up_holds_nobody_up_for_ever(self) -> None:
        clock = FakeClock()
        rollouts = Rollouts(
            max_rolling=1, is_complete=lambda _: False, seen_rolling=tuple, clock=clock
        )
        rollouts.begin(A)

        clock.advance(599)
        assert not rollouts.begin(B)
        clock.advance(2)
        assert rollouts.begin(B)

    def test_what_an_earlier_leader_began_counts(self) -> None:
        seen = {A}
        rollouts = Rollouts(
            max_rolling=2,
            is_complete=lambda _: False,
            seen_rolling=lambda: seen,
            clock=FakeClock(),
        )

        assert rollouts.begin(B)
        assert rollouts.begin(A)  # it has its place already
        assert not rollouts.begin(C)

    def test_what_is_seen_of_its_own_is_not_counted_twice(self) -> None:
        rollouts = Rollouts(
            max_rolling=2,
            is_complete=lambda _: False,
            seen_rolling=lambda: [A],
            clock=FakeClock(),
        )

        assert rollouts.begin(A)
        assert rollouts.begin(B)


class TestHoldingBack:
    def a_full_one(self, clock: FakeClock) -> Rollouts:
        rollouts = Rollouts(
            max_rolling=1, is_complete=lambda _: False, seen_rolling=tuple, clock=clock
        )
        assert rollouts.begin(A)
        return rollouts

    def test_nobody_is_asked_for_a_job_while_there_is_no_place(self) -> None:
        rollouts = self.a_full_one(FakeClock())

        def busy_until() -> None:
            pytest.fail("a request, and for nothing")

        held_back = rollouts.hold_back(B, busy_until=busy_until, is_up=True)
        assert held_back is not None
        assert "other runners" in held_back.why

    def test_one_that_is_busy_takes_no_place(self) -> None:
        clock = FakeClock()
        rollouts = Rollouts(
            max_rolling=1, is_complete=lambda _: False, seen_rolling=tuple, clock=clock
        )

        held_back = rollouts.hold_back(A, busy_until=clock.now, is_up=True)
        assert held_back is not None
        assert "its job, which ends by" in held_back.why
        assert rollouts.hold_back(B, busy_until=lambda: None, is_up=True) is None

    def test_one_that_is_down_needs_no_place_and_waits_for_its_job_all_the_same(self) -> None:
        clock = FakeClock()
        rollouts = self.a_full_one(clock)

        assert rollouts.hold_back(B, busy_until=lambda: None, is_up=False) is None
        assert rollouts.hold_back(C, busy_until=clock.now, is_up=False) is not None

    def test_the_more_wait_the_later_each_looks_again(self) -> None:
        clock = FakeClock()
        rollouts = self.a_full_one(clock)
        due: list[float] = []
        for number in range(5000):
            held_back = rollouts.hold_back(
                ObjectKey("db", f"waits-{number}"), busy_until=lambda: None, is_up=True
            )
            assert held_back is not None
            due.append(held_back.look_again_s)

        assert due[:20] == [5.0] * 20, "few look soon"
        for second in range(10, 900, 10):
            looks = sum(second <= one < second + 10 for one in due)
            assert 40 <= looks <= 60, "one in 0.2 s: a free place is found soon, and cheaply"

    def test_who_waits_no_more_is_forgotten(self) -> None:
        clock = FakeClock()
        rollouts = self.a_full_one(clock)
        for number in range(1000):
            rollouts.hold_back(ObjectKey("gone", str(number)), busy_until=lambda: None, is_up=True)
        clock.advance(2000)
        assert rollouts.begin(A)

        for _ in range(2):
            held_back = rollouts.hold_back(B, busy_until=lambda: None, is_up=True)
        assert held_back is not None
        assert held_back.look_again_s == 5.0
