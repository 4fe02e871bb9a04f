"""What a runner reports, and how it goes on after a restart."""

from __future__ import annotations

from datetime import timedelta

from attrs import evolve

from controller.api.conditions import get_condition
from controller.api.status import (
    AttemptSummary,
    BackupSummary,
    DatabaseBackupStatus,
    LocationStatus,
    VerificationSummary,
)
from runner.conditions import Basis
from runner.inspection import Inspection
from runner.jobs.request import JobRequest, RestoreOptions
from runner.metrics import RunnerIdentity, RunnerMetrics
from runner.outcome import JobKind, JobOutcome, LocationFate, LocationState
from runner.past import past_of
from runner.ports import LastStatus
from runner.reports import Reports
from tests.fakes.clock import START, FakeClock

_HOUR = timedelta(hours=1)
_FORMER = DatabaseBackupStatus(
    last_backup=BackupSummary(id="b1", started_at=START - 5 * _HOUR, locations=("s3",)),
    last_attempt=AttemptSummary(
        started_at=START - 2 * _HOUR,
        finished_at=START - _HOUR,
        succeeded=False,
        reason="DatabaseUnavailable",
        message="no answer",
    ),
    last_verification=VerificationSummary(
        backup_id="b1", finished_at=START - 3 * _HOUR, succeeded=True
    ),
    stored_backups=4,
    locations=(LocationStatus(name="s3", healthy=True, stored_backups=4),),
)


def _metrics() -> RunnerMetrics:
    identity = RunnerIdentity(name="shop", namespace="db", engine="postgres", version="1")
    return RunnerMetrics(identity, started_at=START)


def _reports() -> tuple[Reports, LastStatus]:
    sink = LastStatus()
    reports = Reports(sink, _metrics(), FakeClock())
    reports.judge_by(Basis(generation=1, interval=timedelta(days=1)))
    return reports, sink


def _outcome(kind: JobKind, *, success: bool, hours_ago: float, reason: str = "") -> JobOutcome:
    at = START - hours_ago * _HOUR
    return JobOutcome(kind=kind, started_at=at, finished_at=at, success=success, reason=reason)


def _reason(status: DatabaseBackupStatus, type_: str) -> str:
    condition = get_condition(status.conditions, type_)
    assert condition is not None
    return condition.reason


def test_after_a_restart_failures_and_the_last_verification_come_from_the_status() -> None:
    reports, sink = _reports()

    reports.resume(_FORMER)
    reports.inspected(Inspection(at=START, states=()))

    assert sink.status.last_attempt == _FORMER.last_attempt
    assert sink.status.last_verification == _FORMER.last_verification
    assert _reason(sink.status, "BackupHealthy") == "DatabaseUnavailable"
    assert _reason(sink.status, "Verified") == "EveryByteRead"


def test_what_a_location_remembers_wins_where_it_is_newer() -> None:
    reports, sink = _reports()
    reports.resume(_FORMER)
    backup = _outcome(JobKind.BACKUP, success=True, hours_ago=0.5)
    verify = _outcome(JobKind.VERIFY, success=False, hours_ago=4, reason="NoKey")

    reports.inspected(Inspection(at=START, states=(), last=(backup, verify)))

    assert sink.status.last_attempt is not None
    assert sink.status.last_attempt.succeeded
    assert sink.status.last_verification == _FORMER.last_verification


def test_a_job_that_ran_when_the_runner_was_killed_is_reported_as_lost() -> None:
    reports, sink = _reports()
    running = AttemptSummary(started_at=START - _HOUR)

    reports.resume(DatabaseBackupStatus(last_attempt=running))
    reports.inspected(Inspection(at=START, states=()))

    assert sink.status.last_attempt is not None
    assert sink.status.last_attempt.reason == "JobLost"
    assert _reason(sink.status, "BackupHealthy") == "JobLost"


def test_a_lost_job_and_a_cancelled_one_are_made_up_for() -> None:
    cancelled = AttemptSummary(
        started_at=START, finished_at=START, succeeded=False, reason="Cancelled"
    )

    for attempt in (AttemptSummary(started_at=START), cancelled):
        assert past_of(None, DatabaseBackupStatus(last_attempt=attempt)).attempted_at is None


def test_schedule_and_metrics_start_from_the_status() -> None:
    past = past_of(None, _FORMER)

    assert past.attempted_at == START - 2 * _HOUR
    assert past.verified_at == START - 3 * _HOUR
    assert past.has_backup
    assert past.consecutive_failures == 1
    assert [(one.kind, one.success) for one in past.last] == [(JobKind.BACKUP, False)]


def test_of_one_job_what_a_location_remembers_is_more_than_what_the_status_says() -> None:
    at = START - _HOUR
    attempt = AttemptSummary(started_at=at, finished_at=at, succeeded=True)
    remembered = evolve(
        _outcome(JobKind.BACKUP, success=True, hours_ago=1),
        fates=(LocationFate(name="s3", ok=False),),
    )

    past = past_of(
        Inspection(at=START, states=(), last=(remembered,)),
        DatabaseBackupStatus(last_attempt=attempt),
    )

    assert past.last == (remembered,)


def test_the_size_of_the_newest_backup_comes_from_its_manifest_after_a_restart() -> None:
    """A status has none: 0 would look as if all data was gone."""
    metrics = _metrics()
    reports = Reports(LastStatus(), metrics, FakeClock())
    at = START - _HOUR
    former = DatabaseBackupStatus(
        last_attempt=AttemptSummary(started_at=at, finished_at=at, succeeded=True)
    )

    metrics.resume(past_of(None, former).last)
    assert b"last_backup_plain_bytes{" not in metrics.render()
    reports.inspected(
        Inspection(
            at=START,
            states=(),
            complete=BackupSummary(id="b1", started_at=at, locations=("s3",)),
            complete_plain_bytes=4711,
        )
    )

    assert b'last_backup_plain_bytes{engine="postgres",name="shop",namespace="db"} 4711' in (
        metrics.render()
    )


def test_of_a_chain_whose_full_backup_nobody_lists_no_size_is_shown() -> None:
    metrics = _metrics()
    reports = Reports(LastStatus(), metrics, FakeClock())

    complete = BackupSummary(id="b1", started_at=START, locations=("s3",))
    reports.inspected(Inspection(at=START, states=(), complete=complete))

    assert b"last_backup_plain_bytes{" not in metrics.render()


def test_while_no_location_answers_what_was_stored_stays_known() -> None:
    reports, sink = _reports()
    reports.resume(_FORMER)
    down = LocationState(
        name="s3",
        healthy=False,
        answered=False,
        reason="StorageUnavailable",
        message="down",
        checked_at=START,
    )

    reports.inspected(Inspection(at=START, states=(down,)))

    assert sink.status.last_backup == _FORMER.last_backup
    assert sink.status.stored_backups == 4
    assert sink.status.locations[0].stored_backups == 4
    assert _reason(sink.status, "LocationsHealthy") == "StorageUnavailable"


def test_a_restore_is_reported_while_it_runs_and_when_it_ended() -> None:
    reports, sink = _reports()
    request = JobRequest(kind=JobKind.RESTORE, restore=RestoreOptions(name="b1", database="copy"))

    reports.job_started(request, START, database="shop")

    restore = sink.status.last_restore
    assert restore is not None
    assert (restore.backup_id, restore.database, restore.succeeded) == ("b1", "copy", None)
    reports.job_finished(request, _outcome(JobKind.RESTORE, success=True, hours_ago=0))
    assert sink.status.last_restore is not None
    assert sink.status.last_restore.succeeded


def test_a_restore_that_was_lost_names_what_it_was_about() -> None:
    reports, sink = _reports()
    request = JobRequest(kind=JobKind.RESTORE, restore=RestoreOptions(name="b1"))
    reports.job_started(request, START, database="shop")

    reports.job_finished(request, _outcome(JobKind.RESTORE, success=False, hours_ago=0))

    restore = sink.status.last_restore
    assert restore is not None
    assert (restore.backup_id, restore.database, restore.succeeded) == ("b1", "shop", False)


def test_a_verification_that_was_cancelled_says_nothing() -> None:
    reports, sink = _reports()
    reports.resume(_FORMER)

    reports.job_finished(
        JobRequest(kind=JobKind.VERIFY),
        _outcome(JobKind.VERIFY, success=False, hours_ago=0, reason="Cancelled"),
    )

    assert reports.status.last_verification == _FORMER.last_verification
    assert sink.status.last_verification is None, "and is nothing to report"
