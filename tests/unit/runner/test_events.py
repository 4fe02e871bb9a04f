from __future__ import annotations

from datetime import timedelta

import pytest
from attrs import evolve

from controller.api.status import (
    AttemptSummary,
    BackupSummary,
    DatabaseBackupStatus,
    RestoreSummary,
    VerificationSummary,
)
from runner.conditions import Basis, assess
from runner.events import EventLimit, Happening, happenings
from tests.fakes.clock import START

_NEVER = DatabaseBackupStatus()


def _judged(status: DatabaseBackupStatus) -> DatabaseBackupStatus:
    return evolve(status, conditions=assess(status, Basis(interval=timedelta(days=1)), START))


def _after(*statuses: DatabaseBackupStatus) -> list[str]:
    """The reasons of all events of a history; conditions go on from one to the next."""
    told = _NEVER
    reasons = []
    for status in statuses:
        new = _judged(evolve(status, conditions=told.conditions))
        reasons += [one.reason for one in happenings(told, new)]
        told = new
    return reasons


def _attempt(succeeded: bool | None, reason: str = "") -> DatabaseBackupStatus:
    ended_at = None if succeeded is None else START
    return DatabaseBackupStatus(
        last_backup=BackupSummary(id="b1", started_at=START, locations=("s3",)),
        last_attempt=AttemptSummary(
            started_at=START, finished_at=ended_at, succeeded=succeeded, reason=reason
        ),
    )


def _restore(succeeded: bool | None) -> DatabaseBackupStatus:
    restore = RestoreSummary(backup_id="b1", database="", started_at=START, succeeded=succeeded)
    return DatabaseBackupStatus(last_restore=restore)


def _verification(succeeded: bool | None, backup_id: str = "b1") -> DatabaseBackupStatus:
    last = VerificationSummary(
        backup_id=backup_id,
        finished_at=START,
        succeeded=succeeded,
        reason={True: "", False: "ChecksumMismatch", None: "NoKey"}[succeeded],
    )
    return DatabaseBackupStatus(last_verification=last)


def test_the_first_success_is_news_and_the_second_is_not() -> None:
    later = evolve(
        _attempt(True), last_attempt=AttemptSummary(started_at=START + timedelta(1), succeeded=True)
    )

    assert _after(_attempt(None), _attempt(True), _attempt(None), later) == ["BackupSucceeded"]


def test_a_failure_is_news_and_so_is_the_success_after_it() -> None:
    assert _after(
        _attempt(True),
        _attempt(None),
        _attempt(False, "JobLost"),
        _attempt(None),
        _attempt(True),
    ) == ["BackupSucceeded", "BackupFailed", "BackupSucceeded"]


def test_what_a_person_cancelled_is_no_news() -> None:
    assert _after(_attempt(None), _attempt(False, "Cancelled")) == []


@pytest.mark.parametrize(("succeeded", "end"), [(True, "Succeeded"), (False, "Failed")])
def test_a_restore_is_told_at_its_start_and_its_end(succeeded: bool, end: str) -> None:
    assert _after(_restore(None), _restore(succeeded)) == ["RestoreStarted", f"Restore{end}"]


def test_damage_and_the_verification_after_it_are_news() -> None:
    assert _after(
        _verification(True),
        _verification(None),
        _verification(False),
        _verification(True),
        _verification(True, "b2"),
    ) == ["VerificationFailed", "VerificationSucceeded"]


def test_the_same_words_are_said_once_in_a_while() -> None:
    limit, one = EventLimit(window_s=600), Happening("Warning", "BackupFailed", "no answer")

    assert limit.admits(one, 0)
    assert not limit.admits(one, 599)
    assert limit.admits(one, 600)


def test_there_is_an_end_to_what_is_said_at_all() -> None:
    limit = EventLimit(window_s=600, per_window=3)
    many = [Happening("Warning", "BackupFailed", str(number)) for number in range(9)]

    assert sum(limit.admits(one, 0) for one in many) == 3
    assert sum(limit.admits(one, 601) for one in many) == 3
