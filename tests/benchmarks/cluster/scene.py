"""A cluster with many DatabaseBackups: made, shown as running, and removed again."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import orjson
from attrs import frozen

from controller.api import codec
from controller.api.names import child_name
from controller.api.secrets import Secret
from controller.api.v1 import API_VERSION, DatabaseBackup, DatabaseBackupStorageClass
from controller.kube.resource import (
    DATABASE_BACKUP_STORAGE_CLASSES as CLASSES,
    DATABASE_BACKUPS,
    DEPLOYMENTS,
    NAMESPACES,
    PODS,
)
from controller.resources.desired import Settings, desired
from tests.benchmarks.cluster.bare import BareClient, Write
from tests.integration.controller.world import CHILDREN, World
from tests.integration.kube import definitions
from tests.servers.kubernetes import KubernetesServer

#: As many as the controller has workers.
CONNECTIONS = 8
Key = tuple[str, str]


@frozen(kw_only=True)
class Batch:
    """Objects that were made together.

    Args:
        raws: as the server has them.
    """

    raws: tuple[dict[str, Any], ...]

    @property
    def namespaces(self) -> tuple[str, ...]:
        return tuple(sorted({raw["metadata"]["namespace"] for raw in self.raws}))

    def deployments(self) -> frozenset[Key]:
        """Namespace and name of each runner's Deployment."""
        return frozenset(deployment_of(raw) for raw in self.raws)


class Scene:
    """One API server with the definitions, a class, its Secret, and the controller's rights."""

    def __init__(self, server: KubernetesServer, folder: Path) -> None:
        definitions.install(server)
        self.world = World(server, folder)
        self.world.create_secret(key="a-secret-key", passphrase="a passphrase of the benchmark")
        self.world.create_class(**_class_spec())
        self.world.grant()
        self.admin = BareClient(server, connections=CONNECTIONS)
        self._batches = 0

    def new_batch(self, count: int, *, namespaces: int = 50) -> Batch:
        """Create DatabaseBackups, spread evenly over new namespaces."""
        writes = list(self.new_objects(count, namespaces=namespaces))
        with ThreadPoolExecutor(CONNECTIONS) as threads:
            made = threads.map(self.admin.write, writes)
            return Batch(raws=tuple(made))

    def new_objects(self, count: int, *, namespaces: int = 50) -> Iterator[Write]:
        """The requests that create DatabaseBackups; their namespaces are made now."""
        self._batches += 1
        names = [f"bench-{self._batches}-{number:03d}" for number in range(namespaces)]
        self.admin.send(
            [[Write.of(NAMESPACES.path(), {"metadata": {"name": one}})] for one in names]
        )
        for number in range(count):
            path = DATABASE_BACKUPS.path(names[number % namespaces])
            yield Write.of(path, _backup(f"shop-{number:05d}", self.world.class_name))

    def children(self, batch: Batch) -> list[list[Write]]:
        """The requests that create all children of each object, in the controller's order."""
        raw_class = self.admin.get(CLASSES.path(None, self.world.class_name))
        storage_class = codec.decode(DatabaseBackupStorageClass, raw_class)
        settings = Settings(
            image_prefix="registry.example.com/runner", release="bench", cluster_id="bench"
        )
        return [
            [
                Write.of(child.resource.path(raw["metadata"]["namespace"]), child.manifest)
                for child in desired(
                    codec.decode(DatabaseBackup, raw),
                    storage_class,
                    raw_backup=raw,
                    secrets=lambda _reference: Secret("a text"),
                    settings=settings,
                ).children
            ]
            for raw in batch.raws
        ]

    def count_children(self, batch: Batch) -> int:
        paths = [
            resource.path(namespace) for namespace in batch.namespaces for resource, _ in CHILDREN
        ]
        with ThreadPoolExecutor(CONNECTIONS) as threads:
            return sum(threads.map(self._count_ours, paths))

    def show_as_running(self, batch: Batch) -> None:
        """Say of each runner's Deployment, and of a pod of it, what a kubelet would."""
        with ThreadPoolExecutor(CONNECTIONS) as threads:
            list(threads.map(lambda key: self._show_as_running(*key), batch.deployments()))

    def _show_as_running(self, namespace: str, name: str) -> None:
        path = DEPLOYMENTS.path(namespace, name, "status")
        template = self.admin.write(_merge_patch(path, _RUNNING))["spec"]["template"]
        owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": f"{name}-{_HASH}"}
        metadata = {
            "name": f"{name}-{_HASH}-abcde",
            "labels": template["metadata"]["labels"] | {"pod-template-hash": _HASH},
            "ownerReferences": [owner | {"uid": "0b5f0c3e-0000-4000-8000-000000000000"}],
        }
        pod = {"metadata": metadata, "spec": template["spec"]}
        self.admin.write(Write.of(PODS.path(namespace), pod))
        self.admin.write(_merge_patch(PODS.path(namespace, metadata["name"], "status"), _POD_UP))

    def remove(self, batch: Batch) -> None:
        """Delete the objects and their children: nobody collects garbage here."""
        kinds = [DATABASE_BACKUPS, *(resource for resource, _ in CHILDREN)]
        self.admin.send(
            [
                [Write(path=resource.path(namespace), body=b"", method="DELETE")]
                for resource in kinds
                for namespace in batch.namespaces
            ]
        )

    def _count_ours(self, path: str) -> int:
        query = "labelSelector=app.kubernetes.io/managed-by%3Ddb-backup-controller"
        return len(self.admin.get(f"{path}?{query}")["items"])


_RUNNING = {
    "observedGeneration": 1,
    "replicas": 1,
    "updatedReplicas": 1,
    "readyReplicas": 1,
    "availableReplicas": 1,
    "conditions": [
        {
            "type": "Available",
            "status": "True",
            "reason": "MinimumReplicasAvailable",
            "message": "Deployment has minimum availability.",
            "lastUpdateTime": "2026-11-23T10:00:00Z",
            "lastTransitionTime": "2026-11-23T10:00:00Z",
        }
    ],
}


_HASH = "5d8f7c9b6"
_POD_UP = {
    "phase": "Running",
    "conditions": [{"type": "Ready", "status": "True"}],
    "containerStatuses": [
        {
            "name": "runner",
            "image": "registry.example.com/runner:1",
            "imageID": "registry.example.com/runner@sha256:0",
            "ready": True,
            "restartCount": 0,
            "state": {"running": {"startedAt": "2026-11-23T10:00:00Z"}},
        }
    ],
}


def _merge_patch(path: str, status: dict[str, Any]) -> Write:
    return Write(
        path=path,
        body=orjson.dumps({"status": status}),
        method="PATCH",
        content_type="application/merge-patch+json",
    )


def deployment_of(raw: dict[str, Any]) -> Key:
    namespace, name = raw["metadata"]["namespace"], raw["metadata"]["name"]
    return namespace, child_name(namespace, name)


def _class_spec() -> dict[str, Any]:
    """Two encrypted locations, as in the mission."""

    def from_secret(key: str) -> dict[str, Any]:
        return {"fromSecret": {"name": "bucket", "key": key}}

    shared = {
        "storageBucket": "backups",
        "storageAccessKeyID": {"value": "an-id"},
        "storageSecretAccessKey": from_secret("key"),
        "encryptionPass": from_secret("passphrase"),
    }
    return {
        "backupLocations": [
            {"name": "near", "storageType": "minio", "storageEndpoint": "minio:9000", **shared},
            {"name": "far", "storageType": "s3", **shared},
        ]
    }


def _backup(name: str, class_name: str) -> dict[str, Any]:
    return {
        "apiVersion": API_VERSION,
        "kind": DatabaseBackup.KIND,
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "databaseType": "postgres",
            "databaseVersion": "16",
            "backupStorageClass": class_name,
            "backupCron": "15 3 * * *",
            "retention": {"keepDaily": 7, "keepWeekly": 5, "keepMonthly": 12},
            "postgres": {
                "database": name,
                "host": f"{name}-db",
                "user": "backup",
                "pass": {"fromSecret": {"name": f"{name}-db", "key": "password"}},
            },
        },
    }
