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
from controller.api.durations import HoldTime
from controller.api.locations import BackupLocation, CredentialScope, StorageClassSpec, StorageType
from controller.api.pods import PodOptions, RunnerDefaults
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
_PORT = Between(1, 65535)
_SCHEMA = Matches(r"[^\x00-\x1f\x7f]{1,64}", "1 to 64 characters without control characters")
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


class TlsMode(enum.Enum):
    """MySQL's ssl-mode."""

    DISABLED = "disabled"
    PREFERRED = "preferred"
    REQUIRED = "required"
    VERIFY_CA = "verify-ca"
    VERIFY_IDENTITY = "verify-identity"


class MariadbTlsMode(enum.Enum):
    """MySQL's ssl-mode, without what MariaDB's clients cannot do: check the authority alone."""

    DISABLED = "disabled"
    PREFERRED = "preferred"
    REQUIRED = "required"
    VERIFY_IDENTITY = "verify-identity"


class DeletionPolicy(enum.Enum):
    """What becomes of the backups when the object is deleted."""

    RETAIN = "Retain"
    DELETE = "Delete"


@frozen(kw_only=True)
class CockroachSpec:
    """A CockroachDB database and how to log in. It writes its backups to the locations by itself.

    Args:
        database: what to back up, one database.
        host: name or address, of a node or of what stands before all of them.
        port: TCP port.
        user: user of the cluster; the rights that it needs are in docs/cockroach.md.
        password: password of the user; leave it out if the server asks for none, or for a
            certificate.
        cert: PEM of the client's certificate; goes together with `certKey`.
        cert_key: PEM of its key.
        cert_ca: PEM of the authority that signed the nodes' certificates; with it they are
            proven, without it the connection is only encrypted if they offer it.
        cert_ca_from_cluster: that authority is the Kubernetes cluster's own; `certCA` wins.
    """

    database: str = field(validator=TEXT)
    host: str = field(validator=TEXT)
    port: int = field(default=26257, validator=_PORT)
    user: str = field(default="root", validator=TEXT)
    password: SecretValue | None = None
    cert: SecretValue | None = None
    cert_key: SecretValue | None = None
    cert_ca: SecretValue | None = None
    cert_ca_from_cluster: bool = False


@frozen(kw_only=True)
class MysqlSpec(rules.Checked):
    """A MySQL database and how to log in.

    Args:
        database: what to back up, one database.
        host: name, address, or the path of a Unix socket.
        port: TCP port.
        user: user of the database, a secret value, too; the rights that it needs are in
            docs/mysql.md.
        password: password of the user; leave it out if the server asks for none.
        ssl_mode: whether TLS is used. Only verify-ca and verify-identity prove who
            the server is; without `sslCA` by what the runner's image trusts.
        ssl_ca: PEM of the authority that signed the server's certificate.
        ssl_cert: PEM of the client's certificate; goes together with `sslKey`.
        ssl_key: PEM of its key.
    """

    RULES = (rules.certificate_has_its_key, rules.mysql_certificates_are_used)

    database: str = field(validator=_SCHEMA)
    host: str = field(validator=TEXT)
    port: int = field(default=3306, validator=_PORT)
    user: SecretValue
    password: SecretValue | None = None
    ssl_mode: TlsMode = TlsMode.PREFERRED
    ssl_ca: SecretValue | None = None
    ssl_cert: SecretValue | None = None
    ssl_key: SecretValue | None = None


@frozen(kw_only=True)
class MariadbSpec(rules.Checked):
    """A MariaDB database and how to log in.

    Args:
        database: what to back up, one database.
        host: name, address, or the path of a Unix socket.
        port: TCP port.
        user: user of the database, a secret value, too; the rights that it needs are in
            docs/mariadb.md.
        password: password of the user; leave it out if the server asks for none.
        ssl_mode: whether TLS is used. Only verify-identity proves who the server is;
            without `sslCA` by what the runner's image trusts.
        ssl_ca: PEM of the authority that signed the server's certificate.
        ssl_cert: PEM of the client's certificate; goes together with `sslKey`.
        ssl_key: PEM of its key.
    """

    RULES = (rules.certificate_has_its_key, rules.mysql_certificates_are_used)

    database: str = field(validator=_SCHEMA)
    host: str = field(validator=TEXT)
    port: int = field(default=3306, validator=_PORT)
    user: SecretValue
    password: SecretValue | None = None
    ssl_mode: MariadbTlsMode = MariadbTlsMode.PREFERRED
    ssl_ca: SecretValue | None = None
    ssl_cert: SecretValue | None = None
    ssl_key: SecretValue | None = None


@frozen(kw_only=True)
class PostgresSpec(rules.Checked):
    """A PostgreSQL database and how to log in.

    Args:
        database: what to back up, one database.
        host: name, address, or the folder of a Unix socket.
        port: TCP port.
        user: role; the rights that it needs are in docs/postgres.md.
        password: password of the role; leave it out if the server asks for none.
        ssl_mode: libpq's sslmode. Only verify-ca and verify-full prove who the
            server is; without `sslRootCert` they look where libpq looks by default.
        ssl_root_cert: PEM of the authority that signed the server's certificate.
        ssl_cert: PEM of the client's certificate; goes together with `sslKey`.
        ssl_key: PEM of its key.
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
            Pays with 4 cores and more.
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
