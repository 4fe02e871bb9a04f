"""Rules that cross fields: what no field alone can be blamed for.

A rule takes the value of one type of controller.api.v1 and yields problems by
paths below it. It may be given a stand-in that has only the fields which could
be decoded; asking that for another one ends the rule (see codec), so a rule
reads what it needs and one rule says one thing.
"""

from __future__ import annotations

import zoneinfo
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar

from controller.api.cron import read_cron
from controller.api.errors import InvalidSpec, Problem
from controller.api.wire import wire_name

if TYPE_CHECKING:
    from controller.api import v1

Rule = Callable[[Any], Iterator[Problem]]

ENGINE_BLOCKS = ("cockroach", "mysql", "postgres")
_GRID = ("storage_endpoint", "storage_bucket")
_KEYS = ("storage_access_key_id", "storage_secret_access_key")
#: Which fields of a location belong to which storageType; the others are common.
_FIELDS_OF_STORAGE = {
    "s3": {*_GRID, *_KEYS, "storage_location", "force_path_style"},
    "minio": {*_GRID, *_KEYS, "storage_location", "force_path_style"},
    "gcs": {*_GRID, "gcs_credentials"},
    "filesystem": {"claim_name", "path"},
}
_OVER_TLS = {"storage_use_ssl", "storage_insecure_skip_verify", "ca_bundle"}


class Checked:
    """A type whose RULES hold for every value of it."""

    __slots__ = ()
    RULES: ClassVar[tuple[Rule, ...]] = ()

    def __attrs_post_init__(self) -> None:
        problems = [problem for rule in self.RULES for problem in rule(self)]
        if problems:
            raise InvalidSpec(problems)


# -- BackupLocation ----------------------------------------------------------


def storage_has_its_fields(location: v1.BackupLocation) -> Iterator[Problem]:
    kind = location.storage_type.value
    if kind == "filesystem":
        if not location.path and not location.claim_name:
            yield Problem("path", "is required for storageType filesystem (or claimName)")
    elif not location.storage_bucket:
        yield Problem("storageBucket", f"is required for storageType {kind}")
    if kind == "minio" and not location.storage_endpoint:
        yield Problem("storageEndpoint", "is required for storageType minio")


def storage_has_no_others_fields(location: v1.BackupLocation) -> Iterator[Problem]:
    kind = location.storage_type.value
    own = _FIELDS_OF_STORAGE[kind] | (set() if kind == "filesystem" else _OVER_TLS)
    every = set().union(*_FIELDS_OF_STORAGE.values(), _OVER_TLS)
    for name in sorted(every - own):
        if getattr(location, name) not in (None, "", False):
            yield Problem(wire_name(name), f"does not belong to storageType {kind}: remove it")


def access_key_is_whole(location: v1.BackupLocation) -> Iterator[Problem]:
    if (location.storage_access_key_id is None) != (location.storage_secret_access_key is None):
        yield Problem(
            "storageSecretAccessKey",
            "goes together with storageAccessKeyID: give both, or neither for the SDK's own search",
        )


def path_is_absolute_without_claim(location: v1.BackupLocation) -> Iterator[Problem]:
    if location.path and not location.claim_name and not location.path.startswith("/"):
        yield Problem("path", "must be absolute unless claimName is given")


def passphrase_or_recipients(location: v1.BackupLocation) -> Iterator[Problem]:
    if location.encryption_pass is not None and location.encryption_recipients:
        yield Problem(
            "encryptionRecipients",
            "cannot be combined with encryptionPass: an age file with a passphrase has no"
            " other recipient",
        )


def passphrases_are_not_empty(location: v1.BackupLocation) -> Iterator[Problem]:
    named = [("encryptionPass", location.encryption_pass)]
    for index, old in enumerate(location.previous_encryption_passes):
        named.append((f"previousEncryptionPasses[{index}]", old))
    for path, secret in named:
        if secret is not None and secret.value is not None and not secret.value:
            yield Problem(path, "must not be empty; leave it out for no encryption")


# -- StorageClassSpec --------------------------------------------------------


def locations_differ(spec: v1.StorageClassSpec) -> Iterator[Problem]:
    for index, location in enumerate(spec.backup_locations):
        for earlier, other in enumerate(spec.backup_locations[:index]):
            if location.place == other.place:
                message = f"is the same place as backupLocations[{earlier}]"
                yield Problem(f"backupLocations[{index}]", message)
            elif location.name == other.name:
                message = f"must differ from that of backupLocations[{earlier}]"
                yield Problem(f"backupLocations[{index}].name", message)


def enough_locations_for_success(spec: v1.StorageClassSpec) -> Iterator[Problem]:
    count, least = len(spec.backup_locations), spec.min_successful_locations
    if least is not None and least > count:
        yield Problem("minSuccessfulLocations", f"must be <= {count}, the number of locations")


# -- engines -----------------------------------------------------------------


def certificate_has_its_key(spec: v1.PostgresSpec) -> Iterator[Problem]:
    if (spec.ssl_cert is None) != (spec.ssl_key is None):
        yield Problem("sslKey", "goes together with sslCert: give both or neither")


def certificates_are_used(spec: v1.PostgresSpec) -> Iterator[Problem]:
    if spec.ssl_mode.value == "disable":
        for name in ("ssl_root_cert", "ssl_cert", "ssl_key"):
            if getattr(spec, name) is not None:
                yield Problem(wire_name(name), "has no effect with sslMode disable: remove it")


# -- Retention ---------------------------------------------------------------


def something_is_kept(retention: v1.Retention) -> Iterator[Problem]:
    fields = ("within", "last", "hourly", "daily", "weekly", "monthly", "yearly")
    if all(getattr(retention, f"keep_{name}") is None for name in fields):
        yield Problem("", "needs at least one of keepWithin, keepLast, keepHourly ... keepYearly")


# -- DatabaseBackupSpec ------------------------------------------------------


def engine_block_matches_type(spec: v1.DatabaseBackupSpec) -> Iterator[Problem]:
    # A type that is no block here is refused by the registry of engines, as UnknownEngine.
    if spec.database_type in ENGINE_BLOCKS and getattr(spec, spec.database_type) is None:
        yield Problem(spec.database_type, f"is required for databaseType {spec.database_type}")


def no_other_engine_block(spec: v1.DatabaseBackupSpec) -> Iterator[Problem]:
    for block in ENGINE_BLOCKS:
        if block != spec.database_type and getattr(spec, block) is not None:
            yield Problem(block, f"does not belong to databaseType {spec.database_type}: remove it")


def has_a_schedule(spec: v1.DatabaseBackupSpec) -> Iterator[Problem]:
    if not spec.backup_cron and spec.backup_interval_hours is None and not spec.suspend:
        yield Problem("backupCron", "is required, or backupInterval, unless suspend is true")


def cron_fires(spec: v1.DatabaseBackupSpec) -> Iterator[Problem]:
    if spec.backup_cron:
        try:
            read_cron(spec.backup_cron)
        except InvalidSpec as refused:
            yield Problem("backupCron", str(refused))


def time_zone_exists(spec: v1.DatabaseBackupSpec) -> Iterator[Problem]:
    if spec.time_zone == "UTC":  # needs no zone database
        return
    try:
        zoneinfo.ZoneInfo(spec.time_zone)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        yield Problem("timeZone", 'must be a name of the IANA database, such as "Europe/Berlin"')


def one_kind_of_retention(spec: v1.DatabaseBackupSpec) -> Iterator[Problem]:
    if spec.retention is not None and spec.retention_config is not None:
        yield Problem("retention", "cannot be combined with retentionConfig: remove one")


def single_target_needs_no_retention(spec: v1.DatabaseBackupSpec) -> Iterator[Problem]:
    if spec.retention is not None and spec.use_single_backup_target:
        yield Problem(
            "retention", "cannot be combined with useSingleBackupTarget, which keeps the newest"
        )


# -- DatabaseBackup ----------------------------------------------------------


def has_a_namespace(backup: v1.DatabaseBackup) -> Iterator[Problem]:
    if not backup.metadata.namespace:
        yield Problem("metadata.namespace", "is required")
