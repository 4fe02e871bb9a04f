"""What a location remembers of jobs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from attrs import evolve
from hypothesis import given, strategies as st

from controller.api.errors import FormatError
from runner.jobs.record import read_state, record_outcome
from runner.jobs.request import JobRequest
from runner.outcome import JobKind, JobOutcome, LocationFate, StorageUse
from runner.records import from_json, to_json
from runner.repository.state import RunnerState
from tests.unit.jobs.environment import CLUSTER, Surroundings

NOW = datetime(2026, 11, 23, 10, tzinfo=UTC)


def _outcome(kind: JobKind = JobKind.BACKUP, **fields: object) -> JobOutcome:
    defaults: dict[str, object] = {
        "kind": kind,
        "started_at": NOW,
        "finished_at": NOW + timedelta(minutes=5),
        "success": True,
    }
    return JobOutcome(**(defaults | fields))  # type: ignore[arg-type]


FAILED = _outcome(success=False, reason="StorageUnavailable")
CANCELLED = _outcome(success=False, reason="Cancelled")


@given(st.lists(st.sampled_from([_outcome(), FAILED, CANCELLED])))
def test_failures_are_counted_since_the_last_success(outcomes: list[JobOutcome]) -> None:
    state = RunnerState()
    for outcome in outcomes:
        state = state.after(outcome, "one")

    last_success = max((i for i, one in enumerate(outcomes) if one.success), default=-1)
    assert state.consecutive_failures == outcomes[last_success + 1 :].count(FAILED)
    assert (state.last_success_at is not None) == any(one.success for one in outcomes)


def test_other_jobs_do_not_touch_the_count_of_backups() -> None:
    state = RunnerState(consecutive_failures=2)

    for kind in (JobKind.RESTORE, JobKind.VERIFY):
        for success in (True, False):
            state = state.after(_outcome(kind, success=success), "one")

    assert state.consecutive_failures == 2
    assert sorted(state.last) == ["restore", "verify"]


def test_a_verification_counts_for_the_locations_that_it_looked_at() -> None:
    fates = (LocationFate(name="one", ok=True), LocationFate(name="two", ok=False))
    outcome = _outcome(JobKind.VERIFY, success=False, backup_id="x", fates=fates)

    one, two, three = (RunnerState().after(outcome, name) for name in ("one", "two", "three"))

    assert one.verified is not None
    assert two.verified is not None
    assert (one.verified.ok, two.verified.ok) == (True, False)
    assert one.verified.backup_id == "x"
    assert three.verified is None


def test_what_a_person_named_or_cancelled_is_no_verification_of_the_newest() -> None:
    fates = (LocationFate(name="one", ok=True),)
    outcome = _outcome(JobKind.VERIFY, backup_id="x", fates=fates)
    cancelled = evolve(outcome, success=False, reason="Cancelled")

    named = RunnerState().after(outcome, "one", named=True)

    assert named.verified is not None, "it is known of that location all the same"
    assert named.newest_verified_at is None
    assert RunnerState().after(cancelled, "one").verified is None
    assert RunnerState().after(outcome, "one").newest_verified_at == NOW


def test_a_state_is_read_as_it_was_written() -> None:
    outcome = _outcome(JobKind.VERIFY, fates=(LocationFate(name="one", ok=True),))
    state = RunnerState().after(FAILED, "one").after(outcome, "one")

    assert from_json(RunnerState, to_json(state), "_state.json") == state


@pytest.mark.parametrize(
    "raw", [b"", b"{", b"[]", b'{"consecutiveFailures": "3"}', b'{"last": {"backup": 7}}']
)
def test_a_state_that_is_none_is_refused(raw: bytes) -> None:
    with pytest.raises(FormatError, match="_state"):
        from_json(RunnerState, raw, "_state.json")


# -- in real locations ------------------------------------------------------------------


@pytest.fixture
def world(tmp_path: Path) -> Surroundings:
    world = Surroundings(tmp_path, now=NOW)
    for name in world.folders:
        world.catalogue(name).claim(CLUSTER)
    return world


def _record(world: Surroundings, outcome: JobOutcome) -> None:
    with world.job(JobRequest(kind=outcome.kind)).locations() as locations:
        record_outcome(locations.opened, outcome, CLUSTER)


def _states(world: Surroundings) -> dict[str, RunnerState]:
    with world.job(JobRequest(kind=JobKind.INSPECT)).locations() as locations:
        return {location.name: read_state(location) for location in locations.opened}


def test_every_location_remembers(world: Surroundings) -> None:
    _record(world, FAILED)
    _record(world, FAILED)

    states = _states(world)
    assert [state.consecutive_failures for state in states.values()] == [2, 2]
    assert states["one"].last["backup"] == FAILED


def test_a_damaged_state_is_begun_anew(world: Surroundings) -> None:
    catalogue = world.catalogue("one")
    catalogue.write_small(catalogue.layout.state, b"garbage")

    _record(world, FAILED)

    assert _states(world)["one"] == RunnerState().after(FAILED, "one")


def test_what_is_remembered_stays_small_enough_to_be_read_again(world: Surroundings) -> None:
    fates = tuple(
        LocationFate(name=f"location-{number}", ok=False, message="it is down; " * 1000)
        for number in range(32)
    )
    use = StorageUse(location="one", operation="put_part", ok=10**9)
    talkative = evolve(
        FAILED, message="grant the role; " * 10_000, fates=fates, storage=(use,) * 1000
    )

    _record(world, talkative)
    _record(world, evolve(talkative, kind=JobKind.RESTORE))
    _record(world, evolve(talkative, kind=JobKind.VERIFY))

    assert set(_states(world)["one"].last) == {"backup", "restore", "verify"}
    assert _states(world)["one"].last["backup"].message.startswith("grant the role")


def test_a_location_that_is_down_keeps_no_other_from_remembering(world: Surroundings) -> None:
    folder = world.folders["one"]
    folder.rename(folder.with_name("away"))

    _record(world, FAILED)

    assert _states(world)["two"].consecutive_failures == 1


def test_where_nobody_writes_yet_nothing_is_written(world: Surroundings) -> None:
    catalogue = world.catalogue("one")
    world.storage("one").delete([catalogue.layout.owner])

    _record(world, FAILED)

    assert list(world.storage("one").list(catalogue.layout.root)) == []


def test_a_location_that_did_not_answer_the_job_is_not_asked_again(world: Surroundings) -> None:
    silent = LocationFate(name="one", ok=False, reason="StorageUnavailable")

    _record(world, evolve(FAILED, fates=(silent, LocationFate(name="two", ok=True))))

    assert [one.consecutive_failures for one in _states(world).values()] == [0, 1]


def test_another_clusters_memory_is_not_written_over(world: Surroundings) -> None:
    theirs = world.catalogue("one")
    theirs.adopt("another-cluster")
    theirs.write_small(theirs.layout.state, to_json(RunnerState(consecutive_failures=7)))

    _record(world, evolve(FAILED, reason="ForeignOwner"))

    assert {name: one.consecutive_failures for name, one in _states(world).items()} == {
        "one": 7,
        "two": 1,
    }
