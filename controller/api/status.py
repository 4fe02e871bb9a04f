"""The status of both kinds: is it protected now, and where do I look.

Written through the status subresource by the controller (conditions, runner)
and by the runner (the rest). Times are aware UTC.
"""

from __future__ import annotations

from datetime import datetime

from attrs import frozen

from controller.api.conditions import Condition


@frozen(kw_only=True)
class BackupSummary:
    """status.lastBackup: the newest backup that can be restored.

    Args:
        id: as `restore --name` takes it. started_at: start of its job.
        size_bytes: stored bytes in one location.
        locations: names of those that hold it.
    """

    id: str
    started_at: datetime
    finished_at: datetime | None = None
    size_bytes: int = 0
    locations: tuple[str, ...] = ()


@frozen(kw_only=True)
class AttemptSummary:
    """status.lastAttempt: the last backup job, whatever became of it.

    `finished_at` and `succeeded` are absent while it runs. `config_digest`
    says with which configuration.
    """

    started_at: datetime
    finished_at: datetime | None = None
    succeeded: bool | None = None
    reason: str = ""
    message: str = ""
    config_digest: str = ""


@frozen(kw_only=True)
class RestoreSummary:
    """status.lastRestore: when, what, into what."""

    backup_id: str
    database: str
    started_at: datetime
    finished_at: datetime | None = None
    succeeded: bool | None = None
    message: str = ""


@frozen(kw_only=True)
class VerificationSummary:
    """status.lastVerification: the last time that every byte of a backup was read again."""

    backup_id: str
    finished_at: datetime
    succeeded: bool
    message: str = ""


@frozen(kw_only=True)
class LocationStatus:
    """status.locations[]: what one location holds of this object, by its name."""

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
    """DatabaseBackup.status.

    Args:
        hash: the Go original's; kept so that a status write does not erase it.
        runner: name of the Deployment whose pod takes `kubectl exec`.
        recoverable_from, recoverable_until: the span that `restore --at` accepts.
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
    """status.locations[] of a class: how many of its runners reach a location."""

    name: str
    healthy: int = 0
    failing: int = 0
    message: str = ""


@frozen(kw_only=True)
class StorageClassStatus:
    """DatabaseBackupStorageClass.status; `used_by` counts DatabaseBackups."""

    conditions: tuple[Condition, ...] = ()
    observed_generation: int = 0
    used_by: int = 0
    locations: tuple[ClassLocationStatus, ...] = ()
