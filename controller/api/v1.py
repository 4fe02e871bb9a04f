"""Version v1 of the group backup.nect.com: both kinds as frozen values.

Field names here are Python's; controller.api.codec knows the wire's.
A field exists only when it works.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from datetime import timedelta

from attrs import Factory, frozen

from controller.api.secrets import SecretValue

GROUP = "backup.nect.com"
VERSION = "v1"
API_VERSION = f"{GROUP}/{VERSION}"


class StorageType(enum.Enum):
    """Which adapter of runner.storage serves a location."""

    S3 = "s3"
    MINIO = "minio"
    GCS = "gcs"
    FILESYSTEM = "filesystem"


@frozen(kw_only=True)
class BackupLocation:
    """One place where backups are stored.

    `name` is never empty after decoding: it defaults to a hash of endpoint,
    bucket and prefix.
    """

    storage_type: StorageType
    name: str = ""
    storage_endpoint: str = ""
    storage_access_key_id: SecretValue | None = None
    storage_secret_access_key: SecretValue | None = None
    storage_bucket: str = ""
    storage_location: str = ""
    storage_use_ssl: bool = False
    storage_insecure_skip_verify: bool = False
    storage_prefix: str = ""
    force_path_style: bool | None = None
    gcs_credentials: SecretValue | None = None
    ca_bundle: SecretValue | None = None
    claim_name: str = ""
    path: str = ""
    encryption_pass: SecretValue | None = None
    previous_encryption_passes: tuple[SecretValue, ...] = ()
    encryption_recipients: tuple[str, ...] = ()


@frozen(kw_only=True)
class StorageClassSpec:
    """DatabaseBackupStorageClass.spec."""

    backup_locations: tuple[BackupLocation, ...]
    min_successful_locations: int | None = None


class SslMode(enum.Enum):
    """libpq's sslmode."""

    DISABLE = "disable"
    ALLOW = "allow"
    PREFER = "prefer"
    REQUIRE = "require"
    VERIFY_CA = "verify-ca"
    VERIFY_FULL = "verify-full"


@frozen(kw_only=True)
class PostgresSpec:
    """DatabaseBackup.spec.postgres."""

    database: str
    host: str
    port: int = 5432
    user: str
    password: SecretValue | None = None  # `pass` on the wire
    ssl_mode: SslMode = SslMode.PREFER
    ssl_root_cert: SecretValue | None = None
    ssl_cert: SecretValue | None = None
    ssl_key: SecretValue | None = None


@frozen(kw_only=True)
class Retention:
    """DatabaseBackup.spec.retention: plain and grandfather-father-son rules."""

    keep_within: timedelta | None = None
    keep_last: int | None = None
    keep_hourly: int | None = None
    keep_daily: int | None = None
    keep_weekly: int | None = None
    keep_monthly: int | None = None
    keep_yearly: int | None = None
    minimum_keep: int = 3


@frozen(kw_only=True)
class Compression:
    """DatabaseBackup.spec.compression: zstd."""

    level: int = 1


@frozen(kw_only=True)
class Verification:
    """DatabaseBackup.spec.verification: a scheduled `verify` of the newest backup."""

    every: timedelta


@frozen(kw_only=True)
class RunnerOptions:
    """DatabaseBackup.spec.runner. Grows with the controller."""

    parallelism: int = 1


@frozen(kw_only=True)
class DatabaseBackupSpec:
    """DatabaseBackup.spec."""

    database_type: str
    backup_storage_class: str
    database_version: str = ""
    postgres: PostgresSpec | None = None
    backup_cron: str = ""
    backup_interval_hours: int | None = None  # `backupInterval` on the wire
    time_zone: str = "UTC"
    jitter_seconds: int = 0
    suspend: bool = False
    starting_deadline_seconds: int = 86400
    timeout: timedelta = timedelta(hours=24)
    stall_timeout: timedelta = timedelta(minutes=10)
    retention: Retention | None = None
    retention_config: Mapping[str, timedelta] | None = None
    use_single_backup_target: bool = False
    compression: Compression = Factory(Compression)
    verification: Verification | None = None
    runner: RunnerOptions = Factory(RunnerOptions)


@frozen(kw_only=True)
class ObjectMeta:
    """The part of metadata that we read."""

    name: str
    namespace: str = ""
    uid: str = ""
    generation: int = 0
    labels: Mapping[str, str] = Factory(dict)
    annotations: Mapping[str, str] = Factory(dict)


@frozen(kw_only=True)
class DatabaseBackup:
    """One database, how often it is backed up and how long backups are kept."""

    metadata: ObjectMeta
    spec: DatabaseBackupSpec


@frozen(kw_only=True)
class DatabaseBackupStorageClass:
    """Where backups are stored and how."""

    metadata: ObjectMeta
    spec: StorageClassSpec
