"""Rules that cross fields: what no field alone can be blamed for.

Each is a check in Python with its twin in CEL, which the schema of the custom
resources takes over; see controller.api.cel for what a check may rely on.
"""

from __future__ import annotations

import re
import zoneinfo
from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from controller.api.cel import Cel, Rule, only_here, quoted, re2, rule
from controller.api.cron import read_cron
from controller.api.errors import InvalidSpec, Problem
from controller.api.names import CHILD_SECRET
from controller.api.wire import wire_name

if TYPE_CHECKING:
    from controller.api import secrets, v1

ENGINE_BLOCKS = ("cockroach", "mariadb", "mysql", "postgres")
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
        problems = [problem for check in self.RULES for problem in check(self)]
        if problems:
            raise InvalidSpec(problems)


def _text(name: str, of: str = "self") -> str:
    """CEL for a text that may be left out, as the codec has it: empty."""
    return f"(has({of}.{name}) ? {of}.{name} : '')"


def _flag(name: str) -> str:
    return f"(has(self.{name}) && self.{name})"


# -- SecretValue -------------------------------------------------------------

_NO_SECRET = Problem("", "needs value or fromSecret")


@rule(Cel("has(self.value) || has(self.fromSecret)", _NO_SECRET))
def value_or_reference(secret: secrets.SecretValue) -> Iterator[Problem]:
    if secret.value is None and secret.from_secret is None:
        yield _NO_SECRET


# -- SecretRef ---------------------------------------------------------------

#: A runner sends what it reads to a server that the object names; the keys in these are others'.
RUNNERS_OWN = "is a Secret that the controller makes for one runner alone: name one of your own"
_RUNNERS_OWN = Problem("name", RUNNERS_OWN)


@rule(Cel(f"!self.name.matches({quoted(re2(CHILD_SECRET))})", _RUNNERS_OWN))
def refers_to_no_child(reference: secrets.SecretRef) -> Iterator[Problem]:
    if re.fullmatch(CHILD_SECRET, reference.name):
        yield _RUNNERS_OWN


# -- BackupLocation ----------------------------------------------------------

_NO_FOLDER = Problem("path", "is required for storageType filesystem (or claimName)")
_NO_ENDPOINT = Problem("storageEndpoint", "is required for storageType minio")
_HALF_A_KEY = Problem(
    "storageSecretAccessKey",
    "goes together with storageAccessKeyID: give both, or neither for the SDK's own search",
)
_RELATIVE = Problem("path", "must be absolute unless claimName is given")
_PASS_AND_RECIPIENTS = Problem(
    "encryptionRecipients",
    "cannot be combined with encryptionPass: an age file with a passphrase has no other recipient",
)
_EMPTY_PASS = "must not be empty; leave it out for no encryption"  # noqa: S105 - a message


def _kinds_with(name: str) -> list[str]:
    """Which storage types have a field that not all have."""
    return [
        kind
        for kind, own in _FIELDS_OF_STORAGE.items()
        if name in own or (name in _OVER_TLS and kind != "filesystem")
    ]


def _no_bucket(kind: str) -> Problem:
    return Problem("storageBucket", f"is required for storageType {kind}")


@rule(
    Cel(
        f"self.storageType != 'filesystem' || {_text('path')} != '' || {_text('claimName')} != ''",
        _NO_FOLDER,
    ),
    *[
        Cel(f"self.storageType != '{kind}' || {_text('storageBucket')} != ''", _no_bucket(kind))
        for kind in _kinds_with("storage_bucket")
    ],
    Cel(f"self.storageType != 'minio' || {_text('storageEndpoint')} != ''", _NO_ENDPOINT),
)
def storage_has_its_fields(location: v1.BackupLocation) -> Iterator[Problem]:
    kind = location.storage_type.value
    if kind == "filesystem":
        if not location.path and not location.claim_name:
            yield _NO_FOLDER
    elif not location.storage_bucket:
        yield _no_bucket(kind)
    if kind == "minio" and not location.storage_endpoint:
        yield _NO_ENDPOINT


_NOT_COMMON = sorted(set().union(*_FIELDS_OF_STORAGE.values(), _OVER_TLS))


@rule(
    *[
        # Texts, flags and objects alike: absent is what the codec's default is.
        Cel(
            f"self.storageType in {_kinds_with(name)} || !has(self.{wire_name(name)})"
            f" || self.{wire_name(name)} in [dyn(''), dyn(false)]",
            Problem(wire_name(name), "does not belong to this storageType: remove it"),
            says="'does not belong to storageType ' + self.storageType + ': remove it'",
        )
        for name in _NOT_COMMON
    ]
)
def storage_has_no_others_fields(location: v1.BackupLocation) -> Iterator[Problem]:
    kind = location.storage_type.value
    for name in _NOT_COMMON:
        if kind not in _kinds_with(name) and getattr(location, name) not in (None, "", False):
            yield Problem(wire_name(name), f"does not belong to storageType {kind}: remove it")


@rule(Cel("has(self.storageAccessKeyID) == has(self.storageSecretAccessKey)", _HALF_A_KEY))
def access_key_is_whole(location: v1.BackupLocation) -> Iterator[Problem]:
    if (location.storage_access_key_id is None) != (location.storage_secret_access_key is None):
        yield _HALF_A_KEY


@rule(
    Cel(
        f"{_text('path')} == '' || self.path.startsWith('/') || {_text('claimName')} != ''",
        _RELATIVE,
    )
)
def path_is_absolute_without_claim(location: v1.BackupLocation) -> Iterator[Problem]:
    if location.path and not location.claim_name and not location.path.startswith("/"):
        yield _RELATIVE


@rule(
    Cel(
        "!has(self.encryptionPass) || !has(self.encryptionRecipients)"
        " || size(self.encryptionRecipients) == 0",
        _PASS_AND_RECIPIENTS,
    )
)
def passphrase_or_recipients(location: v1.BackupLocation) -> Iterator[Problem]:
    if location.encryption_pass is not None and location.encryption_recipients:
        yield _PASS_AND_RECIPIENTS


def _not_empty(secret: str) -> str:
    """CEL: with a reference beside it an empty value is the Go original's way to say none."""
    return f"has({secret}.fromSecret) || !has({secret}.value) || size({secret}.value) > 0"


@rule(
    Cel(
        f"!has(self.encryptionPass) || {_not_empty('self.encryptionPass')}",
        Problem("encryptionPass", _EMPTY_PASS),
    ),
    Cel(
        "!has(self.previousEncryptionPasses)"
        f" || self.previousEncryptionPasses.all(old, {_not_empty('old')})",
        Problem("previousEncryptionPasses", _EMPTY_PASS),
    ),
)
def passphrases_are_not_empty(location: v1.BackupLocation) -> Iterator[Problem]:
    named = [("encryptionPass", location.encryption_pass)]
    for index, old in enumerate(location.previous_encryption_passes):
        named.append((f"previousEncryptionPasses[{index}]", old))
    for path, secret in named:
        if secret is not None and secret.value is not None and not secret.value:
            yield Problem(path, _EMPTY_PASS)


# -- StorageClassSpec --------------------------------------------------------


def _same_place() -> str:
    """CEL: slashes at the ends count as little as in `BackupLocation.place`."""
    same = [
        f"{_text(name, 'a')} == {_text(name, 'b')}"
        for name in ("storageEndpoint", "storageBucket", "claimName")
    ]
    for name, form in (("path", "({} + '/')"), ("storagePrefix", "('/' + {} + '/')")):
        one, other = (form.format(_text(name, of)) + ".replace('//', '/')" for of in "ab")
        same.append(f"{one} == {other}")
    return " && ".join(same)


@rule(
    # CEL has no index in a comprehension: its twins cannot say which two.
    Cel(
        "self.backupLocations.all(a, self.backupLocations.exists_one(b, " + _same_place() + "))",
        Problem("backupLocations", "two locations are the same place"),
    ),
    Cel(
        "self.backupLocations.all(a, !has(a.name)"
        " || self.backupLocations.exists_one(b, has(b.name) && a.name == b.name))",
        Problem("backupLocations", "two locations have the same name"),
    ),
)
def locations_differ(spec: v1.StorageClassSpec) -> Iterator[Problem]:
    for index, location in enumerate(spec.backup_locations):
        for earlier, other in enumerate(spec.backup_locations[:index]):
            if location.place == other.place:
                message = f"is the same place as backupLocations[{earlier}]"
                yield Problem(f"backupLocations[{index}]", message)
            elif location.name == other.name:
                message = f"must differ from that of backupLocations[{earlier}]"
                yield Problem(f"backupLocations[{index}].name", message)


@rule(
    Cel(
        "!has(self.minSuccessfulLocations)"
        " || self.minSuccessfulLocations <= size(self.backupLocations)",
        # Without the number: what string() makes has no bound, and breaks the cost budget.
        Problem("minSuccessfulLocations", "must be at most the number of locations"),
    )
)
def enough_locations_for_success(spec: v1.StorageClassSpec) -> Iterator[Problem]:
    count, least = len(spec.backup_locations), spec.min_successful_locations
    if least is not None and least > count:
        yield Problem("minSuccessfulLocations", f"must be <= {count}, the number of locations")


# -- engines -----------------------------------------------------------------

_HALF_A_CERTIFICATE = Problem("sslKey", "goes together with sslCert: give both or neither")
_CERTIFICATES = ("ssl_root_cert", "ssl_cert", "ssl_key")
_MYSQL_CERTIFICATES = ("ssl_ca", "ssl_cert", "ssl_key")


def _unused(name: str, mode: str) -> Problem:
    return Problem(wire_name(name), f"has no effect with sslMode {mode}: remove it")


def _used_cel(names: tuple[str, ...], mode: str) -> list[Cel]:
    return [
        Cel(
            f"!has(self.{wire_name(name)}) || !has(self.sslMode) || self.sslMode != '{mode}'",
            _unused(name, mode),
        )
        for name in names
    ]


@rule(Cel("has(self.sslCert) == has(self.sslKey)", _HALF_A_CERTIFICATE))
def certificate_has_its_key(
    spec: v1.PostgresSpec | v1.MysqlSpec | v1.MariadbSpec,
) -> Iterator[Problem]:
    if (spec.ssl_cert is None) != (spec.ssl_key is None):
        yield _HALF_A_CERTIFICATE


@rule(*_used_cel(_CERTIFICATES, "disable"))
def certificates_are_used(spec: v1.PostgresSpec) -> Iterator[Problem]:
    if spec.ssl_mode.value == "disable":
        for name in _CERTIFICATES:
            if getattr(spec, name) is not None:
                yield _unused(name, "disable")


@rule(*_used_cel(_MYSQL_CERTIFICATES, "disabled"))
def mysql_certificates_are_used(spec: v1.MysqlSpec | v1.MariadbSpec) -> Iterator[Problem]:
    if spec.ssl_mode.value == "disabled":
        for name in _MYSQL_CERTIFICATES:
            if getattr(spec, name) is not None:
                yield _unused(name, "disabled")


# -- Retention ---------------------------------------------------------------

_KEEP = [
    f"keep_{name}" for name in ("within", "last", "hourly", "daily", "weekly", "monthly", "yearly")
]
_NOTHING_KEPT = Problem("", "needs at least one of keepWithin, keepLast, keepHourly ... keepYearly")


@rule(Cel(" || ".join(f"has(self.{wire_name(name)})" for name in _KEEP), _NOTHING_KEPT))
def something_is_kept(retention: v1.Retention) -> Iterator[Problem]:
    if all(getattr(retention, name) is None for name in _KEEP):
        yield _NOTHING_KEPT


# -- DatabaseBackupSpec ------------------------------------------------------

_NO_SCHEDULE = Problem("backupCron", "is required, or backupInterval, unless suspend is true")
_TWO_RETENTIONS = Problem("retention", "cannot be combined with retentionConfig: remove one")
_RETENTION_OF_ONE = Problem(
    "retention", "cannot be combined with useSingleBackupTarget, which keeps the newest"
)


def _no_block(kind: str) -> Problem:
    return Problem(kind, f"is required for databaseType {kind}")


@rule(
    *[
        Cel(f"self.databaseType != '{kind}' || has(self.{kind})", _no_block(kind))
        for kind in ENGINE_BLOCKS
    ]
)
def engine_block_matches_type(spec: v1.DatabaseBackupSpec) -> Iterator[Problem]:
    # A type that is no block here is refused by the registry of engines, as UnknownEngine.
    if spec.database_type in ENGINE_BLOCKS and getattr(spec, spec.database_type) is None:
        yield _no_block(spec.database_type)


@rule(
    *[
        Cel(
            f"self.databaseType == '{kind}' || !has(self.{kind})",
            Problem(kind, "does not belong to this databaseType: remove it"),
            says="'does not belong to databaseType ' + self.databaseType + ': remove it'",
        )
        for kind in ENGINE_BLOCKS
    ]
)
def no_other_engine_block(spec: v1.DatabaseBackupSpec) -> Iterator[Problem]:
    for block in ENGINE_BLOCKS:
        if block != spec.database_type and getattr(spec, block) is not None:
            yield Problem(block, f"does not belong to databaseType {spec.database_type}: remove it")


@rule(
    Cel(
        f"{_text('backupCron')} != '' || has(self.backupInterval) || {_flag('suspend')}",
        _NO_SCHEDULE,
    )
)
def has_a_schedule(spec: v1.DatabaseBackupSpec) -> Iterator[Problem]:
    if not spec.backup_cron and spec.backup_interval_hours is None and not spec.suspend:
        yield _NO_SCHEDULE


@only_here("CEL has no calendar: that a cron never fires is found by searching for a date")
def cron_fires(spec: v1.DatabaseBackupSpec) -> Iterator[Problem]:
    if spec.backup_cron:
        try:
            read_cron(spec.backup_cron)
        except InvalidSpec as refused:
            yield Problem("backupCron", str(refused))


@only_here("CEL knows no time zones: their names are data, and a release of it adds some")
def time_zone_exists(spec: v1.DatabaseBackupSpec) -> Iterator[Problem]:
    if spec.time_zone == "UTC":  # needs no zone database
        return
    try:
        zoneinfo.ZoneInfo(spec.time_zone)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        yield Problem("timeZone", 'must be a name of the IANA database, such as "Europe/Berlin"')


@rule(Cel("!has(self.retention) || !has(self.retentionConfig)", _TWO_RETENTIONS))
def one_kind_of_retention(spec: v1.DatabaseBackupSpec) -> Iterator[Problem]:
    if spec.retention is not None and spec.retention_config is not None:
        yield _TWO_RETENTIONS


@rule(Cel(f"!has(self.retention) || !{_flag('useSingleBackupTarget')}", _RETENTION_OF_ONE))
def single_target_needs_no_retention(spec: v1.DatabaseBackupSpec) -> Iterator[Problem]:
    if spec.retention is not None and spec.use_single_backup_target:
        yield _RETENTION_OF_ONE


# -- DatabaseBackup ----------------------------------------------------------


@only_here("an API server takes no object of a namespaced kind without one")
def has_a_namespace(backup: v1.DatabaseBackup) -> Iterator[Problem]:
    if not backup.metadata.namespace:
        yield Problem("metadata.namespace", "is required")
