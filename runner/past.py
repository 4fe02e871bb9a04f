"""What a restarted runner knows of the time before: from the locations and from the status."""

from __future__ import annotations

from datetime import datetime

from attrs import evolve, frozen

from controller.api.errors import JobLost
from controller.api.status import DatabaseBackupStatus
from runner.conditions import is_verdict
from runner.inspection import Inspection
from runner.outcome import JobKind, JobOutcome, Result

_LOST = "the runner was ended while the job ran"


@frozen(kw_only=True)
class Past:
    """What schedule and metrics start from.

    Args:
        last: the last job of each kind.
        attempted_at: start of the last backup, whatever became of it; a job
            that was cancelled, or lost with its runner, is made up for.
        consecutive_failures: of backups.
    """

    last: tuple[JobOutcome, ...] = ()
    attempted_at: datetime | None = None
    verified_at: datetime | None = None
    has_backup: bool = False
    consecutive_failures: int = 0


def past_of(inspection: Inspection | None, former: DatabaseBackupStatus) -> Past:
    """Put together what the locations hold and what a former runner reported.

    Args:
        inspection: None if not even the first look worked.
    """
    last: dict[JobKind, JobOutcome] = {}
    for outcome in (*_reported(former), *(inspection.last if inspection else ())):
        # Of the same job a location remembers more than the status has room for.
        if outcome.kind not in last or outcome.finished_at >= last[outcome.kind].finished_at:
            last[outcome.kind] = outcome
    attempts = [inspection.newest_at if inspection else None]
    failures = inspection.consecutive_failures if inspection else 0
    if backup := last.get(JobKind.BACKUP):
        attempts.append(backup.started_at if backup.result is not Result.CANCELLED else None)
        failures = max(failures, 1) if backup.result is Result.FAILURE else failures
    verified_at = inspection.last_verified_at if inspection else None
    if inspection is None and former.last_verification:
        verified_at = former.last_verification.finished_at
    stored = inspection.stored_backups if inspection else former.stored_backups
    return Past(
        last=tuple(last.values()),
        attempted_at=max((one for one in attempts if one), default=None),
        verified_at=verified_at,
        has_backup=bool(stored),
        consecutive_failures=failures,
    )


def ended(former: DatabaseBackupStatus, now: datetime) -> DatabaseBackupStatus:
    """Say of jobs that a former runner reported as running that they were lost."""
    attempt, restore = former.last_attempt, former.last_restore
    if attempt is not None and attempt.succeeded is None:
        attempt = evolve(
            attempt, finished_at=now, succeeded=False, reason=JobLost.reason, message=_LOST
        )
    if restore is not None and restore.succeeded is None:
        restore = evolve(restore, finished_at=now, succeeded=False, message=_LOST)
    return evolve(former, last_attempt=attempt, last_restore=restore)


def _reported(former: DatabaseBackupStatus) -> list[JobOutcome]:
    """The jobs in a status that have ended; of verifications it does not say how long they took."""
    outcomes = []
    attempt, restore = former.last_attempt, former.last_restore
    if attempt is not None and attempt.finished_at is not None and is_verdict(attempt):
        outcomes.append(
            JobOutcome(
                kind=JobKind.BACKUP,
                started_at=attempt.started_at,
                finished_at=attempt.finished_at,
                success=bool(attempt.succeeded),
                reason=attempt.reason,
                message=attempt.message,
            )
        )
    if restore is not None and restore.finished_at is not None:
        outcomes.append(
            JobOutcome(
                kind=JobKind.RESTORE,
                started_at=restore.started_at,
                finished_at=restore.finished_at,
                success=bool(restore.succeeded),
                message=restore.message,
                backup_id=restore.backup_id,
            )
        )
    return outcomes
