"""Looking at real folders, through the job itself: what there is, and uploads that nobody ends."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from controller.api.errors import BackupError
from runner.jobs.environment import JobFailure
from runner.jobs.inspect import run_inspect
from runner.jobs.record import record_outcome
from runner.jobs.request import JobRequest
from runner.outcome import JobKind, JobOutcome, LocationFate
from tests.unit.jobs.environment import CLUSTER, OWNER, Surroundings
from tests.unit.repository.samples import an_id

NOW = datetime.now(UTC)
DAY = timedelta(days=1)


@pytest.fixture
def world(tmp_path: Path) -> Surroundings:
    """Five backups, one a day, in both locations."""
    # Of this moment, not of the import: the folders' clock is compared with it.
    world = Surroundings(tmp_path, now=datetime.now(UTC))
    for name in world.folders:
        for number in range(5):
            world.store(name, number, NOW - (5 - number) * DAY)
    return world


def _inspect(world: Surroundings, **fields: Any) -> tuple[JobOutcome, Mapping[str, Any]]:
    outcome = run_inspect(world.job(JobRequest(kind=JobKind.INSPECT, **fields)))
    return outcome, world.told("inspection")[-1]["inspection"]


def test_a_look_says_what_is_there(world: Surroundings) -> None:
    world.store("two", 6, NOW + DAY)

    outcome, inspection = _inspect(world)

    assert outcome.success
    assert inspection["storedBackups"] == 6
    assert datetime.fromisoformat(inspection["newestAt"]) == NOW + DAY
    assert inspection["complete"]["id"] == an_id(4), "the newest is in one location only"
    assert inspection["complete"]["locations"] == ["one", "two"]
    listing = world.catalogue("one").list()
    assert inspection["completePlainBytes"] == listing.backups[-1].plain_bytes > 0
    states = {state["name"]: state for state in inspection["states"]}
    assert [states[name]["storedBackups"] for name in ("one", "two")] == [5, 6]
    assert all(state["healthy"] for state in states.values())


def test_a_look_survives_a_location_that_is_down_and_says_why(world: Surroundings) -> None:
    folder = world.folders["one"]
    folder.rename(folder.with_name("away"))

    outcome, inspection = _inspect(world)

    assert outcome.success
    assert inspection["storedBackups"] == 5
    (bad,) = [state for state in inspection["states"] if not state["healthy"]]
    assert bad["name"] == "one"
    assert bad["reason"]
    assert bad["message"]


def test_a_look_fails_only_when_no_location_is_usable(world: Surroundings) -> None:
    for folder in world.folders.values():
        folder.rename(folder.with_name(f"{folder.name}-away"))

    with pytest.raises(JobFailure, match="no location is usable") as failure:
        _inspect(world)
    assert failure.value.error.exit_code != BackupError.exit_code, "no defect of this program"


def test_a_look_names_backups_that_cannot_be_read(world: Surroundings) -> None:
    world.storage("one").put(OWNER.manifest(an_id(9)), b"garbage")

    _, inspection = _inspect(world)

    one = next(state for state in inspection["states"] if state["name"] == "one")
    assert one["reason"] == "UnreadableBackups"
    assert an_id(9) in one["message"]
    assert one["storedBackups"] == 5


def test_a_foreign_owner_is_told_with_the_cure(world: Surroundings) -> None:
    world.catalogue("one").claim("another-cluster")

    _, inspection = _inspect(world)

    one = next(state for state in inspection["states"] if state["name"] == "one")
    assert (one["healthy"], one["reason"]) == (False, "ForeignOwner")
    assert "runner adopt" in one["message"]


def test_the_latest_memory_of_any_location_counts(world: Surroundings) -> None:
    def outcome(hours: int, *, success: bool) -> JobOutcome:
        moment = NOW - timedelta(hours=hours)
        return JobOutcome(
            kind=JobKind.BACKUP, started_at=moment, finished_at=moment, success=success
        )

    with world.job(JobRequest(kind=JobKind.INSPECT)).locations() as locations:
        one, two = locations.opened
        one.catalogue.claim(CLUSTER)
        two.catalogue.claim(CLUSTER)
        record_outcome([one, two], outcome(3, success=True), CLUSTER)
        record_outcome([two], outcome(2, success=False), CLUSTER)

    _, inspection = _inspect(world)

    assert inspection["consecutiveFailures"] == 1
    assert [(last["kind"], last["success"]) for last in inspection["last"]] == [("backup", False)]


def test_the_location_that_was_verified_longest_ago_counts(world: Surroundings) -> None:
    def verified(world: Surroundings, name: str, hours: int, *, named: bool = False) -> None:
        moment = NOW - timedelta(hours=hours)
        outcome = JobOutcome(
            kind=JobKind.VERIFY,
            started_at=moment,
            finished_at=moment,
            success=True,
            fates=(LocationFate(name=name, ok=True),),
        )
        world.catalogue(name).claim(CLUSTER)
        with world.job(JobRequest(kind=JobKind.VERIFY)).locations() as locations:
            record_outcome(locations.chosen(name).opened, outcome, CLUSTER, named=named)

    verified(world, "one", 5)
    assert "lastVerifiedAt" not in _inspect(world)[1], "the other one never was"

    verified(world, "two", 50)
    verified(world, "two", 1, named=True)
    moment = _inspect(world)[1]["lastVerifiedAt"]
    assert datetime.fromisoformat(moment) == NOW - timedelta(hours=50)


def _uploads(world: Surroundings) -> int:
    return len(list(world.folders["one"].rglob(".upload-*")))


@pytest.fixture
def half_a_backup(world: Surroundings) -> Iterator[Path]:
    """An upload that was begun and goes on, perhaps, in `one`; our cluster writes there."""
    world.catalogue("one").claim(CLUSTER)
    upload = world.storage("one").create_upload(OWNER.data_object(an_id(8), "dump.0000"))
    upload.put_part(1, b"half")
    (file,) = world.folders["one"].rglob(".upload-*")
    yield file
    upload.abort()


def test_an_upload_that_may_be_under_way_is_left_alone(
    world: Surroundings, half_a_backup: Path
) -> None:
    _inspect(world)
    _inspect(world, abort_orphans=True)
    _inspect(world, abandoned=(an_id(7),))
    assert _uploads(world) == 1

    too_old = NOW.timestamp() - timedelta(hours=24, minutes=1).total_seconds()
    os.utime(half_a_backup, (too_old, too_old))
    _inspect(world)
    assert _uploads(world) == 1
    _inspect(world, abort_orphans=True)
    assert _uploads(world) == 0


@pytest.mark.usefixtures("half_a_backup")
def test_the_uploads_of_a_dead_job_are_taken_back_at_once(world: Surroundings) -> None:
    _inspect(world, abandoned=(an_id(8),))

    assert _uploads(world) == 0


@pytest.mark.usefixtures("half_a_backup")
def test_another_clusters_uploads_are_left_alone(world: Surroundings) -> None:
    world.catalogue("one").adopt("another-cluster")
    world.clock.advance(3 * DAY.total_seconds())

    _inspect(world, abort_orphans=True, abandoned=(an_id(8),))

    assert _uploads(world) == 1
