"""When a runner may be replaced."""

from __future__ import annotations

from typing import Any

import pytest

from controller.api.keys import ObjectKey
from controller.rollouts import BUSY_UNTIL, Rollouts, busy_until
from tests.fakes.clock import START, FakeClock

A, B, C = (ObjectKey("db", name) for name in "abc")


def a_lease(until: str | None, renewed: str | None) -> dict[str, Any]:
    annotations = {BUSY_UNTIL: until} if until else {}
    spec = {"renewTime": renewed} if renewed else {}
    return {"metadata": {"name": "a", "annotations": annotations}, "spec": spec}


class TestBusy:
    def test_a_job_that_runs_is_seen(self) -> None:
        lease = a_lease("2026-11-23T12:00:00Z", "2026-11-23T09:59:30.123456Z")

        until = busy_until(lease, START)

        assert until is not None
        assert until.isoformat() == "2026-11-23T12:00:00+00:00"

    @pytest.mark.parametrize(
        "lease",
        [
            None,
            {"metadata": {"name": "a"}},
            a_lease(None, "2026-11-23T09:59:30Z"),
            a_lease("2026-11-23T12:00:00Z", None),
            a_lease("2026-11-23T12:00:00Z", "2026-11-23T09:59:00Z"),  # dead
            a_lease("2026-11-23T10:00:00Z", "2026-11-23T09:59:30Z"),  # over
            a_lease("tomorrow", "2026-11-23T09:59:30Z"),
        ],
    )
    def test_anything_else_is_no_job(self, lease: dict[str, Any] | None) -> None:
        assert busy_until(lease, START) is None


class TestFewAtATime:
    def test_so_many_and_no_more(self) -> None:
        rollouts = Rollouts(max_rolling=2, is_complete=lambda _: False, clock=FakeClock())

        assert [rollouts.begin(key) for key in (A, B, C)] == [True, True, False]
        assert rollouts.begin(A)  # its own place is still its own

    def test_a_place_is_free_when_a_runner_is_up_again(self) -> None:
        complete: set[ObjectKey] = set()
        clock = FakeClock()
        rollouts = Rollouts(max_rolling=1, is_complete=complete.__contains__, clock=clock)
        rollouts.begin(A)
        clock.advance(6)
        assert not rollouts.begin(B)

        complete.add(A)

        assert rollouts.begin(B)

    def test_a_cache_that_has_not_seen_the_change_yet_frees_no_place(self) -> None:
        clock = FakeClock()
        rollouts = Rollouts(max_rolling=1, is_complete=lambda _: True, clock=clock)
        rollouts.begin(A)

        clock.advance(1)

        assert not rollouts.begin(B)

    def test_a_runner_that_never_comes_up_holds_nobody_up_for_ever(self) -> None:
        clock = FakeClock()
        rollouts = Rollouts(max_rolling=1, is_complete=lambda _: False, clock=clock)
        rollouts.begin(A)

        clock.advance(599)
        assert not rollouts.begin(B)
        clock.advance(2)
        assert rollouts.begin(B)
