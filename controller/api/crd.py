"""Both CustomResourceDefinitions, as JSON's types.

What people see of the API beside the fields: names, columns, scope. The schema
is generated from the types, and only grows: see tests/unit/api/test_schema_evolution.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
from attrs import frozen

from controller.api.descriptions import describe
from controller.api.schema import object_schema
from controller.api.v1 import GROUP, VERSION, DatabaseBackup, DatabaseBackupStorageClass

#: `kubectl get db-backup` lists both kinds.
_CATEGORY = "db-backup"


@frozen(kw_only=True)
class Column:
    """A column of `kubectl get`.

    Args:
        wide: shown by `-o wide` only.
    """

    name: str
    path: str
    type: str = "string"
    description: str = ""
    wide: bool = False

    def manifest(self) -> dict[str, Any]:
        shown = {"name": self.name, "type": self.type, "jsonPath": self.path}
        if self.description:
            shown["description"] = self.description
        return shown | ({"priority": 1} if self.wide else {})


def _condition(type_: str) -> str:
    return f'.status.conditions[?(@.type=="{type_}")].status'


_AGE = Column(name="Age", type="date", path=".metadata.creationTimestamp")
_BACKUP_COLUMNS = (
    Column(name="Type", path=".spec.databaseType"),
    Column(name="Class", path=".spec.backupStorageClass"),
    Column(name="Cron", path=".spec.backupCron", wide=True),
    Column(
        name="Hours",
        type="integer",
        path=".spec.backupInterval",
        description="Backed up every so many hours, unless there is a cron.",
        wide=True,
    ),
    Column(name="Ready", path=_condition("Ready"), description="The runner is as it should be."),
    Column(
        name="Healthy",
        path=_condition("BackupHealthy"),
        description="The database is protected now; Unknown when nobody can tell.",
    ),
    Column(
        name="Last backup",
        type="date",
        path=".status.lastBackup.startedAt",
        description="Age of the newest backup that enough locations hold.",
    ),
    Column(
        name="Stored",
        type="integer",
        path=".status.storedBackups",
        description="Backups that at least one location holds.",
    ),
    Column(
        name="Runner",
        path=".status.runner",
        description="The Deployment whose pod takes kubectl exec.",
        wide=True,
    ),
    _AGE,
)
_CLASS_COLUMNS = (
    Column(name="Ready", path=_condition("Ready")),
    Column(
        name="Used by",
        type="integer",
        path=".status.usedBy",
        description="DatabaseBackups that name this class.",
    ),
    _AGE,
)


def backup_crd() -> dict[str, Any]:
    """The definition of DatabaseBackup."""
    return _crd(
        DatabaseBackup,
        plural="databasebackups",
        short="dbb",
        scope="Namespaced",
        columns=_BACKUP_COLUMNS,
    )


def storage_class_crd() -> dict[str, Any]:
    """The definition of DatabaseBackupStorageClass."""
    return _crd(
        DatabaseBackupStorageClass,
        plural="databasebackupstorageclasses",
        short="dbbsc",
        scope="Cluster",
        columns=_CLASS_COLUMNS,
    )


def crds() -> Mapping[str, dict[str, Any]]:
    """All definitions by their name, ``<plural>.<group>``."""
    return {crd["metadata"]["name"]: crd for crd in (backup_crd(), storage_class_crd())}


def kind_schema(kind: Any) -> dict[str, Any]:
    """Build the schema of a whole object; of its metadata the API server knows more than we."""
    fields = attrs.fields_dict(attrs.resolve_types(kind))
    return {
        "description": describe(kind),
        "type": "object",
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": object_schema(fields["spec"].type),
            "status": object_schema(fields["status"].type, defaults=False),
        },
        "required": ["spec"],
    }


def _crd(
    kind: Any, *, plural: str, short: str, scope: str, columns: tuple[Column, ...]
) -> dict[str, Any]:
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": scope,
            "names": {
                "kind": kind.KIND,
                "listKind": f"{kind.KIND}List",
                "plural": plural,
                "singular": kind.KIND.lower(),
                "shortNames": [short],
                "categories": [_CATEGORY],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": [column.manifest() for column in columns],
                    "schema": {"openAPIV3Schema": kind_schema(kind)},
                }
            ],
        },
    }
