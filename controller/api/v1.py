"""Version v1 of the group backup.nect.com: both kinds as frozen values.

Field names here are Python's; controller.api.wire knows the manifest's. A field
exists only when it works. Bounds stand at the field, rules that cross fields in
controller.api.rules; a value that exists keeps both, whoever made it.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import Annotated, ClassVar, TypeVar

from attrs import Factory, evolve, field, frozen
from attrs.validators import and_, optional

from controller.api import rules
from controller.api.bounds import DNS_LABEL, DNS_NAME, TEXT, Between, Each, Length, Matches
from controller.api.locations import BackupLocation, StorageClassSpec, StorageType
from controller.api.secrets import SecretValue
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
    "DatabaseBackup",
    "DatabaseBackupSpec",
    "DatabaseBackupStatus",
    "DatabaseBackupStorageClass",
    "HoldTime",
    "MysqlSpec",
    "ObjectMeta",
    "PostgresSpec",
    "Retention",
    "RunnerOptions",
    "SslMode",
    "StorageClassSpec",
    "StorageClassStatus",
    "StorageType",
    "Verification",
]

#: A duration that manifests also give as an integer of nanoseconds.
HoldTime = Annotated[timedelta, "nanoseconds"]

_V = TypeVar("_V")
_YEAR = timedelta(days=366)
_PORT = Between(1, 65535)
_MAX_RULES = 32


def _read_only(mapping: Mapping[str, _V] | None) -> Mapping[str, _V] | None:
    return None if mapping is None else MappingProxyType(dict(mapping))


class SslMode(enum.Enum):
    """libpq's sslmode."""

    DISABLE = "disable"
    ALLOW = "allow"
    PREFER = "prefer"
    REQUIRE = "require"
    VERIFY_CA = "verify-ca"
    VERIFY_FULL = "verify-full"


@frozen(kw_only=True)
class CockroachSpec:
    """DatabaseBackup.spec.cockroach.

    Args:
        cert, cert_key, cert_ca: PEM texts of the client's certificate, its key and the CA.
        cert_ca_from_cluster: the CA is the Kubernetes cluster's own.
    """

    database: str = field(validator=TEXT)
    host: str = field(validator=TEXT)
    port: int = field(default=26257, validator=_PORT)
    user: str = field(default="root", validator=TEXT)
    cert: SecretValue | None = None
    cert_key: SecretValue | None = None
    cert_ca: SecretValue | None = None
    cert_ca_from_cluster: bool = False


@frozen(kw_only=True)
class MysqlSpec:
    """DatabaseBackup.spec.mysql; here the user is a secret value, too."""

    database: str = field(validator=TEXT)
    host: str = field(validator=TEXT)
    port: int = field(default=3306, validator=_PORT)
    user: SecretValue
    password: SecretValue | None = None  # `pass` on the wire


@frozen(kw_only=True)
class PostgresSpec(rules.Checked):
    """DatabaseBackup.spec.postgres.

    Args:
        database: what to back up, one database.
        host: name, address, or the folder of a Unix socket.
        password: `pass` on the wire; None if the server asks for none.
        ssl_mode: libpq's. verify-ca and verify-full without `ssl_root_cert`
            look where libpq looks by default.
        ssl_root_cert, ssl_cert, ssl_key: PEM texts; the last two go together.
    """

    RULES = (rules.certificate_has_its_key, rules.certificates_are_used)

    database: str = field(
        validator=Matches(
            r"[^\x00-\x1f\x7f]{1,63}", "1 to 63 characters without control characters"
        )
    )
    host: str = field(validator=TEXT)
    port: int = field(default=5432, validator=_PORT)
    user: str = field(validator=TEXT)
    password: SecretValue | None = None
    ssl_mode: SslMode = SslMode.PREFER
    ssl_root_cert: SecretValue | None = None
    ssl_cert: SecretValue | None = None
    ssl_key: SecretValue | None = None


_KEEP = Between(1, 100_000)


@frozen(kw_only=True)
class Retention(rules.Checked):
    """DatabaseBackup.spec.retention: plain and grandfather-father-son rules.

    A backup stays while any rule wants it.

    Args:
        keep_within: everything younger than this.
        keep_last: the newest n.
        keep_hourly ... keep_yearly: the last one of each of the newest n periods.
        minimum_keep: never fewer than this, whatever the rules say.
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
    """DatabaseBackup.spec.compression: zstd; above 19 its memory is not bounded as ours is."""

    level: int = field(default=1, validator=Between(1, 19))


@frozen(kw_only=True)
class Verification:
    """DatabaseBackup.spec.verification: a scheduled `verify` of the newest backup."""

    every: timedelta = field(validator=Between(timedelta(minutes=1), _YEAR))


@frozen(kw_only=True)
class RunnerOptions:
    """DatabaseBackup.spec.runner. Grows with the controller.

    Args:
        parallelism: ceiling for simultaneous streams of one backup or restore.
    """

    parallelism: int = field(default=1, validator=Between(1, 32))


# Python's strftime on every libc that matters, and the Go original's.
_FORMAT = Matches(
    r"([^%\x00-\x1f\x7f]|%[AaBbCcDdeFGgHIjklMmnpRrSTtUuVvWwXxYyZz%]){1,64}",
    "a strftime format of 1 to 64 characters",
)


def _formats_are_known(instance: object, attribute: object, value: Mapping[str, timedelta]) -> None:
    keys = {key: key for key in value}
    Each(_FORMAT)(instance, attribute, keys)  # type: ignore[arg-type]


@frozen(kw_only=True)
class DatabaseBackupSpec(rules.Checked):
    """DatabaseBackup.spec.

    Args:
        database_type: name of an engine, and of the section with its settings.
        backup_storage_class: name of a DatabaseBackupStorageClass.
        database_version: picks the runner's image; empty means the newest.
        backup_cron: 5 fields; wins over the interval.
        backup_interval_hours: `backupInterval` on the wire, aligned to the
            epoch: 2 means 00:00, 02:00, ... UTC.
        time_zone: of `backup_cron` and of the retention's periods.
        jitter_seconds: each tick is late by a stable part of this.
        suspend: no scheduled jobs; jobs by hand run.
        starting_deadline_seconds: a tick missed by less than this is caught up.
        timeout, stall_timeout: a job ends after this long, and after this long without progress.
        retention: excludes `retention_config`; neither means the Go original's default.
        retention_config: strftime format -> how long a backup keeps the label.
        use_single_backup_target: keep only the newest.
        compression, verification, runner: see their types.
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

    database_type: str = field(validator=DNS_LABEL)
    backup_storage_class: str = field(validator=DNS_NAME)
    database_version: str = field(
        default="",
        validator=Matches(
            r"[A-Za-z0-9][-A-Za-z0-9._]{0,62}", "a version such as 16 or 16.4", optional=True
        ),
    )
    cockroach: CockroachSpec | None = None
    mysql: MysqlSpec | None = None
    postgres: PostgresSpec | None = None
    backup_cron: str = field(
        default="", validator=Matches(TEXT.pattern, TEXT.meaning, optional=True)
    )
    backup_interval_hours: int | None = field(default=None, validator=Between(1, 87_600))
    time_zone: str = "UTC"
    jitter_seconds: int = field(default=0, validator=Between(0, 86_400))
    suspend: bool = False
    starting_deadline_seconds: int = field(default=86_400, validator=Between(0, 31_622_400))
    timeout: timedelta = field(
        default=timedelta(hours=24), validator=Between(timedelta(seconds=1), _YEAR)
    )
    stall_timeout: timedelta = field(
        default=timedelta(minutes=10), validator=Between(timedelta(seconds=1), _YEAR)
    )
    retention: Retention | None = None
    retention_config: Mapping[str, HoldTime] | None = field(
        default=None,
        converter=_read_only,
        validator=optional(and_(Length(1, _MAX_RULES), _formats_are_known)),
    )
    use_single_backup_target: bool = False
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
    """One database, how often it is backed up and how long backups are kept."""

    KIND: ClassVar[str] = "DatabaseBackup"
    RULES = (rules.has_a_namespace,)

    metadata: ObjectMeta
    spec: DatabaseBackupSpec
    status: DatabaseBackupStatus = Factory(DatabaseBackupStatus)


@frozen(kw_only=True)
class DatabaseBackupStorageClass:
    """Where backups are stored and how."""

    KIND: ClassVar[str] = "DatabaseBackupStorageClass"

    metadata: ObjectMeta
    spec: StorageClassSpec
    status: StorageClassStatus = Factory(StorageClassStatus)
