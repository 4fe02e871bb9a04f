"""Rules that cross fields: what no field alone can be blamed for.

Each is a check in Python with its twin in CEL, which the schema of the custom
resources takes over; see controller.api.cel for what a check may rely on. Those of
locations are in location_rules.py, those of a runner's pod in pod_rules.py.
"""

from __future__ import annotations

import re
import zoneinfo
from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from controller.api.cel import Cel, Rule, only_here, quoted, re2, rule, text
from controller.api.cron import read_cron
from controller.api.errors import InvalidSpec, Problem
from controller.api.names import CHILD_SECRET
from controller.api.wire import wire_name

if TYPE_CHECKING:
    from controller.api import secrets, v1

ENGINE_BLOCKS = ("cockroach", "mariadb", "mysql", "postgres")


class Checked:
    """A type whose RULES hold for every value of it."""

    __slots__ = ()
    RULES: ClassVar[tuple[Rule, ...]] = ()

    def __attrs_post_init__(self) -> None:
        problems = [problem for check in self.RULES for problem in check(self)]
        if problems:
            raise InvalidSpec(problems)


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
        f"{text('backupCron')} != '' || has(self.backupInterval) || {_flag('suspend')}",
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
