"""What status and metrics make of looks at real folders, also when those are away."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from controller.api import codec
from controller.api.status import VerificationSummary
from runner.inspection import Inspection
from runner.jobs.environment import JobFailure
from runner.jobs.inspect import run_inspect
from runner.jobs.record import record_outcome
from runner.jobs.request import JobRequest
from runner.metrics import RunnerIdentity, RunnerMetrics
from runner.outcome import JobKind, JobOutcome, LocationFate
from runner.ports import LastStatus
from runner.reports import Reports
from tests.fakes.clock import FakeClock
from tests.unit.jobs.environment import CLUSTER, Surroundings
from tests.unit.repository.samples import START, a_manifest, an_id, put_data

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


class Watched:
    """Two locations, and what a runner says of them after each look."""

    def __init__(self, folder: Path, **spec: Any) -> None:
        self.world = Surroundings(folder, now=NOW, **spec)
        self.metrics = RunnerMetrics(
            RunnerIdentity(name="shop", namespace="db", engine="postgres", version="1"),
            started_at=NOW,
        )
        self._sink = LastStatus()
        self.reports = Reports(self._sink, self.metrics, FakeClock(NOW))

    def store(self, location: str, *numbers: int) -> None:
        for number in numbers:
            put_data(self.world.catalogue(location), self.world.storage(location), number)
            self.world.catalogue(location).commit(a_manifest(number))

    def take_away(self, *locations: str) -> None:
        for location in locations:
            folder = self.world.folders[location]
            folder.rename(folder.with_name(f"{location}-away"))

    def bring_back(self, *locations: str) -> None:
        for location in locations:
            folder = self.world.folders[location]
            folder.with_name(f"{location}-away").rename(folder)

    def look(self) -> None:
        try:
            run_inspect(self.world.job(JobRequest(kind=JobKind.INSPECT)))
        except JobFailure as failure:
            assert failure.error.reason == "LocationsFailed"  # noqa: PT017 - told all the same
        event = self.world.told("inspection")[-1]
        self.reports.inspected(codec.decode(Inspection, event["inspection"]))

    @property
    def said(self) -> tuple[str | None, Sequence[str], int | None]:
        """Of status: the last backup, where it is, how many there are."""
        status = self._sink.status
        last = status.last_backup
        return (
            last.id if last else None,
            last.locations if last else (),
            status.stored_backups,
        )

    @property
    def verification(self) -> VerificationSummary | None:
        return self._sink.status.last_verification

    def metric(self, name: str) -> float:
        lines = self.metrics.render().decode().splitlines()
        (line,) = [one for one in lines if one.startswith(f"db_backup_controller_{name}{{")]
        return float(line.rpartition(" ")[2])


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    watched = Watched(tmp_path)
    watched.store("one", 1, 2, 3)
    watched.store("two", 1, 2, 3)
    return watched


@pytest.mark.parametrize("away", [("one",), ("one", "two")], ids=["one", "both"])
def test_locations_that_do_not_answer_take_no_backup_out_of_the_status(
    watched: Watched, away: Sequence[str]
) -> None:
    watched.store("one", 0, 4)
    watched.store("two", 4)
    watched.look()
    before = watched.said
    assert before == (an_id(4), ("one", "two"), 5)
    at = watched.metric("last_successful_backup")

    watched.take_away(*away)
    watched.look()

    assert watched.said == before
    assert watched.metric("stored_backup_count") == 5
    assert watched.metric("last_successful_backup") == at > START.timestamp()


def test_what_is_gone_from_all_that_answer_again_is_gone(watched: Watched) -> None:
    watched.look()
    watched.take_away("one")
    watched.look()
    watched.bring_back("one")
    for location in ("one", "two"):
        watched.world.catalogue(location).remove(an_id(3))

    watched.look()

    assert watched.said == (an_id(2), ("one", "two"), 2)


def test_nothing_is_said_of_locations_that_never_answered(watched: Watched) -> None:
    watched.take_away("one", "two")

    watched.look()

    assert watched.said == (None, (), None)


def test_a_verification_that_could_not_look_inside_is_told_as_unknown(watched: Watched) -> None:
    fate = LocationFate(name="one", reason="NoKey", message="for recipients only")
    outcome = JobOutcome(
        kind=JobKind.VERIFY, started_at=NOW, finished_at=NOW, success=True, fates=(fate,)
    )

    watched.reports.job_finished(JobRequest(kind=JobKind.VERIFY), outcome)

    verification = watched.verification
    assert verification is not None
    assert verification.succeeded is None
    assert verification.message == "one: for recipients only"


# -- backups that too few locations hold --------------------------------------------------


def test_a_backup_in_too_few_locations_is_no_success(watched: Watched) -> None:
    watched.look()
    before = watched.said, watched.metric("last_successful_backup")

    for number in (4, 5, 6):
        watched.store("two", number)
        watched.look()

    assert watched.said == (an_id(3), ("one", "two"), 6)
    assert watched.metric("last_successful_backup") == before[1] > 0


def test_fewer_required_locations_make_it_one(tmp_path: Path) -> None:
    watched = Watched(tmp_path, storage={"minSuccessfulLocations": 1})
    watched.store("one", 1)
    watched.store("two", 1, 2)

    watched.look()

    assert watched.said == (an_id(2), ("two",), 2)


def test_a_success_stays_one_when_a_location_is_added_later(watched: Watched) -> None:
    """What counted as enough when it was made is remembered."""
    watched.store("two", 4)
    outcome = JobOutcome(
        kind=JobKind.BACKUP, started_at=NOW, finished_at=NOW, success=True, backup_id=an_id(4)
    )
    watched.world.catalogue("two").claim(CLUSTER)
    with watched.world.job(JobRequest(kind=JobKind.BACKUP)).locations() as locations:
        record_outcome(locations.chosen("two").opened, outcome, CLUSTER)

    watched.look()

    assert watched.said == (an_id(4), ("two",), 4)
