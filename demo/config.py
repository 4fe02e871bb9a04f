"""The demo's configuration: what the controller would mount into its runner."""

from __future__ import annotations

import base64
import secrets
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from tests.servers import kubelet
from tests.servers.moto import MotoServer
from tests.servers.postgres import PostgresServer

#: What stands for the UID of the namespace kube-system where there is no cluster.
_CLUSTER = "00000000-0000-4000-8000-00000000de30"


def write(folder: Path, database: PostgresServer, s3: MotoServer) -> Path:
    """Let `controller render` make the manifests, and mount them; returns the directory."""
    directory = folder / "second-place"
    directory.mkdir()
    manifests = folder / "manifests.yaml"
    manifests.touch(mode=0o600)
    tenant = {"shop-db": {"password": database.password}}
    cloud = {"id": s3.access_key, "secret": s3.secret_key, "passphrase": secrets.token_urlsafe(24)}
    documents = [_backup(database), _storage_class(s3, directory), _secret("cloud", cloud)]
    manifests.write_text(yaml.safe_dump_all(documents, sort_keys=False))
    rendered = folder / "rendered"
    subprocess.run(
        [
            *(sys.executable, "-m", "controller.cli", "render", manifests),
            *("--reveal-secrets", "--cluster-id", _CLUSTER, "--output", rendered),
        ],
        check=True,
    )
    config = folder / "config"
    config.mkdir()
    _mount(rendered, tenant, config)
    return config


def _backup(database: PostgresServer) -> dict[str, Any]:
    return {
        "apiVersion": "backup.nect.com/v1",
        "kind": "DatabaseBackup",
        "metadata": {"namespace": "demo", "name": "shop"},
        "spec": {
            "databaseType": "postgres",
            "backupStorageClass": "two-places",
            "backupCron": "0 3 * * *",
            "retention": {"keepDaily": 7, "keepWeekly": 4},
            "postgres": {
                "database": "shop",
                "host": database.host,
                "port": database.port,
                "user": database.user,
                "pass": {"fromSecret": {"name": "shop-db", "key": "password"}},
            },
        },
    }


def _storage_class(s3: MotoServer, directory: Path) -> dict[str, Any]:
    def cloud(key: str) -> dict[str, Any]:
        return {"fromSecret": {"name": "cloud", "key": key}}

    return {
        "apiVersion": "backup.nect.com/v1",
        "kind": "DatabaseBackupStorageClass",
        "metadata": {"name": "two-places"},
        "spec": {
            "backupLocations": [
                {
                    "name": "s3",
                    "storageType": "s3",
                    "storageEndpoint": s3.endpoint,
                    "storageBucket": s3.new_bucket(),
                    "storageLocation": "us-east-1",
                    "storageAccessKeyID": cloud("id"),
                    "storageSecretAccessKey": cloud("secret"),
                    "encryptionPass": cloud("passphrase"),
                },
                {"name": "directory", "storageType": "filesystem", "path": str(directory)},
            ]
        },
    }


def _secret(name: str, texts: dict[str, str]) -> dict[str, Any]:
    metadata = {"namespace": "db-backup-controller", "name": name}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": texts}


def _mount(rendered: Path, tenant: dict[str, dict[str, str]], config: Path) -> None:
    """Publish the volume of the Deployment's pod, as the kubelet does."""
    children = [yaml.safe_load(file.read_text()) for file in rendered.iterdir()]
    found = {
        name: {key: text.encode() for key, text in texts.items()} for name, texts in tenant.items()
    }
    for child in children:
        if child["kind"] == "Secret":
            data = {key: base64.b64decode(text) for key, text in child["data"].items()}
            found[child["metadata"]["name"]] = data
    (deployment,) = [child for child in children if child["kind"] == "Deployment"]
    for volume in deployment["spec"]["template"]["spec"]["volumes"]:
        if "projected" in volume:
            kubelet.mount(volume["projected"], found, config)
