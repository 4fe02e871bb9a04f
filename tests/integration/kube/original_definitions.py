"""The custom resource definitions as the Go original has them: its fields, and what it requires."""

from __future__ import annotations

from typing import Any

from controller.api.v1 import GROUP, VERSION

_Schema = dict[str, Any]
_TEXT: _Schema = {"type": "string"}
_FLAG: _Schema = {"type": "boolean"}
_OFF: _Schema = {"type": "boolean", "default": False}
_NUMBER: _Schema = {"type": "integer", "format": "int64"}


def _object(required: str = "", **properties: _Schema) -> _Schema:
    schema: _Schema = {"type": "object", "properties": properties}
    return schema | ({"required": required.split()} if required else {})


_SECRET = _object(fromSecret=_object("key name", key=_TEXT, name=_TEXT), value=_TEXT)
_SERVER = {"database": _TEXT, "host": _TEXT, "port": _NUMBER}
_CONDITION = _object(
    "lastTransitionTime message reason status type",
    type=_TEXT | {"maxLength": 316},
    status=_TEXT | {"enum": ["True", "False", "Unknown"]},
    reason=_TEXT | {"minLength": 1, "maxLength": 1024},
    message=_TEXT | {"maxLength": 32768},
    lastTransitionTime=_TEXT | {"format": "date-time"},
    observedGeneration=_NUMBER | {"minimum": 0},
)
_BACKUP = _object(
    "backupStorageClass databaseType",
    databaseType=_TEXT | {"enum": ["cockroach", "mysql", "postgres"]},
    databaseVersion=_TEXT,
    backupStorageClass=_TEXT,
    backupCron=_TEXT | {"pattern": r"((\*|\d+)[^ ]* ?){5}"},
    backupInterval=_NUMBER | {"minimum": 1},
    retentionConfig={"type": "object", "additionalProperties": _NUMBER},
    useSingleBackupTarget=_OFF,
    cockroach=_object(
        "cert certKey database host port user",
        **_SERVER,
        user=_TEXT,
        cert=_SECRET,
        certCA=_SECRET,
        certCAFromCluster=_OFF,
        certKey=_SECRET,
    ),
    mysql=_object("database host pass port user", **_SERVER, user=_SECRET, **{"pass": _SECRET}),
    postgres=_object("database host pass port user", **_SERVER, user=_TEXT, **{"pass": _SECRET}),
)
_LOCATION = _object(
    "storageType",
    storageType=_TEXT | {"enum": ["s3"]},
    storageEndpoint=_TEXT,
    storageAccessKeyID=_SECRET,
    storageSecretAccessKey=_SECRET,
    storageBucket=_TEXT,
    storageLocation=_TEXT,
    storageUseSSL=_OFF,
    storageInsecureSkipVerify=_OFF,
    encryptionPass=_SECRET,
)
_CLASS = _object(
    "backupLocations", backupLocations={"type": "array", "minItems": 1, "items": _LOCATION}
)


def _definition(kind: str, scope: str, spec: _Schema, status: _Schema | None = None) -> _Schema:
    properties: _Schema = {"apiVersion": _TEXT, "kind": _TEXT, "metadata": {"type": "object"}}
    properties["spec"] = spec
    if status is not None:
        properties["status"] = status
    version = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": _object("spec", **properties)},
    }
    if status is not None:
        version["subresources"] = {"status": {}}
    plural = f"{kind.lower()}es" if kind.endswith("s") else f"{kind.lower()}s"
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "names": {"kind": kind, "plural": plural, "singular": kind.lower()},
            "scope": scope,
            "versions": [version],
        },
    }


def definitions() -> list[_Schema]:
    status = _object("conditions", conditions={"type": "array", "items": _CONDITION}, hash=_TEXT)
    return [
        _definition("DatabaseBackup", "Namespaced", _BACKUP, status),
        _definition("DatabaseBackupStorageClass", "Cluster", _CLASS),
    ]
