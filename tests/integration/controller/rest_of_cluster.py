"""What else runs in a cluster: the garbage collector, the end of namespaces, pods.

No controller manager runs beside the tests' API server; this does the little of
it that a controller has to get on with, in the same asynchronous way.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable
from typing import Any

from controller.api.errors import BackupError, ObjectNotFound
from controller.api.keys import ObjectKey
from controller.kube.client import Client, Selection
from controller.kube.resource import DATABASE_BACKUPS, DEPLOYMENTS, NAMESPACES, Resource
from tests.integration.controller.world import CHILDREN
from tests.servers.kubernetes import KubernetesServer

Raw = dict[str, Any]
CONFIG_MAPS = Resource("", "v1", "configmaps", "ConfigMap")
_TICK_S = 0.5


class RestOfCluster:
    """Does all of it again and again, in a thread of its own.

    Args:
        namespaces: those that it cares for.
        is_up: whether the runner of a DatabaseBackup is up.
    """

    def __init__(
        self,
        server: KubernetesServer,
        client: Client,
        *,
        namespaces: Iterable[str],
        is_up: Callable[[ObjectKey], bool],
    ) -> None:
        self._server = server
        self._client = client
        self._namespaces = frozenset(namespaces)
        self._is_up = is_up
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="rest-of-cluster")

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(_TICK_S):
            # A server that is away is away for this, too.
            with contextlib.suppress(BackupError, OSError):
                self.tick()

    def tick(self) -> None:
        # Before the owners: a child that comes later has an owner that is in neither list.
        children = [
            (resource, raw)
            for resource, _ in CHILDREN
            for raw in self._client.list(resource).items
            if raw["metadata"]["namespace"] in self._namespaces
        ]
        living = {one["metadata"]["uid"] for one in self._client.list(DATABASE_BACKUPS).items}
        for resource, raw in children:
            if _is_orphan(raw, living):
                self._delete(resource, raw)
            elif resource is DEPLOYMENTS and (owners := _owners(raw)):
                self._run_pod(raw, is_up=all(map(self._is_up, owners)))
        for name in self._namespaces:
            self._end(name)

    def _delete(self, resource: Resource, raw: Raw) -> None:
        metadata = raw["metadata"]
        with contextlib.suppress(ObjectNotFound):
            self._client.delete(
                resource, metadata["name"], namespace=metadata["namespace"], uid=metadata["uid"]
            )

    def _run_pod(self, raw: Raw, *, is_up: bool) -> None:
        metadata, key = raw["metadata"], ObjectKey.of(raw)
        count = int(is_up)
        status = {
            "observedGeneration": metadata["generation"],
            "replicas": 1,
            "updatedReplicas": 1,
            "readyReplicas": count,
            "availableReplicas": count,
            "unavailableReplicas": 1 - count,
            "conditions": [{"type": "Available", "status": str(is_up), "reason": "Told"}],
        }
        known = raw.get("status") or {}
        if any((known.get(name) or 0) != status[name] for name in status if name != "conditions"):
            with contextlib.suppress(ObjectNotFound):
                self._client.patch(
                    DEPLOYMENTS,
                    key.name,
                    {"status": status},
                    namespace=key.namespace,
                    subresource="status",
                )

    def _end(self, name: str) -> None:
        """Empty a namespace that is being deleted, in no order that one may count on; let it go."""
        try:
            namespace = self._client.get(NAMESPACES, name)
        except ObjectNotFound:
            return
        if "deletionTimestamp" not in namespace["metadata"]:
            return
        inside = Selection(namespace=name)
        for resource in (CONFIG_MAPS, *(one for one, _ in reversed(CHILDREN)), DATABASE_BACKUPS):
            for raw in self._client.list(resource, inside).items:
                self._delete(resource, raw)
        namespace["spec"]["finalizers"] = []
        self._server.request("PUT", f"{NAMESPACES.path(None, name)}/finalize", namespace)


def _owners(raw: Raw) -> list[ObjectKey]:
    """The DatabaseBackups that own it; a stranger's Deployment is its own business."""
    metadata = raw["metadata"]
    return [
        ObjectKey(metadata["namespace"], one["name"])
        for one in metadata.get("ownerReferences") or ()
        if one["kind"] == "DatabaseBackup"
    ]


def _is_orphan(raw: Raw, living: set[str]) -> bool:
    owners = raw["metadata"].get("ownerReferences") or ()
    return bool(owners) and all(
        one["kind"] == "DatabaseBackup" and one["uid"] not in living for one in owners
    )
