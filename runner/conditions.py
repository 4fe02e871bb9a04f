"""The runner's conditions, from what it reports: pure.

Each of three answers one question of a person who is woken up: is there a fresh
backup, are the places it lies in all right, and was what lies there read again.
A fourth, of an object that goes with its backups, says how far that is. A
condition that nothing new is known about keeps its answer: a job that a person
cancelled, or that just runs, is no news about protection.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta

from attrs import evolve, frozen

from controller.api.conditions import (
    BACKUP_HEALTHY,
    Condition,
    ConditionStatus,
    Verdict,
    get_condition,
    set_condition,
)
from controller.api.deletion import DATA_DELETED
from controller.api.errors import (
    Cancelled,
    ChecksumMismatch,
    FormatError,
    IntegrityError,
    TruncatedBackup,
    UsageError,
)
from controller.api.status import AttemptSummary, DatabaseBackupStatus
from runner.wording import age_text, time_text

LOCATIONS_HEALTHY = "LocationsHealthy"
VERIFIED = "Verified"
OWN_TYPES = (BACKUP_HEALTHY, LOCATIONS_HEALTHY, VERIFIED, DATA_DELETED)

#: An attempt that ended so says nothing of the next one.
_NOBODYS_FAULT = frozenset({Cancelled.reason, UsageError.reason})
#: What was read is not what was stored; anything else kept us from reading.
_DAMAGE = frozenset(
    one.reason for one in (IntegrityError, TruncatedBackup, ChecksumMismatch, FormatError)
)
#: As the alert BackupOverdue of the chart.
_OVERDUE_INTERVALS = 2
_PENDING = "Pending"
_WORD = re.compile(r"[A-Z][A-Za-z0-9]{0,127}")


@frozen(kw_only=True)
class Basis:
    """What the status is judged by.

    Args:
        generation: of the configuration that the runner works with.
        interval: the longest pause between two scheduled backups; None: no schedule.
    """

    generation: int = 0
    suspended: bool = False
    interval: timedelta | None = None


def assess(
    status: DatabaseBackupStatus, basis: Basis, now: datetime, deletion: Verdict | None = None
) -> tuple[Condition, ...]:
    """Return the conditions of `status`, with ours as they are now.

    Args:
        deletion: None while nobody deletes the object's backups.
    """
    conditions = status.conditions
    verdicts = {
        BACKUP_HEALTHY: _backup_healthy(status, basis, now),
        LOCATIONS_HEALTHY: _locations_healthy(status),
        VERIFIED: _verified(status),
    }
    if deletion is not None:
        reason = _word(deletion.reason, "DeletionFailed")
        verdicts[DATA_DELETED] = evolve(deletion, reason=reason)
    for type_, verdict in verdicts.items():
        conditions = set_condition(
            conditions,
            type=type_,
            status=verdict.status,
            reason=verdict.reason,
            message=verdict.message,
            observed_generation=basis.generation,
            now=now,
        )
    return conditions


def own_part(status: DatabaseBackupStatus) -> DatabaseBackupStatus:
    """Leave out what is the controller's."""
    return evolve(
        status,
        conditions=tuple(one for one in status.conditions if one.type in OWN_TYPES),
        observed_generation=0,
        hash="",
        runner="",
    )


def is_verdict(attempt: AttemptSummary | None) -> bool:
    """Whether an attempt has ended in a way that says something of protection."""
    return (
        attempt is not None
        and attempt.succeeded is not None
        and attempt.reason not in _NOBODYS_FAULT
    )


def _backup_healthy(status: DatabaseBackupStatus, basis: Basis, now: datetime) -> Verdict:
    attempt, newest = status.last_attempt, status.last_backup
    if basis.suspended:
        return _unknown("Suspended", "no backup is made while spec.suspend is set")
    has_ended = is_verdict(attempt)
    if attempt is not None and has_ended and not attempt.succeeded:
        return _false(_word(attempt.reason, "BackupFailed"), attempt.message)
    if newest is not None and basis.interval:
        age = now - newest.started_at
        if age > _OVERDUE_INTERVALS * basis.interval:
            return _false(
                "Overdue",
                f"the newest backup, {newest.id}, was begun {age_text(age)} ago, and the schedule"
                f" asks for one every {age_text(basis.interval)}",
            )
    if not has_ended and (kept := _kept(status.conditions, BACKUP_HEALTHY)):
        return kept
    if newest is None and has_ended:
        return _false("NoBackup", "the last backup succeeded, and now no location holds one")
    former = get_condition(status.conditions, BACKUP_HEALTHY)
    is_first = former is None or former.reason == _PENDING
    runs = attempt is not None and attempt.succeeded is None
    # A first backup is listed before its job has ended, and only the end is the good news.
    if newest is None or (is_first and runs):
        return _unknown(_PENDING, "the first backup has not ended yet")
    where = ", ".join(newest.locations)
    return _true("BackupSucceeded", f"the newest backup is {newest.id}, in {where}")


def _locations_healthy(status: DatabaseBackupStatus) -> Verdict:
    locations = status.locations
    if not locations:
        return _unknown("NotChecked", "the locations were not looked at yet")
    failing = [one for one in locations if not one.healthy]
    if failing:
        reason = _word(failing[0].reason, "LocationFailed")
        return _false(
            reason if len(failing) == 1 else "LocationsFailed",
            "; ".join(f"{one.name}: {one.reason}: {one.message}" for one in failing),
        )
    newest = status.last_backup
    behind = [one.name for one in locations if newest and one.name not in newest.locations]
    if newest and behind:
        return _false(
            "LocationBehind",
            f"{', '.join(behind)}: without the newest backup, {newest.id}; the next one goes there"
            " again",
        )
    return _true("AllHealthy", ", ".join(one.name for one in locations))


def _verified(status: DatabaseBackupStatus) -> Verdict:
    last = status.last_verification
    if last is None:
        return _unknown(
            "NotVerified", "no backup was read again yet: `runner verify`, or spec.verification"
        )
    if last.succeeded:
        return _true(
            "EveryByteRead", f"{last.backup_id}, verified at {time_text(last.finished_at)}"
        )
    if last.succeeded is False and (last.reason in _DAMAGE or not last.reason):
        return _false(_word(last.reason, "VerificationFailed"), last.message)
    # It could not be read: that is no answer, and the damage that was found stays found.
    return _kept(status.conditions, VERIFIED) or _unknown(
        _word(last.reason, "VerificationFailed"), last.message
    )


def _kept(conditions: Sequence[Condition], type_: str) -> Verdict | None:
    """The bad news that nothing has changed."""
    former = get_condition(conditions, type_)
    if former is None or former.status is not ConditionStatus.FALSE:
        return None
    return _false(_word(former.reason, "Failed"), former.message)


def _true(reason: str, message: str) -> Verdict:
    return Verdict(ConditionStatus.TRUE, reason, message)


def _false(reason: str, message: str) -> Verdict:
    return Verdict(ConditionStatus.FALSE, reason, message)


def _unknown(reason: str, message: str) -> Verdict:
    return Verdict(ConditionStatus.UNKNOWN, reason, message)


def _word(reason: str, otherwise: str) -> str:
    """A reason may come out of a bucket or a status that somebody else wrote."""
    return reason if _WORD.fullmatch(reason) else otherwise
