from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from attrs import evolve

from controller.api.conditions import Condition, ConditionStatus, get_condition
from controller.api.status import (
    AttemptSummary,
    BackupSummary,
    DatabaseBackupStatus,
    LocationStatus,
    VerificationSummary,
)
from runner.conditions import Basis, assess, own_part
from tests.fakes.clock import START

_DAILY = Basis(generation=7, interval=timedelta(days=1))


def _attempt(succeeded: bool | None, reason: str = "", message: str = "") -> AttemptSummary:
    return AttemptSummary(
        started_at=START,
        finished_at=None if succeeded is None else START,
        succeeded=succeeded,
        reason=reason,
        message=message,
    )


def _backup(*, hours_ago: float = 0, locations: tuple[str, ...] = ("s3",)) -> BackupSummary:
    started_at = START - timedelta(hours=hours_ago)
    return BackupSummary(id="an-id", started_at=started_at, locations=locations)


def _location(name: str = "s3", reason: str = "", message: str = "") -> LocationStatus:
    return LocationStatus(name=name, healthy=not reason, reason=reason, message=message)


def _verification(succeeded: bool | None, reason: str = "") -> VerificationSummary:
    return VerificationSummary(
        backup_id="an-id", finished_at=START, succeeded=succeeded, reason=reason, message="why"
    )


def _judged(
    type_: str, status: DatabaseBackupStatus, basis: Basis = _DAILY, now: datetime = START
) -> tuple[str, str]:
    condition = get_condition(assess(status, basis, now), type_)
    assert condition is not None
    return condition.status.value, condition.reason


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ({}, ("Unknown", "Pending")),
        ({"last_attempt": _attempt(None)}, ("Unknown", "Pending")),
        ({"last_backup": _backup()}, ("True", "BackupSucceeded")),
        (
            {"last_backup": _backup(), "last_attempt": _attempt(True)},
            ("True", "BackupSucceeded"),
        ),
        ({"last_backup": _backup(hours_ago=47)}, ("True", "BackupSucceeded")),
        ({"last_backup": _backup(hours_ago=49)}, ("False", "Overdue")),
        (
            {"last_backup": _backup(hours_ago=49), "last_attempt": _attempt(None)},
            ("False", "Overdue"),
        ),
        (
            {"last_backup": _backup(), "last_attempt": _attempt(False, "AccessDenied")},
            ("False", "AccessDenied"),
        ),
        ({"last_attempt": _attempt(False, "")}, ("False", "BackupFailed")),
        ({"last_attempt": _attempt(False, "no word, from a bucket")}, ("False", "BackupFailed")),
        ({"last_attempt": _attempt(True)}, ("False", "NoBackup")),
        (
            {"last_backup": _backup(), "last_attempt": _attempt(False, "Cancelled")},
            ("True", "BackupSucceeded"),
        ),
    ],
)
def test_backup_healthy_says_whether_the_database_is_protected(
    status: dict[str, Any], expected: tuple[str, str]
) -> None:
    assert _judged("BackupHealthy", DatabaseBackupStatus(**status)) == expected


def test_while_suspended_nobody_knows() -> None:
    status = DatabaseBackupStatus(last_backup=_backup(hours_ago=999))

    assert _judged("BackupHealthy", status, Basis(suspended=True)) == ("Unknown", "Suspended")


@pytest.mark.parametrize("attempt", [_attempt(None), _attempt(False, "Cancelled")])
def test_a_failure_stays_known_while_the_next_backup_runs_or_was_cancelled(
    attempt: AttemptSummary,
) -> None:
    failed = DatabaseBackupStatus(
        last_backup=_backup(), last_attempt=_attempt(False, "DatabaseUnavailable", "no answer")
    )
    failed = evolve(failed, conditions=assess(failed, _DAILY, START))

    later = evolve(failed, last_attempt=attempt)

    assert _judged("BackupHealthy", later) == ("False", "DatabaseUnavailable")


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ({}, ("Unknown", "NotChecked")),
        ({"locations": (_location(),)}, ("True", "AllHealthy")),
        (
            {"locations": (_location(), _location("gcs", "AccessDenied", "grant it"))},
            ("False", "AccessDenied"),
        ),
        (
            {"locations": (_location("a", "AccessDenied"), _location("b", "ForeignOwner"))},
            ("False", "LocationsFailed"),
        ),
        (
            {"locations": (_location(), _location("gcs")), "last_backup": _backup()},
            ("False", "LocationBehind"),
        ),
        (
            {
                "locations": (_location(), _location("gcs")),
                "last_backup": _backup(locations=("s3", "gcs")),
            },
            ("True", "AllHealthy"),
        ),
    ],
)
def test_locations_healthy_says_whether_all_of_them_take_backups(
    status: dict[str, Any], expected: tuple[str, str]
) -> None:
    assert _judged("LocationsHealthy", DatabaseBackupStatus(**status)) == expected


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        (None, ("Unknown", "NotVerified")),
        (_verification(True), ("True", "EveryByteRead")),
        (_verification(False, "ChecksumMismatch"), ("False", "ChecksumMismatch")),
        (_verification(False, ""), ("False", "VerificationFailed")),
        (_verification(False, "NoKey"), ("Unknown", "NoKey")),
        (_verification(None, "NoKey"), ("Unknown", "NoKey")),
        (_verification(None), ("Unknown", "VerificationFailed")),
        (_verification(False, "StorageUnavailable"), ("Unknown", "StorageUnavailable")),
    ],
)
def test_verified_tells_damage_from_what_could_not_be_read(
    last: VerificationSummary | None, expected: tuple[str, str]
) -> None:
    assert _judged("Verified", DatabaseBackupStatus(last_verification=last)) == expected


def test_damage_stays_known_when_a_location_cannot_be_read_later() -> None:
    damaged = DatabaseBackupStatus(last_verification=_verification(False, "TruncatedBackup"))
    damaged = evolve(damaged, conditions=assess(damaged, _DAILY, START))

    later = evolve(damaged, last_verification=_verification(False, "StorageUnavailable"))

    assert _judged("Verified", later) == ("False", "TruncatedBackup")


def test_a_condition_has_its_generation_and_moves_only_when_its_status_does() -> None:
    status = DatabaseBackupStatus(last_backup=_backup())
    status = evolve(status, conditions=assess(status, _DAILY, START))
    later = START + timedelta(hours=1)

    again = assess(evolve(status, last_attempt=_attempt(True)), evolve(_DAILY, generation=8), later)
    failed = assess(evolve(status, last_attempt=_attempt(False, "Retriable")), _DAILY, later)

    for conditions, generation, at in ((again, 8, START), (failed, 7, later)):
        condition = get_condition(conditions, "BackupHealthy")
        assert condition is not None
        assert (condition.observed_generation, condition.last_transition_time) == (generation, at)


def test_the_own_part_leaves_out_what_the_controller_writes() -> None:
    theirs = Condition(type="Ready", status=ConditionStatus.TRUE, reason="Applied")
    ours = Condition(type="Verified", status=ConditionStatus.TRUE, reason="EveryByteRead")
    status = DatabaseBackupStatus(
        conditions=(theirs, ours), observed_generation=3, hash="x", runner="y", stored_backups=2
    )

    assert own_part(status) == DatabaseBackupStatus(conditions=(ours,), stored_backups=2)
