"""An election by its steps, on a clock that stands still; real servers are in integration."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from controller.leader import Elector, NotLeading, Timing
from tests.fakes.clock import FakeClock
from tests.fakes.leases import FakeLeases


def a_candidate(leases: FakeLeases, identity: str, clock: FakeClock) -> Elector:
    return Elector(leases, namespace="system", name="controller", identity=identity, clock=clock)


class TestTakingOver:
    def test_the_first_candidate_leads_and_the_second_waits(self) -> None:
        leases, clock = FakeLeases(), FakeClock()
        first, second = a_candidate(leases, "a", clock), a_candidate(leases, "b", clock)

        assert first.step()
        assert not second.step()

        assert leases.spec["holderIdentity"] == "a"
        assert leases.spec["leaseDurationSeconds"] == 15
        assert leases.spec["leaseTransitions"] == 0

    def test_a_renewed_lease_is_never_taken(self) -> None:
        leases, clock = FakeLeases(), FakeClock()
        first, second = a_candidate(leases, "a", clock), a_candidate(leases, "b", clock)

        for _ in range(30):
            assert first.step()
            assert not second.step()
            clock.advance(2)

    def test_a_lease_is_taken_when_it_was_seen_unchanged_for_its_duration(self) -> None:
        leases, clock = FakeLeases(), FakeClock()
        first, second = a_candidate(leases, "a", clock), a_candidate(leases, "b", clock)
        first.step()
        second.step()

        clock.advance(14.9)
        assert not second.step()
        clock.advance(0.2)
        assert second.step()

        assert leases.spec["holderIdentity"] == "b"
        assert leases.spec["leaseTransitions"] == 1

    def test_a_lease_from_before_is_waited_for_however_old_its_times_are(self) -> None:
        leases, dead_clock = FakeLeases(), FakeClock()
        a_candidate(leases, "dead", dead_clock).step()
        clock = FakeClock(now=dead_clock.now() + timedelta(days=400))
        candidate = a_candidate(leases, "b", clock)

        assert not candidate.step()  # that clock may be wrong, or ours
        clock.advance(15)
        assert candidate.step()

    def test_a_replica_with_the_same_identity_goes_on_at_once(self) -> None:
        leases, clock = FakeLeases(), FakeClock()
        a_candidate(leases, "a", clock).step()

        assert a_candidate(leases, "a", clock).step()

    def test_of_two_that_see_a_free_lease_one_gets_it(self) -> None:
        leases, clock = FakeLeases(), FakeClock()
        a_candidate(leases, "dead", clock).step()
        candidates = [a_candidate(leases, name, clock) for name in "bc"]
        for candidate in candidates:
            candidate.step()
        clock.advance(15)

        assert [candidate.step() for candidate in candidates] == [True, False]


class TestStayingLeader:
    def test_a_leader_that_is_cut_off_stops_before_anybody_can_take_over(self) -> None:
        leases, clock = FakeLeases(), FakeClock()
        first, second = a_candidate(leases, "a", clock), a_candidate(leases, "b", clock)
        first.step()
        second.step()

        leases.is_reachable = False
        stopped_after_s = 0.0
        while first.is_leader():
            clock.advance(0.5)
            stopped_after_s += 0.5
            first.step()
        leases.is_reachable = True

        assert stopped_after_s == 10
        assert not second.step()  # the Lease is good for 5 s more

    def test_leadership_ends_by_the_clock_even_if_no_step_ends(self) -> None:
        leases, clock = FakeLeases(), FakeClock()
        leader = a_candidate(leases, "a", clock)
        leader.step()

        clock.advance(10)

        assert not leader.is_leader()
        with pytest.raises(NotLeading):
            leader.check()

    def test_a_term_lasts_until_others_may_have_acted(self) -> None:
        leases, clock = FakeLeases(), FakeClock()
        leader = a_candidate(leases, "a", clock)
        assert leader.term() == 0
        for _ in range(9):
            leader.step()
            clock.advance(2)
        assert leader.term() == 1

        clock.advance(10)
        assert leader.step()

        assert leader.term() == 2

    def test_a_short_outage_changes_nothing(self) -> None:
        leases, clock = FakeLeases(), FakeClock()
        leader = a_candidate(leases, "a", clock)
        leader.step()

        leases.is_reachable = False
        clock.advance(8)
        assert leader.step()
        leases.is_reachable = True
        assert leader.step()
        clock.advance(9)

        assert leader.is_leader()

    def test_an_own_renewal_whose_answer_was_lost_is_no_rival(self) -> None:
        leases, clock = FakeLeases(), FakeClock()
        leader = a_candidate(leases, "a", clock)
        leader.step()
        leases.loses_answer = True
        clock.advance(2)
        leader.step()

        clock.advance(7)
        assert leader.step()
        clock.advance(9)

        assert leader.is_leader()
        assert leases.spec["leaseTransitions"] == 0

    def test_the_bound_counts_from_when_the_renewal_was_sent(self) -> None:
        leases, clock = FakeLeases(), FakeClock()

        class Slow(FakeLeases):
            def _write(self, raw: dict[str, object]) -> dict[str, object]:
                written = super()._write(raw)
                clock.advance(4)
                return written

        leases = Slow()
        leader = a_candidate(leases, "a", clock)
        leader.step()

        clock.advance(5.9)
        assert leader.is_leader()
        clock.advance(0.2)
        assert not leader.is_leader()

    def test_who_sees_another_holder_stops_at_once(self) -> None:
        leases, clock = FakeLeases(), FakeClock()
        leader = a_candidate(leases, "a", clock)
        leader.step()
        leases.lease["spec"]["holderIdentity"] = "b"
        leases.version += 1
        leases.lease["metadata"]["resourceVersion"] = str(leases.version)

        assert not leader.step()
        assert leases.spec["holderIdentity"] == "b"

    def test_a_deleted_lease_is_made_again(self) -> None:
        leases, clock = FakeLeases(), FakeClock()
        leader = a_candidate(leases, "a", clock)
        leader.step()
        leases.lease = None

        assert leader.step()
        assert leases.spec["holderIdentity"] == "a"


class TestHandingOver:
    def test_a_released_lease_is_taken_without_waiting(self) -> None:
        leases, clock = FakeLeases(), FakeClock()
        first, second = a_candidate(leases, "a", clock), a_candidate(leases, "b", clock)
        first.step()
        second.step()

        first.release()

        assert not first.is_leader()
        assert leases.spec["holderIdentity"] == ""
        assert second.step()

    def test_who_does_not_lead_releases_nothing(self) -> None:
        leases, clock = FakeLeases(), FakeClock()
        first, second = a_candidate(leases, "a", clock), a_candidate(leases, "b", clock)
        first.step()
        second.step()

        second.release()

        assert leases.spec["holderIdentity"] == "a"

    def test_run_releases_when_it_is_stopped(self) -> None:
        leases, clock, stop = FakeLeases(), FakeClock(), threading.Event()
        elector = a_candidate(leases, "a", clock)
        thread = threading.Thread(target=elector.run, args=[stop])
        thread.start()
        clock.wait_for_waiters()

        stop.set()
        thread.join(5)

        assert leases.spec["holderIdentity"] == ""

    def test_who_waits_for_leadership_wakes_with_it(self) -> None:
        leases, clock, stop = FakeLeases(), FakeClock(), threading.Event()
        elector = a_candidate(leases, "a", clock)
        waited: list[bool] = []
        thread = threading.Thread(target=lambda: waited.append(elector.wait_until_leading(stop)))
        thread.start()
        clock.wait_for_waiters()

        elector.step()
        thread.join(5)

        assert waited == [True]

    def test_who_waits_is_not_sent_home_when_leadership_runs_out_in_that_moment(self) -> None:
        class Running(FakeClock):
            """Each look at it costs seconds."""

            look_s = 0.0

            def monotonic(self) -> float:
                self.advance(self.look_s)
                return super().monotonic()

        clock = Running()
        elector = a_candidate(FakeLeases(), "a", clock)
        elector.step()
        clock.look_s = 6.0

        # It leads at the first look, and at no later one.
        assert elector.wait_until_leading(threading.Event())

    def test_who_waits_for_leadership_wakes_at_the_end(self) -> None:
        leases, clock, stop = FakeLeases(), FakeClock(), threading.Event()
        elector = a_candidate(leases, "a", clock)
        waited: list[bool] = []
        thread = threading.Thread(target=lambda: waited.append(elector.wait_until_leading(stop)))
        thread.start()
        clock.wait_for_waiters()

        elector.release()
        thread.join(5)

        assert waited == [False]


@pytest.mark.parametrize(
    "wrong",
    [{"retry_period_s": 10.0}, {"renew_deadline_s": 15.0}, {"lease_duration_s": 5.0}],
)
def test_timing_that_could_let_two_lead_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="retry period < renew deadline < lease duration"):
        Timing(**wrong)
