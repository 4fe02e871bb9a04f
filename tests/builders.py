"""Valid objects in one call, as values and as manifests: a test states only what matters."""

from __future__ import annotations

import typing
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import yaml

from controller.api import v1
from controller.api.secrets import Secret, SecretValue

DAY = timedelta(days=1)


def a_secret(text: str = "hunter-two") -> SecretValue:
    return SecretValue(value=Secret(text))


def a_location(**fields: Any) -> v1.BackupLocation:
    """A folder, unless the fields say otherwise."""
    if "storage_type" not in fields:
        fields = {"storage_type": v1.StorageType.FILESYSTEM, "path": "/backups"} | fields
    return v1.BackupLocation(**fields)


def section_type(engine: str) -> Any:
    """The type of `spec.<engine>`; None if the API has no such section."""
    hint = typing.get_type_hints(v1.DatabaseBackupSpec).get(engine)
    return None if hint is None else typing.get_args(hint)[0]


def a_section(engine: str) -> Any:
    """The smallest section of an engine, by its name."""
    user = SecretValue(value=Secret("backup"))
    return {
        "cockroach": a_cockroach,
        "mariadb": lambda: v1.MariadbSpec(database="shop", host="shop-db", user=user),
        "mysql": lambda: v1.MysqlSpec(database="shop", host="shop-db", user=user),
        "postgres": a_postgres,
    }[engine]()


def a_postgres(**fields: Any) -> v1.PostgresSpec:
    return v1.PostgresSpec(**{"database": "shop", "host": "shop-db", "user": "backup"} | fields)


def a_cockroach(**fields: Any) -> v1.CockroachSpec:
    return v1.CockroachSpec(**{"database": "shop", "host": "shop-db"} | fields)


def a_backup(namespace: str = "db", name: str = "shop", **spec: Any) -> v1.DatabaseBackup:
    """A PostgreSQL database that is backed up every 6 hours."""
    spec = {
        "database_type": "postgres",
        "backup_storage_class": "standard",
        "backup_interval_hours": 6,
        "postgres": a_postgres(),
    } | spec
    return v1.DatabaseBackup(
        metadata=v1.ObjectMeta(name=name, namespace=namespace), spec=v1.DatabaseBackupSpec(**spec)
    )


def a_backup_manifest(**spec: Any) -> dict[str, Any]:
    """The same as JSON; a field given as None is left out."""
    return {
        "apiVersion": "backup.nect.com/v1",
        "kind": "DatabaseBackup",
        "metadata": {"name": "shop", "namespace": "db"},
        "spec": _without_nones(
            {
                "databaseType": "postgres",
                "backupStorageClass": "standard",
                "backupInterval": 6,
                "postgres": {"database": "shop", "host": "shop-db", "user": "backup"},
            }
            | spec
        ),
    }


def a_class_manifest(**spec: Any) -> dict[str, Any]:
    """A storage class of one S3 bucket, as JSON; a field given as None is left out."""
    return {
        "apiVersion": "backup.nect.com/v1",
        "kind": "DatabaseBackupStorageClass",
        "metadata": {"name": "standard"},
        "spec": _without_nones({"backupLocations": [a_location_manifest()]} | spec),
    }


def a_location_manifest(**fields: Any) -> dict[str, Any]:
    """An S3 bucket, as JSON; a field given as None is left out."""
    return _without_nones(
        {
            "storageType": "s3",
            "storageEndpoint": "s3.example.com:9000",
            "storageBucket": "backups",
            "storageAccessKeyID": {"value": "an-access-key"},
            "storageSecretAccessKey": {"value": "a-secret-key"},
        }
        | fields
    )


def a_config_folder(
    folder: Path,
    *,
    backup: Mapping[str, Any] | None = None,
    storage: Mapping[str, Any] | None = None,
    cluster: str | None = "2f0b6e54-5f5c-4b1c-8f9d-000000000001",
    secrets: Mapping[str, str] | None = None,
) -> Path:
    """Write a runner's configuration of the form that the controller mounts.

    Args:
        secrets: ``name/key`` -> text.
    """
    storage = storage or {"backupLocations": [{"storageType": "filesystem", "path": "/backups"}]}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "backup.yaml").write_text(yaml.safe_dump(dict(backup or a_backup_manifest())))
    (folder / "storageSpec.yaml").write_text(yaml.safe_dump(dict(storage)))
    if cluster is not None:
        (folder / "cluster").write_text(cluster + "\n")
    for reference, text in (secrets or {}).items():
        file = folder / "secrets" / reference
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return folder


def nested(levels: int) -> dict[str, Any]:
    """An object in an object in an object."""
    found: dict[str, Any] = {}
    for _ in range(levels):
        found = {"a": found}
    return found


def _without_nones(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
