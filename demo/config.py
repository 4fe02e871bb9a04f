"""The demo's configuration, of exactly the form that the controller mounts."""

from __future__ import annotations

import secrets
from pathlib import Path

import yaml

from tests.servers.moto import MotoServer
from tests.servers.postgres import PostgresServer

#: What stands for the UID of the namespace kube-system where there is no cluster.
_CLUSTER = "00000000-0000-4000-8000-00000000de30"


def write(folder: Path, database: PostgresServer, s3: MotoServer) -> Path:
    """Write the configuration; returns its directory."""
    config = folder / "config"
    mounted = config / "secrets" / "shop-db"
    mounted.mkdir(parents=True)
    (mounted / "password").write_text(database.password)
    (config / "cluster").write_text(_CLUSTER)
    backup = {
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
    directory = folder / "second-place"
    directory.mkdir()
    storage = {
        "backupLocations": [
            {
                "name": "s3",
                "storageType": "s3",
                "storageEndpoint": s3.endpoint,
                "storageBucket": s3.new_bucket(),
                "storageLocation": "us-east-1",
                "storageAccessKeyID": {"value": s3.access_key},
                "storageSecretAccessKey": {"value": s3.secret_key},
                "encryptionPass": {"value": secrets.token_urlsafe(24)},
            },
            {"name": "directory", "storageType": "filesystem", "path": str(directory)},
        ]
    }
    for name, document in (("backup.yaml", backup), ("storageSpec.yaml", storage)):
        (config / name).write_text(yaml.safe_dump(document, sort_keys=False))
    return config
