"""What the Go original leaves in a cluster: its children, and what it wrote into the objects."""

from __future__ import annotations

import hashlib
from typing import Any

from controller.kube.resource import (
    DATABASE_BACKUPS,
    SECRETS,
    SERVICES,
    STATEFUL_SETS,
    Resource,
)
from tests.integration.controller.world import World, wait_for

KINDS = (SECRETS, SERVICES, STATEFUL_SETS)
FINALIZER = "db-backup.nect.com/finalizer"
#: Its status, conditions as it names them.
STATUS = {
    "hash": "0a4d55a8d778e5022fab701977c5d840bbc486d0",
    "conditions": [
        {
            "type": kind,
            "status": "True",
            "reason": reason,
            "message": "",
            "lastTransitionTime": "2024-08-05T10:00:00Z",
        }
        for kind, reason in (
            ("Ready", "createRunner"),
            ("db-backup.nect.com/secretExists", "createSecret"),
            ("db-backup.nect.com/serviceExists", "createService"),
            ("db-backup.nect.com/stsExists", "createSts"),
        )
    ],
}


def name_of(namespace: str, name: str) -> str:
    """The name of all three children."""
    digest = hashlib.sha1(f"runner-{namespace}-{name}".encode(), usedforsecurity=False)
    return f"sha1-{digest.hexdigest()}"


def labels_of(namespace: str, name: str) -> dict[str, str]:
    return {
        "app.kubernetes.io/name": "db-backup",
        "app.kubernetes.io/instance": f"{namespace}-{name}",
        "app.kubernetes.io/component": "runner",
        "app.kubernetes.io/managed-by": "db-backup-controller",
        "db-backup.nect.com/src-namespace": namespace,
        "db-backup.nect.com/src-name": name,
    }


def manifest(resource: Resource, labels: dict[str, str], name: str) -> dict[str, Any]:
    """One of the three kinds."""
    pod = {"app.kubernetes.io/instance": labels["app.kubernetes.io/instance"]}
    content: dict[Resource, dict[str, Any]] = {
        SECRETS: {"stringData": {"backup.yaml": "{}", "storageSpec.yaml": "{}"}},
        SERVICES: {"spec": {"selector": pod, "ports": [{"name": "metrics", "port": 3000}]}},
        STATEFUL_SETS: {
            "spec": {
                "replicas": 1,
                "serviceName": name,
                "selector": {"matchLabels": pod},
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {"containers": [{"name": "runner", "image": "go-runner:1"}]},
                },
            }
        },
    }
    return content[resource] | {"metadata": {"name": name, "labels": labels}}


class GoOriginal:
    """What it did for the objects of a world.

    Args:
        namespace: its controller's.
    """

    def __init__(self, world: World, namespace: str) -> None:
        self.world = world
        self.namespace = namespace

    def create(self, resource: Resource, raw: dict[str, Any]) -> dict[str, Any]:
        return self.world.server.create(resource.path(self.namespace), raw)

    def make_children(self, name: str = "shop") -> None:
        labels = labels_of(self.world.namespace, name)
        for resource in KINDS:
            self.create(resource, manifest(resource, labels, name_of(self.world.namespace, name)))

    def write_into(self, name: str = "shop") -> None:
        """Its finalizer and its status."""

        def add_finalizer(raw: dict[str, Any]) -> None:
            raw["metadata"]["finalizers"] = [FINALIZER]

        def report(raw: dict[str, Any]) -> None:
            raw["status"] = STATUS

        self.world.change(DATABASE_BACKUPS, name, add_finalizer)
        self.world.change(DATABASE_BACKUPS, name, report, subresource="status")

    def children(self, name: str = "shop") -> set[Resource]:
        """Which of the three are there."""
        called = name_of(self.world.namespace, name)
        return {resource for resource in KINDS if self.is_there(resource, called)}

    def is_there(self, resource: Resource, name: str) -> bool:
        path = resource.path(self.namespace, name)
        return self.world.server.request("GET", path).status == 200

    def delete(self, resource: Resource, name: str = "shop") -> None:
        path = resource.path(self.namespace, name_of(self.world.namespace, name))
        assert self.world.server.request("DELETE", path).status == 200

    def wait_until_gone(self, name: str = "shop") -> None:
        # After a kill the next one waits for the Lease of the first.
        wait_for(lambda: not self.children(name), timeout_s=60)
