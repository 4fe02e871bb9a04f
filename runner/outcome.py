"""What a job did and how a location is: values for status, metrics and clients.

A job's process makes a JobOutcome, the parent reads it from a pipe; both kinds
of value are also kept in the best-effort state object. So the JSON form is
read from other versions of this program and from a bucket: unknown fields are
ignored, a wrong type is a FormatError. No field carries a secret.
"""

from __future__ import annotations

import enum
import math
from datetime import UTC, datetime

from attrs import field, frozen

from controller.api.bounds import Between

_not_negative = Between(0, math.inf)


class JobKind(enum.Enum):
    """What a job is for; the `job_type` of metrics and status."""

    BACKUP = "backup"
    RESTORE = "restore"
    VERIFY = "verify"
    PRUNE = "prune"
    INSPECT = "inspect"
    DELETE = "delete"


class Result(enum.Enum):
    """How a job ended. Cancelled, or asked for what makes no sense: that raises no alert."""

    SUCCESS = "success"
    FAILURE = "failure"
    CANCELLED = "cancelled"


class Direction(enum.Enum):
    """Which way the bytes of a storage operation went."""

    READ = "read"
    WRITTEN = "written"


def _to_utc(moment: datetime | None) -> datetime | None:
    if moment is None:
        return None
    if moment.tzinfo is None:
        raise ValueError("a time needs an offset")
    return moment.astimezone(UTC)


@frozen(kw_only=True)
class LocationFate:
    """What became of one location during one job.

    Args:
        name: of the location.
        ok: it holds what the job was to put there, or was verified whole; None
            if nobody here can say, as of a backup whose key the runner has not;
            then its JSON has no such field.
        reason: PascalCase, of the error or of the doubt; empty if ok.
        message: for people; what to do about it.
        stored_bytes: what the job wrote there and kept.
    """

    name: str
    ok: bool | None = None
    reason: str = ""
    message: str = ""
    stored_bytes: int = field(default=0, validator=_not_negative)


@frozen(kw_only=True)
class StageTiming:
    """How long one stage of a pipeline was at work, and on how many bytes.

    Waiting for a neighbour is not work: the stage with the most seconds is
    the bottleneck.
    """

    stage: str
    seconds: float = field(validator=_not_negative)
    bytes: int = field(default=0, validator=_not_negative)


@frozen(kw_only=True)
class StorageUse:
    """Operations of one sort against one location, counted."""

    location: str
    operation: str
    ok: int = field(default=0, validator=_not_negative)
    failed: int = field(default=0, validator=_not_negative)
    bytes: int = field(default=0, validator=_not_negative)
    direction: Direction = Direction.WRITTEN


@frozen(kw_only=True)
class JobOutcome:
    """What one job did, whole: the last line that a job's process reports.

    Args:
        started_at, finished_at: aware; kept in UTC.
        reason: PascalCase; empty on success, "Cancelled" if a person or
            SIGTERM ended it.
        message: for people; empty on success.
        backup_id: of the backup that was made, restored or verified, or that a
            job began that was killed; empty if it did not get that far.
        fates: one per location that took part, in the order of the class.
        plain_bytes: what the engine wrote or was given.
        incremental: the backup has what changed since the one before it, and no more: its sizes
            say nothing about the database's.
        database: into which a restore went, or was to go.
    """

    kind: JobKind
    started_at: datetime = field(converter=_to_utc)
    finished_at: datetime = field(converter=_to_utc)
    success: bool
    reason: str = ""
    message: str = ""
    backup_id: str = ""
    fates: tuple[LocationFate, ...] = ()
    plain_bytes: int = field(default=0, validator=_not_negative)
    incremental: bool = False
    stages: tuple[StageTiming, ...] = ()
    storage: tuple[StorageUse, ...] = ()
    database: str = ""

    @property
    def result(self) -> Result:
        if self.success:
            return Result.SUCCESS
        nobodys_fault = self.reason in ("Cancelled", "UsageError")
        return Result.CANCELLED if nobodys_fault else Result.FAILURE

    @property
    def duration_s(self) -> float:
        """Seconds by the wall clock; 0 if that was set back meanwhile."""
        return max(0.0, (self.finished_at - self.started_at).total_seconds())


@frozen(kw_only=True)
class LocationState:
    """What is known about one location, from its last listing and verification.

    Args:
        healthy: the last listing worked and nothing blocks writing there.
        reason, message: why not; empty if healthy.
        checked_at: when that was found out.
        answered: it could be listed then; what follows is what it holds.
        stored_backups, stored_bytes: committed backups there; of an
            unreachable location, the last known ones.
        last_backup_at: start of the newest backup there.
        oldest_restorable_at, newest_restorable_at: the span of `--at`, by coverage.
        last_verified_at, last_verification_ok: None before the first one; the
            second also if the last one could not tell.
        vanished_backups: that this look missed and no other one did before it:
            they were there, and nobody pruned them.
    """

    name: str
    healthy: bool
    checked_at: datetime = field(converter=_to_utc)
    answered: bool = True
    reason: str = ""
    message: str = ""
    stored_backups: int = field(default=0, validator=_not_negative)
    stored_bytes: int = field(default=0, validator=_not_negative)
    last_backup_at: datetime | None = field(default=None, converter=_to_utc)
    oldest_restorable_at: datetime | None = field(default=None, converter=_to_utc)
    newest_restorable_at: datetime | None = field(default=None, converter=_to_utc)
    last_verified_at: datetime | None = field(default=None, converter=_to_utc)
    last_verification_ok: bool | None = None
    vanished_backups: int = field(default=0, validator=_not_negative)
