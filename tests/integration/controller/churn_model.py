"""What a cluster has to look like after people put this into it: slow, simple and complete.

Written from the documentation and not from the reconcile. It decides by itself
which children there are and what the statuses say; only what stands in a child
is the builders' word.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from attrs import define, field, frozen

from controller.api import codec
from controller.api.keys import ObjectKey
from controller.api.names import child_name
from controller.api.secrets import Secret, SecretRef
from controller.api.v1 import DatabaseBackup, DatabaseBackupStorageClass
from controller.kube.client import Client
from controller.kube.resource import (
    DATABASE_BACKUP_STORAGE_CLASSES,
    DATABASE_BACKUPS,
    DEPLOYMENTS,
    Resource,
)
from controller.resources.desired import Settings, desired
from controller.resources.labels import Child
from tests.integration.controller.world import CHILDREN
from tests.integration.kube.objects import missing

Raw = dict[str, Any]
#: Kind, namespace, name.
Id = tuple[Resource, str, str]

#: A cron that the schema takes and that never fires.
NEVER = "0 3 30 2 *"


@define
class Inputs:
    """All that people put into the cluster, as the API server took it.

    Args:
        secrets: of the controller's namespace: name -> key -> text.
        strangers: what stands where a child would, and is somebody else's.
        down: objects whose runner has no pod that is up.
        reports: what runners say of their locations.
    """

    backups: dict[ObjectKey, Raw] = field(factory=dict)
    classes: dict[str, Raw] = field(factory=dict)
    secrets: dict[str, dict[str, str]] = field(factory=dict)
    strangers: dict[Id, Raw] = field(factory=dict)
    down: set[ObjectKey] = field(factory=set)
    reports: dict[ObjectKey, list[Raw]] = field(factory=dict)

    def forget(self, namespace: str) -> None:
        """The namespace was deleted, with all that was in it."""
        for noted in (self.backups, self.reports):
            for key in [key for key in noted if key.namespace == namespace]:
                del noted[key]
        for one in [one for one in self.strangers if one[1] == namespace]:
            del self.strangers[one]


@frozen(kw_only=True)
class Actual:
    """What is there."""

    backups: Mapping[ObjectKey, Raw]
    classes: Mapping[str, Raw]
    children: Mapping[Id, Raw]


def look(client: Client, namespaces: frozenset[str]) -> Actual:
    """Read everything in these namespaces that the controller has to do with."""
    children = {
        (resource, key.namespace, key.name): raw
        for resource, _ in CHILDREN
        for raw in client.list(resource).items
        if (key := ObjectKey.of(raw)).namespace in namespaces
    }
    return Actual(
        backups={ObjectKey.of(raw): raw for raw in client.list(DATABASE_BACKUPS).items},
        classes={
            raw["metadata"]["name"]: raw
            for raw in client.list(DATABASE_BACKUP_STORAGE_CLASSES).items
        },
        children=children,
    )


class Model:
    """Compares what is there with what has to be there."""

    def __init__(self, inputs: Inputs, settings: Settings) -> None:
        self._inputs = inputs
        self._settings = settings

    def differences(self, actual: Actual) -> list[str]:
        """Everything that is not as it has to be; empty: all is well."""
        return [
            *self._of_inputs(actual),
            *self._of_strangers(actual),
            *self._of_owners(actual),
            *(one for key in self._inputs.backups for one in self._of_backup(key, actual)),
            *(one for name in self._inputs.classes for one in self._of_class(name, actual)),
        ]

    def children(self, key: ObjectKey) -> list[Child]:
        """The children that have to be there, up to the first that is a stranger's place."""
        if self.refusal(key):
            return []
        backup = self._inputs.backups[key]
        found = []
        for child in desired(
            codec.decode(DatabaseBackup, backup),
            codec.decode(DatabaseBackupStorageClass, self._class_of(key)),
            raw_backup=backup,
            secrets=self._text,
            settings=self._settings,
        ).children:
            if _id(child) in self._inputs.strangers:
                break
            found.append(child)
        return found

    def refusal(self, key: ObjectKey) -> str:
        """The reason for which nothing can be made of an object; empty: there is none."""
        spec = self._inputs.backups[key]["spec"]
        of_class = (self._class_of(key) or {}).get("spec")
        if spec.get("backupCron") == NEVER:
            return "InvalidSpec"
        if of_class is None:
            return "DependencyMissing"
        if key.namespace not in (of_class.get("allowedNamespaces") or [key.namespace]):
            return "AccessDenied"
        if spec["databaseType"] == "mysql":  # of PostgreSQL's versions, which its engine refuses
            return "InvalidSpec"
        labels = set(spec.get("runner", {}).get("labels", {}))
        if labels - set(of_class.get("runner", {}).get("allowedLabels", [])):
            return "InvalidSpec"
        return self._refusal_of_secrets(of_class)

    def _refusal_of_secrets(self, of_class: Raw) -> str:
        for text in self._texts(of_class):
            if text is None:
                return "DependencyMissing"
            if not text:
                return "InvalidSpec"
        return ""

    def _texts(self, of_class: Raw) -> Iterator[str | None]:
        if of_class.get("credentialScope") == "Namespace":
            return
        for location in of_class["backupLocations"]:
            for name in ("storageSecretAccessKey", "encryptionPass"):
                if ref := location.get(name, {}).get("fromSecret"):
                    yield self._inputs.secrets.get(ref["name"], {}).get(ref["key"])

    def _text(self, ref: SecretRef) -> Secret:
        return Secret(self._inputs.secrets[ref.name][ref.key])

    def _class_of(self, key: ObjectKey) -> Raw | None:
        return self._inputs.classes.get(self._inputs.backups[key]["spec"]["backupStorageClass"])

    def _of_inputs(self, actual: Actual) -> Iterator[str]:
        """Nobody but people writes what is people's."""
        for kind, wanted, there in (
            ("DatabaseBackup", self._inputs.backups, actual.backups),
            ("class", self._inputs.classes, actual.classes),
        ):
            for one in sorted({*wanted, *there}, key=str):
                was, now = wanted.get(one), there.get(one)  # type: ignore[call-overload]
                if was is None or now is None or _peoples(was) != _peoples(now):
                    yield f"{kind} {one}: people wrote {_peoples(was)}, there is {_peoples(now)}"

    def _of_strangers(self, actual: Actual) -> Iterator[str]:
        for one, raw in self._inputs.strangers.items():
            if actual.children.get(one) != raw:
                yield f"{_show(one)}: somebody else's, was {raw}, is {actual.children.get(one)}"

    def _of_owners(self, actual: Actual) -> Iterator[str]:
        """Nothing is there that an object does not want, nor that nobody owns any more."""
        wanted = {key: {_id(child) for child in self.children(key)} for key in self._inputs.backups}
        by_uid = {raw["metadata"]["uid"]: key for key, raw in self._inputs.backups.items()}
        for one, raw in actual.children.items():
            for owner in raw["metadata"].get("ownerReferences", ()):
                if owner["kind"] != "DatabaseBackup" or one in self._inputs.strangers:
                    continue
                key = by_uid.get(owner["uid"])
                if key is None:
                    yield f"{_show(one)}: its owner is gone"
                elif one not in wanted[key] and not self._is_stuck(key):
                    yield f"{_show(one)}: {key} does not want it"

    def _is_stuck(self, key: ObjectKey) -> bool:
        """Whether an object's children stay as they are until somebody mends something."""
        return bool(self.refusal(key)) or self._stranger_of(key) is not None

    def _stranger_of(self, key: ObjectKey) -> Id | None:
        for resource, role in CHILDREN:
            name = child_name(key.namespace, key.name, role)
            if (resource, key.namespace, name) in self._inputs.strangers:
                return resource, key.namespace, name
        return None

    def _of_backup(self, key: ObjectKey, actual: Actual) -> Iterator[str]:
        for child in self.children(key):
            there = actual.children.get(_id(child))
            if there is None:
                yield f"{_show(_id(child))}: is missing"
                continue
            for path in missing(child.manifest, there):
                yield f"{_show(_id(child))}: {path} is not as it should be"
        status = actual.backups.get(key, {}).get("status", {})
        conditions = {one["type"]: one for one in status.get("conditions", ())}
        said = conditions.get("Ready", {})
        if (said.get("status"), said.get("reason")) != self.ready(key):
            yield f"{key}: Ready has to be {self.ready(key)}, and is {said}"
        generation = self._inputs.backups[key]["metadata"]["generation"]
        if status.get("observedGeneration") != generation:
            yield f"{key}: generation is {generation}, status is {status}"
        if status.get("locations", []) != self._inputs.reports.get(key, []):
            yield f"{key}: its runner said {self._inputs.reports.get(key)}, status is {status}"
        if not self._is_stuck(key):
            name = child_name(key.namespace, key.name)
            available = str(key not in self._inputs.down)
            told = conditions.get("RunnerAvailable", {}).get("status")
            if (status.get("runner"), told) != (name, available):
                yield f"{key}: runner {name} is available: {available}, status is {status}"

    def ready(self, key: ObjectKey) -> tuple[str, str]:
        """Status and reason of the condition."""
        if refusal := self.refusal(key):
            return "False", refusal
        if self._stranger_of(key):
            return "False", "ObjectExists"
        if key in self._inputs.down:
            return "False", "RunnerNotAvailable"
        return "True", "RunnerAvailable"

    def _of_class(self, name: str, actual: Actual) -> Iterator[str]:
        raw = self._inputs.classes[name]
        status = actual.classes.get(name, {}).get("status", {})
        users = [
            key
            for key, backup in self._inputs.backups.items()
            if backup["spec"]["backupStorageClass"] == name
            and key.namespace in (raw["spec"].get("allowedNamespaces") or [key.namespace])
        ]
        if status.get("usedBy", 0) != len(users):
            yield f"class {name}: is used by {len(users)}, status is {status}"
        is_missing = None in self._texts(raw["spec"])
        ready = ("False", "DependencyMissing") if is_missing else ("True", "Usable")
        said: Raw = next(iter(status.get("conditions", ())), {})
        if (said.get("status"), said.get("reason")) != ready:
            yield f"class {name}: Ready has to be {ready}, status is {status}"
        for location in status.get("locations", ()):
            reports = [
                report["healthy"]
                for key in users
                for report in self._inputs.reports.get(key, ())
                if report["name"] == location["name"]
            ]
            counted = (location.get("healthy", 0), location.get("failing", 0))
            if counted != (reports.count(True), reports.count(False)):
                yield f"class {name}: runners said {reports}, status is {status}"


def _id(child: Child) -> Id:
    metadata = child.manifest["metadata"]
    return child.resource, metadata["namespace"], metadata["name"]


def _show(one: Id) -> str:
    return f"{one[0].kind} {one[1]}/{one[2]}"


def _peoples(raw: Raw | None) -> Raw | None:
    """The part of an object that is not the controller's and not the server's."""
    if raw is None:
        return None
    metadata = raw["metadata"]
    kept = {key: metadata.get(key) for key in ("uid", "labels", "annotations", "finalizers")}
    return {"metadata": kept, "spec": raw["spec"]}


def deployment_of(key: ObjectKey) -> Id:
    return DEPLOYMENTS, key.namespace, child_name(key.namespace, key.name)
