"""The status of both kinds: is it protected now, and where do I look.

Written through the status subresource by the controller (conditions, runner)
and by the runner (the rest). Times are aware UTC.
"""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from attrs import frozen

from controller.api.conditions import Condition


@frozen(kw_only=True)
class BackupSummary:
    """The newest backup that as many locations hold as are required.

    Args:
        id: as `restore --name` takes it.
        started_at: start of its job.
        finished_at: end of its job.
        size_bytes: stored bytes, in one location.
        locations: names of the locations that hold it.
    """

    id: str
    started_at: datetime
    finished_at: datetime | None = None
    size_bytes: int = 0
    locations: tuple[str, ...] = ()


@frozen(kw_only=True)
class AttemptSummary:
    """The last backup job, whatever became of it.

    Args:
        started_at: start of the job.
        finished_at: end of the job; absent while it runs.
        succeeded: absent while it runs.
        reason: one word for machines.
        message: for people: what went wrong and the cure.
        config_digest: digest of the configuration that it ran with.
    """

    started_at: datetime
    finished_at: datetime | None = None
    succeeded: bool | None = None
    reason: str = ""
    message: str = ""
    config_digest: str = ""


@frozen(kw_only=True)
class RestoreSummary:
    """The last restore: when, what, into what.

    Args:
        backup_id: what was restored.
        database: into which database.
        started_at: start of the job.
        finished_at: end of the job; absent while it runs.
        succeeded: absent while it runs.
        message: for people: what went wrong and the cure.
    """

    backup_id: str
    database: str
    started_at: datetime
    finished_at: datetime | None = None
    succeeded: bool | None = None
    message: str = ""


@frozen(kw_only=True)
class VerificationSummary:
    """The last time that every byte of a backup was read again.

    Args:
        backup_id: which backup.
        finished_at: when.
        succeeded: every byte was as it was stored. Absent if nobody here can tell:
            the runner has no key for the contents.
        reason: one word for machines, if not.
        message: for people: what went wrong and the cure.
    """

    backup_id: str
    finished_at: datetime
    succeeded: bool | None = None
    reason: str = ""
    message: str = ""


@frozen(kw_only=True)
class LocationStatus:
    """What one location holds of this object.

    Args:
        name: name of the location.
        healthy: it could be listed, and nothing forbids to write there.
        reason: one word for machines, if it is not.
        message: for people: what is wrong and the cure.
        stored_backups: how many backups it holds.
        oldest_backup_at: state of the database that the oldest of them shows.
        newest_backup_at: state of the database that the newest of them shows.
        last_verified_at: when a backup in it was last read again, byte by byte.
    """

    LIST_KEY: ClassVar[str] = "name"

    name: str
    healthy: bool
    reason: str = ""
    message: str = ""
    stored_backups: int = 0
    oldest_backup_at: datetime | None = None
    newest_backup_at: datetime | None = None
    last_verified_at: datetime | None = None


@frozen(kw_only=True)
class DatabaseBackupStatus:
    """Is it protected now, and where to look.

    Args:
        conditions: `Ready` is about the runner; `BackupHealthy` is the one to alert on,
            whenever it is not True.
        observed_generation: metadata.generation that the status is about.
        hash: of an earlier controller of this API; kept, not used.
        runner: name of the Deployment whose pod takes `kubectl exec`.
        next_backup_at: next tick of the schedule.
        stored_backups: how many backups at least one location holds.
        oldest_backup_at: state of the database that the oldest of them shows.
        recoverable_from: earliest time that `restore --at` accepts.
        recoverable_until: state of the database that the newest backup shows.
        locations: what each location holds.
    """

    conditions: tuple[Condition, ...] = ()
    observed_generation: int = 0
    hash: str = ""
    runner: str = ""
    last_backup: BackupSummary | None = None
    last_attempt: AttemptSummary | None = None
    last_restore: RestoreSummary | None = None
    last_verification: VerificationSummary | None = None
    next_backup_at: datetime | None = None
    stored_backups: int | None = None
    oldest_backup_at: datetime | None = None
    recoverable_from: datetime | None = None
    recoverable_until: datetime | None = None
    locations: tuple[LocationStatus, ...] = ()


@frozen(kw_only=True)
class ClassLocationStatus:
    """How many of the class's runners reach a location.

    Args:
        name: name of the location.
        healthy: how many runners reach it, by what each said last.
        failing: how many runners do not, by the same.
        message: for people: what is wrong, by one of those.
    """

    LIST_KEY: ClassVar[str] = "name"

    name: str
    healthy: int = 0
    failing: int = 0
    message: str = ""


@frozen(kw_only=True)
class StorageClassStatus:
    """Can it be used, and is it.

    Args:
        conditions: `Ready` sums up.
        observed_generation: metadata.generation that the status is about.
        used_by: how many DatabaseBackups name this class and may use it.
        locations: how each location is doing, gathered from their runners.
    """

    conditions: tuple[Condition, ...] = ()
    observed_generation: int = 0
    used_by: int = 0
    locations: tuple[ClassLocationStatus, ...] = ()
