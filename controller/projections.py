"""What the caches keep of each kind: what a reconcile needs, and no more.

Thousands of objects are kept, and each comes again with every change of
something that nobody here asks for. A projection leaves that out, so that such
a change is none: a heartbeat in a status causes no reconcile, and nor does an
annotation.

What cannot be decoded is a value, too: one bad object must not stop its kind.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import orjson
from attrs import evolve, field, frozen

from controller.api import codec
from controller.api.conditions import (
    BACKUP_HEALTHY,
    Condition,
    ConditionStatus,
    get_condition,
)
from controller.api.deletion import DATA_DELETED, deletes_data
from controller.api.errors import DependencyMissing, InvalidSpec
from controller.api.keys import ObjectKey
from controller.api.secrets import Secret, SecretRef, secret_values
from controller.api.status import DatabaseBackupStatus, LocationStatus, StorageClassStatus
from controller.api.v1 import (
    CredentialScope,
    DatabaseBackup,
    DatabaseBackupStorageClass,
)
from controller.apply import FIELD_MANAGER
from controller.availability import Rollout, rollout_of

#: Conditions that the controller owns; the others are the runner's.
READY = "Ready"
RUNNER_AVAILABLE = "RunnerAvailable"

#: Names of indexes.
BY_CLASS = "class"
BY_SECRET = "secret"  # noqa: S105 - the name of an index
BY_OWNER = "owner"
BY_ROLLING = "rolling"
BY_RUNNER = "runner"

Raw = Mapping[str, Any]
#: What is nested deeper is no field that anybody knows; see `controller.api.codec`.
_MAX_LEVELS = 64
_IDENTITY = ("name", "namespace", "uid", "generation")


@frozen(kw_only=True)
class SeenBackup:
    """A DatabaseBackup.

    Args:
        deleted_at: since when it is being deleted.
        deletes_data: it asks for its backups to go with it; also where `backup` is wrong.
        spec_json: identity and spec, as the cluster has them; may hold secrets.
        backup: the same decoded, or what is wrong with it.
        status: the controller's part alone.
        data_deleted: the runner's condition of an object that goes with its backups.
        locations: the runner's word on each location; name and health alone.
        has_backup: its runner has told of a backup that the required locations hold.
        vouched_until: until when the runner's word that the database is protected stands by
            itself, its next backup; None: it does not say so, or no backup is to come.
    """

    key: ObjectKey
    uid: str
    generation: int
    deleted_at: datetime | None
    deletes_data: bool
    finalizers: tuple[str, ...]
    class_name: str
    spec_json: bytes = field(repr=False)
    backup: DatabaseBackup | InvalidSpec = field(repr=False, eq=False)
    status: DatabaseBackupStatus
    data_deleted: Condition | None
    locations: tuple[LocationStatus, ...]
    has_backup: bool
    vouched_until: datetime | None

    def raw(self) -> dict[str, Any]:
        raw: dict[str, Any] = orjson.loads(self.spec_json)
        return raw


@frozen(kw_only=True)
class SeenClass:
    """A DatabaseBackupStorageClass; fields as of `SeenBackup`.

    Args:
        secret_refs: what it refers to in the controller's namespace: nothing
            where the references are its tenants'.
    """

    key: ObjectKey
    uid: str
    generation: int
    is_deleting: bool
    secret_refs: frozenset[SecretRef]
    spec_json: bytes = field(repr=False)
    storage_class: DatabaseBackupStorageClass | InvalidSpec = field(repr=False, eq=False)
    status: StorageClassStatus


@frozen(kw_only=True)
class SeenSecret:
    """A Secret of the controller's namespace; None where a value is no text."""

    key: ObjectKey
    texts: tuple[tuple[str, Secret | None], ...]

    def text(self, key: str) -> Secret:
        """The text of a key.

        Raises: DependencyMissing: there is no such key, or it is no text.
        """
        texts = dict(self.texts)
        if key not in texts:
            raise DependencyMissing(f"Secret {self.key} has no key {key}; add it")
        text = texts[key]
        if text is None:
            raise DependencyMissing(f"Secret {self.key}: the key {key} is no text in UTF-8")
        return text


@frozen(kw_only=True)
class SeenChild:
    """A child, of any kind, without its status.

    Args:
        owners: names of the DatabaseBackups that own it, by uid.
        packed: what `difference.differences` looks at, compressed: there are five of these for
            each object, and nobody looks at them while nothing changes.
        rollout: of a Deployment.
    """

    key: ObjectKey
    uid: str
    owners: tuple[tuple[str, str], ...]
    packed: bytes = field(repr=False)
    rollout: Rollout | None = None

    def raw(self) -> dict[str, Any]:
        raw: dict[str, Any] = orjson.loads(zlib.decompress(self.packed))
        return raw


def project_backup(raw: Raw) -> SeenBackup:
    metadata, spec = raw["metadata"], raw.get("spec")
    own = _own_part(raw)
    status = raw.get("status")
    status = status if isinstance(status, Mapping) else {}
    class_name = spec.get("backupStorageClass") if isinstance(spec, Mapping) else None
    return SeenBackup(
        key=ObjectKey.of(raw),
        uid=metadata.get("uid", ""),
        generation=metadata.get("generation", 0),
        deleted_at=_time(metadata.get("deletionTimestamp")),
        deletes_data=deletes_data(raw),
        finalizers=tuple(metadata.get("finalizers") or ()),
        class_name=class_name if isinstance(class_name, str) else "",
        spec_json=_json(own),
        backup=_decoded(DatabaseBackup, own),
        status=DatabaseBackupStatus(
            conditions=_conditions(status, {READY, RUNNER_AVAILABLE}),
            observed_generation=_of_type(status.get("observedGeneration"), int, 0),
            runner=_of_type(status.get("runner"), str, ""),
        ),
        data_deleted=get_condition(_conditions(status, {DATA_DELETED}), DATA_DELETED),
        locations=_locations(status),
        has_backup=bool(status.get("lastBackup")),
        vouched_until=_vouched_until(status),
    )


def project_class(raw: Raw) -> SeenClass:
    metadata = raw["metadata"]
    own = _own_part(raw)
    storage_class = _decoded(DatabaseBackupStorageClass, own)
    status = _decoded(StorageClassStatus, raw.get("status") or {})
    if isinstance(status, StorageClassStatus):
        # Somebody else's conditions are theirs, and lists come back in any order.
        status = evolve(
            status,
            conditions=tuple(one for one in status.conditions if one.type == READY),
            locations=tuple(sorted(status.locations, key=lambda one: one.name)),
        )
    return SeenClass(
        key=ObjectKey.of(raw),
        uid=metadata.get("uid", ""),
        generation=metadata.get("generation", 0),
        is_deleting="deletionTimestamp" in metadata,
        secret_refs=_references(storage_class),
        spec_json=_json(own),
        storage_class=storage_class,
        status=status if isinstance(status, StorageClassStatus) else StorageClassStatus(),
    )


def project_secret(raw: Raw) -> SeenSecret:
    """Keep every text, referred to or not: which are is said by classes, that come at any time.

    To keep only those would need a list of all Secrets with each change of a class, and what is in
    that namespace can be read by this process anyway.
    """
    data = raw.get("data") or {}
    return SeenSecret(
        key=ObjectKey.of(raw),
        texts=tuple(sorted((key, _text(value)) for key, value in data.items())),
    )


def project_child(raw: Raw) -> SeenChild:
    metadata = raw["metadata"]
    owners = [
        (reference.get("uid", ""), reference.get("name", ""))
        for reference in metadata.get("ownerReferences") or ()
        if reference.get("kind") == DatabaseBackup.KIND
    ]
    return SeenChild(
        key=ObjectKey.of(raw),
        uid=metadata.get("uid", ""),
        owners=tuple(owners),
        packed=zlib.compress(_json(_comparable(raw)), 1),
        rollout=rollout_of(raw) if raw.get("kind") == "Deployment" else None,
    )


def class_of(seen: SeenBackup) -> tuple[str, ...]:
    return (seen.class_name,) if seen.class_name else ()


def secrets_of(seen: SeenClass) -> frozenset[str]:
    return frozenset(reference.name for reference in seen.secret_refs)


def rolling_of(seen: SeenChild) -> tuple[bool, ...]:
    """Deployments whose runner is being replaced are found under True."""
    return (True,) if seen.rollout and seen.rollout.is_rolling else ()


def owners_of(seen: SeenChild) -> tuple[str, ...]:
    return tuple(uid for uid, _ in seen.owners)


def _references(storage_class: DatabaseBackupStorageClass | InvalidSpec) -> frozenset[SecretRef]:
    if isinstance(storage_class, InvalidSpec):
        return frozenset()
    spec = storage_class.spec
    if spec.credential_scope is CredentialScope.NAMESPACE:
        return frozenset()
    # A value wins, and then nobody looks for the Secret.
    values = (one for one in secret_values(spec) if one.value is None)
    return frozenset(one.from_secret for one in values if one.from_secret is not None)


def _own_part(raw: Raw) -> dict[str, Any]:
    """Identity and spec; labels and annotations are nobody's business here."""
    metadata = {key: raw["metadata"][key] for key in _IDENTITY if key in raw["metadata"]}
    return {
        "apiVersion": raw.get("apiVersion"),
        "kind": raw.get("kind"),
        "metadata": metadata,
        "spec": raw.get("spec"),
    }


def _decoded(kind: type[Any], raw: object) -> Any:
    try:
        return codec.decode(kind, raw)
    except InvalidSpec as error:
        return error


def _time(text: object) -> datetime | None:
    return None if text is None else codec.decode(datetime, text)


def _conditions(status: Raw, types: set[str]) -> tuple[Condition, ...]:
    conditions = status.get("conditions")
    found = [
        _decoded(Condition, one)
        for one in (conditions if isinstance(conditions, list) else ())
        if isinstance(one, Mapping) and one.get("type") in types
    ]
    return tuple(one for one in found if isinstance(one, Condition))


def _locations(status: Raw) -> tuple[LocationStatus, ...]:
    locations = status.get("locations")
    found = (
        [_decoded(LocationStatus, one) for one in locations] if isinstance(locations, list) else []
    )
    # Sizes and times change with each backup and are not asked for.
    return tuple(
        LocationStatus(
            name=one.name, healthy=one.healthy, message="" if one.healthy else one.message
        )
        for one in found
        if isinstance(one, LocationStatus)
    )


def _vouched_until(status: Raw) -> datetime | None:
    healthy = get_condition(_conditions(status, {BACKUP_HEALTHY}), BACKUP_HEALTHY)
    if healthy is None or healthy.status is not ConditionStatus.TRUE:
        return None
    next_at = _decoded(datetime, status.get("nextBackupAt"))
    return next_at if isinstance(next_at, datetime) else None


def _comparable(raw: Raw) -> dict[str, Any]:
    metadata = raw["metadata"]
    kept = {
        key: metadata[key]
        for key in ("name", "namespace", "uid", "labels", "annotations", "ownerReferences")
        if key in metadata
    }
    # Ours alone, and without its time, which moves when nothing else does.
    kept["managedFields"] = [
        {key: entry[key] for key in ("manager", "operation", "fieldsV1") if key in entry}
        for entry in metadata.get("managedFields") or ()
        if entry.get("manager") == FIELD_MANAGER and not entry.get("subresource")
    ]
    return {key: value for key, value in raw.items() if key != "status"} | {"metadata": kept}


def _text(encoded: object) -> Secret | None:
    try:
        return Secret(base64.b64decode(str(encoded), validate=True).decode())
    except (binascii.Error, UnicodeDecodeError):
        return None


def _of_type(value: object, kind: type[Any], default: Any) -> Any:
    return value if isinstance(value, kind) and not isinstance(value, bool) else default


def _json(raw: object) -> bytes:
    try:
        return orjson.dumps(raw, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError:
        # Deeper than it follows; that the object is refused is its decoding's to say.
        return orjson.dumps(_cut(raw, _MAX_LEVELS), option=orjson.OPT_SORT_KEYS)


def _cut(raw: object, levels: int) -> object:
    """The same without what is nested deeper."""
    if isinstance(raw, Mapping):
        return {key: _cut(value, levels - 1) for key, value in raw.items()} if levels else None
    if isinstance(raw, list):
        return [_cut(value, levels - 1) for value in raw] if levels else None
    return raw
