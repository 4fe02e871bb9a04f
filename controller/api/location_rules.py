"""Rules that cross fields of where backups are stored; see controller.api.rules."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from controller.api.cel import Cel, rule, text
from controller.api.errors import Problem
from controller.api.wire import wire_name

if TYPE_CHECKING:
    from controller.api import locations

# -- BackupLocation ----------------------------------------------------------

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
        f"self.storageType != 'filesystem' || {text('path')} != '' || {text('claimName')} != ''",
        _NO_FOLDER,
    ),
    *[
        Cel(f"self.storageType != '{kind}' || {text('storageBucket')} != ''", _no_bucket(kind))
        for kind in _kinds_with("storage_bucket")
    ],
    Cel(f"self.storageType != 'minio' || {text('storageEndpoint')} != ''", _NO_ENDPOINT),
)
def storage_has_its_fields(location: locations.BackupLocation) -> Iterator[Problem]:
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
def storage_has_no_others_fields(location: locations.BackupLocation) -> Iterator[Problem]:
    kind = location.storage_type.value
    for name in _NOT_COMMON:
        if kind not in _kinds_with(name) and getattr(location, name) not in (None, "", False):
            yield Problem(wire_name(name), f"does not belong to storageType {kind}: remove it")


@rule(Cel("has(self.storageAccessKeyID) == has(self.storageSecretAccessKey)", _HALF_A_KEY))
def access_key_is_whole(location: locations.BackupLocation) -> Iterator[Problem]:
    if (location.storage_access_key_id is None) != (location.storage_secret_access_key is None):
        yield _HALF_A_KEY


@rule(
    Cel(
        f"{text('path')} == '' || self.path.startsWith('/') || {text('claimName')} != ''",
        _RELATIVE,
    )
)
def path_is_absolute_without_claim(location: locations.BackupLocation) -> Iterator[Problem]:
    if location.path and not location.claim_name and not location.path.startswith("/"):
        yield _RELATIVE


@rule(
    Cel(
        "!has(self.encryptionPass) || !has(self.encryptionRecipients)"
        " || size(self.encryptionRecipients) == 0",
        _PASS_AND_RECIPIENTS,
    )
)
def passphrase_or_recipients(location: locations.BackupLocation) -> Iterator[Problem]:
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
def passphrases_are_not_empty(location: locations.BackupLocation) -> Iterator[Problem]:
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
        f"{text(name, 'a')} == {text(name, 'b')}"
        for name in ("storageEndpoint", "storageBucket", "claimName")
    ]
    for name, form in (("path", "({} + '/')"), ("storagePrefix", "('/' + {} + '/')")):
        one, other = (form.format(text(name, of)) + ".replace('//', '/')" for of in "ab")
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
def locations_differ(spec: locations.StorageClassSpec) -> Iterator[Problem]:
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
def enough_locations_for_success(spec: locations.StorageClassSpec) -> Iterator[Problem]:
    count, least = len(spec.backup_locations), spec.min_successful_locations
    if least is not None and least > count:
        yield Problem("minSuccessfulLocations", f"must be <= {count}, the number of locations")
