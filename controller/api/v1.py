"""Version v1 of the group backup.nect.com: both kinds as frozen values.

Field names here are Python's; controller.api.wire knows the manifest's. A field
exists only when it works. Bounds stand at the field, rules that cross fields in
controller.api.rules; a value that exists keeps both, whoever made it.

The schema of the custom resources is generated from these types, and docstrings
are what `kubectl explain` prints: they speak to who writes a manifest.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import ClassVar, TypeVar

from attrs import Factory, evolve, field, frozen

from controller.api import rules
from controller.api.bounds import (
    DNS_LABEL,
    DNS_NAME,
    TEXT,
    All,
    Between,
    Keys,
    Length,
    Matches,
    OneOf,
    wire,
)
from controller.api.databases import (
    CockroachSpec,
    MariadbSpec,
    MariadbTlsMode,
    MysqlSpec,
    PostgresSpec,
    SslMode,
    TlsMode,
)
from controller.api.durations import HoldTime
from controller.api.locations import BackupLocation, CredentialScope, StorageClassSpec, StorageType
from controller.api.pods import PodOptions, RunnerDefaults
from controller.api.status import DatabaseBackupStatus, StorageClassStatus

GROUP = "backup.nect.com"
VERSION = "v1"
API_VERSION = f"{GROUP}/{VERSION}"

__all__ = [
    "API_VERSION",
    "GROUP",
    "VERSION",
    "BackupLocation",
    "CockroachSpec",
    "Compression",
    "CredentialScope",
    "DatabaseBackup",
    "DatabaseBackupSpec",
    "DatabaseBackupStatus",
    "DatabaseBackupStorageClass",
    "DeletionPolicy",
    "HoldTime",
    "MariadbSpec",
    "MariadbTlsMode",
    "MysqlSpec",
    "ObjectMeta",
    "PodOptions",
    "PostgresSpec",
    "Retention",
    "RunnerDefaults",
    "RunnerOptions",
    "SslMode",
    "StorageClassSpec",
    "StorageClassStatus",
    "StorageType",
    "TlsMode",
    "Verification",
]

_V = TypeVar("_V")
_YEAR = timedelta(days=366)
#: What is silent and well has to be shorter: a job waits up to 10 s for each lock, and its process
#: alone takes some seconds to begin where the CPU is short.
SHORTEST_STALL = timedelta(seconds=15)
_MAX_RULES = 32


def _read_only(mapping: Mapping[str, _V] | None) -> Mapping[str, _V] | None:
    return None if mapping is None else MappingProxyType(dict(mapping))


class DeletionPolicy(enum.Enum):
    """What becomes of the backups when the object is deleted."""

    RETAIN = "Retain"
    DELETE = "Delete"


_KEEP = Between(1, 100_000)


@frozen(kw_only=True)
class Retention(rules.Checked):
    """How long backups are kept: plain and grandfather-father-son rules.

    A backup stays while any rule wants it; at least one of the keep rules is
    required. Excludes `retentionConfig`.

    Args:
        keep_within: keep everything younger than this, such as 48h or 7d.
        keep_last: keep the newest n backups.
        keep_hourly: keep the last backup of each of the newest n hours that have one.
        keep_daily: keep the last backup of each of the newest n days that have one.
        keep_weekly: keep the last backup of each of the newest n ISO weeks that have one.
        keep_monthly: keep the last backup of each of the newest n months that have one.
        keep_yearly: keep the last backup of each of the newest n years that have one.
        minimum_keep: never keep fewer than this, whatever the rules say.
    """

    RULES = (rules.something_is_kept,)

    keep_within: timedelta | None = field(
        default=None, validator=Between(timedelta(minutes=1), 100 * _YEAR)
    )
    keep_last: int | None = field(default=None, validator=_KEEP)
    keep_hourly: int | None = field(default=None, validator=_KEEP)
    keep_daily: int | None = field(default=None, validator=_KEEP)
    keep_weekly: int | None = field(default=None, validator=_KEEP)
    keep_monthly: int | None = field(default=None, validator=_KEEP)
    keep_yearly: int | None = field(default=None, validator=_KEEP)
    minimum_keep: int = field(default=3, validator=_KEEP)


@frozen(kw_only=True)
class Compression:
    """How backups are compressed: zstd.

    Args:
        level: level of zstd. 1 costs next to nothing; above it time grows
            faster than size falls.
    """

    # Above 19 its memory is not bounded as ours is.
    level: int = field(default=1, validator=Between(1, 19), metadata=wire(writes_default=False))


@frozen(kw_only=True)
class Verification:
    """A scheduled verification; without it nothing is verified but by hand.

    Args:
        every: how often the newest backup is read again in every location and
            checked byte by byte, such as 7d.
    """

    every: timedelta = field(validator=Between(timedelta(minutes=1), _YEAR))


@frozen(kw_only=True)
class RunnerOptions(PodOptions):
    """The process that does the work, and its pod. What restarts it: everything but `parallelism`.

    Args:
        parallelism: ceiling for simultaneous streams of one backup or restore.
            Backups gain from 4 cores on, restores from 2.
    """

    # The storage class may have a default for all its runners: none to be stored here.
    parallelism: int = field(
        default=1, validator=Between(1, 32), metadata=wire(writes_default=False)
    )


# Python's strftime on every libc that matters, and the Go original's.
_FORMAT = Matches(
    r"([^%\x00-\x1f\x7f]|%[AaBbCcDdeFGgHIjklMmnpRrSTtUuVvWwXxYyZz%]){1,64}",
    "a strftime format of 1 to 64 characters",
    longest=128,
)


@frozen(kw_only=True)
class DatabaseBackupSpec(rules.Checked):
    """What is backed up, when, to where, and how long it is kept.

    Durations are numbers with units, such as 90m, 36h, 7d or 1h30m.

    Args:
        database_type: kind of the database, and name of the section with its settings.
        backup_storage_class: name of the DatabaseBackupStorageClass that says where backups go.
        database_version: major version of the database, for the choice of the
            runner's image; left out: the newest known.
        backup_cron: when: five fields, @daily and its like, "@every 1h30m", or
            "CRON_TZ=Asia/Tokyo 0 9 * * *". Wins over `backupInterval`.
        backup_interval_hours: when: every so many hours, aligned to the epoch:
            2 means 00:00, 02:00, ... UTC. This or `backupCron` is required,
            unless `suspend` is true.
        time_zone: IANA name such as Europe/Berlin; of `backupCron` and of the
            days, weeks and months of retention.
        jitter_seconds: every tick is late by a part of this: stable for one
            object, different between objects.
        suspend: no scheduled job of any kind; jobs by hand run.
        starting_deadline_seconds: a tick that was missed by no more than this runs once, late.
        timeout: a job that takes longer is ended and taken back.
        stall_timeout: a job without any progress for so long is ended.
        retention_config: the other way to say how long backups are kept:
            strftime format -> how long a backup keeps the label, as a duration
            or in whole nanoseconds. Excludes `retention`; without both, backups
            are kept by hour, day, week and month for up to a year.
        use_single_backup_target: keep only the newest backup. It is still
            written beside the old one, never over it. Excludes `retention`.
        deletion_policy: what becomes of the backups when this object is deleted.
            Retain: they stay where they are. Delete: its runner deletes them from
            every location first, for which the object waits; what cannot be
            deleted within 15 minutes stays, and an event names it.
    """

    RULES = (
        rules.engine_block_matches_type,
        rules.no_other_engine_block,
        rules.has_a_schedule,
        rules.cron_fires,
        rules.time_zone_exists,
        rules.one_kind_of_retention,
        rules.single_target_needs_no_retention,
    )

    # Which engines this build has is the registry's to say; which the API has is said here.
    database_type: str = field(validator=DNS_LABEL, metadata=wire(OneOf(rules.ENGINE_BLOCKS)))
    backup_storage_class: str = field(validator=DNS_NAME)
    database_version: str = field(
        default="",
        validator=Matches(
            r"[A-Za-z0-9][-A-Za-z0-9._]{0,62}", "a version such as 16 or 16.4", optional=True
        ),
    )
    cockroach: CockroachSpec | None = None
    mariadb: MariadbSpec | None = None
    mysql: MysqlSpec | None = None
    postgres: PostgresSpec | None = None
    backup_cron: str = field(
        default="", validator=Matches(TEXT.pattern, TEXT.meaning, optional=True)
    )
    backup_interval_hours: int | None = field(default=None, validator=Between(1, 87_600))
    time_zone: str = field(
        default="UTC",
        metadata=wire(
            Matches(
                r"[A-Za-z][-+A-Za-z0-9_]*(/[-+A-Za-z0-9_]+)*",
                'a name of the IANA database, such as "Europe/Berlin"',
                longest=64,
            )
        ),
    )
    jitter_seconds: int = field(default=0, validator=Between(0, 86_400))
    suspend: bool = False
    starting_deadline_seconds: int = field(default=86_400, validator=Between(0, 31_622_400))
    timeout: timedelta = field(
        default=timedelta(hours=24),
        validator=Between(timedelta(seconds=1), _YEAR),
        metadata=wire(writes_default=False),
    )
    stall_timeout: timedelta = field(
        default=timedelta(minutes=10),
        validator=Between(SHORTEST_STALL, _YEAR),
        metadata=wire(writes_default=False),
    )
    retention: Retention | None = None
    retention_config: Mapping[str, HoldTime] | None = field(
        default=None,
        converter=_read_only,
        validator=All((Length(1, _MAX_RULES), Keys(_FORMAT))),
    )
    use_single_backup_target: bool = False
    deletion_policy: DeletionPolicy = DeletionPolicy.RETAIN
    compression: Compression = Factory(Compression)
    verification: Verification | None = None
    runner: RunnerOptions = Factory(RunnerOptions)


@frozen(kw_only=True)
class ObjectMeta:
    """The part of metadata that we read."""

    name: str = field(validator=DNS_NAME)
    namespace: str = field(default="", validator=evolve(DNS_LABEL, optional=True))
    uid: str = ""
    generation: int = 0
    labels: Mapping[str, str] = field(factory=dict, converter=_read_only)
    annotations: Mapping[str, str] = field(factory=dict, converter=_read_only)


@frozen(kw_only=True)
class DatabaseBackup(rules.Checked):
    """One database: how often it is backed up, to where, and how long backups are kept.

    Its status says whether it is protected now and which pod takes `kubectl exec`.
    """

    KIND: ClassVar[str] = "DatabaseBackup"
    RULES = (rules.has_a_namespace,)

    metadata: ObjectMeta
    spec: DatabaseBackupSpec
    status: DatabaseBackupStatus = Factory(DatabaseBackupStatus)


@frozen(kw_only=True)
class DatabaseBackupStorageClass:
    """Where backups are stored: one or more places that all get every backup."""

    KIND: ClassVar[str] = "DatabaseBackupStorageClass"

    metadata: ObjectMeta
    spec: StorageClassSpec
    status: StorageClassStatus = Factory(StorageClassStatus)
