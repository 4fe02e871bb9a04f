"""What all children of one DatabaseBackup have in common: names, labels, the owner."""

from __future__ import annotations

from typing import Any

from attrs import frozen

from controller.api.names import child_name, instance_label, label_value
from controller.api.v1 import API_VERSION, DatabaseBackup
from controller.kube.resource import Resource

Manifest = dict[str, Any]

MANAGED_BY = "db-backup-controller"
SRC_NAMESPACE = "db-backup.nect.com/src-namespace"
SRC_NAME = "db-backup.nect.com/src-name"


@frozen(kw_only=True)
class Child:
    """One object that has to be there.

    Args:
        manifest: complete: what is not in it is nobody's, or the server's to say.
    """

    resource: Resource
    manifest: Manifest


def labels(backup: DatabaseBackup) -> dict[str, str]:
    """The labels of every child; those of the Go original."""
    namespace, name = backup.metadata.namespace, backup.metadata.name
    return {
        "app.kubernetes.io/name": "db-backup",
        "app.kubernetes.io/instance": instance_label(namespace, name),
        "app.kubernetes.io/component": "runner",
        "app.kubernetes.io/managed-by": MANAGED_BY,
        SRC_NAMESPACE: label_value(namespace),
        SRC_NAME: label_value(name),
    }


def pod_selector(backup: DatabaseBackup) -> dict[str, str]:
    """Select the runner's pods; a Deployment's can never be changed, so this never changes."""
    return {key: value for key, value in labels(backup).items() if key in (SRC_NAMESPACE, SRC_NAME)}


def child(resource: Resource, backup: DatabaseBackup, *, role: str = "", **content: Any) -> Child:
    """Make a child with the common metadata.

    Args:
        role: as for `names.child_name`.
        content: the manifest beside its metadata; `annotations` go into that.
    """
    metadata: Manifest = {
        "name": child_name(backup.metadata.namespace, backup.metadata.name, role),
        "namespace": backup.metadata.namespace,
        "labels": labels(backup),
    }
    if annotations := content.pop("annotations", None):
        metadata["annotations"] = dict(annotations)
    metadata["ownerReferences"] = [_owner(backup)]
    identity = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata}
    return Child(resource=resource, manifest=identity | content)


def _owner(backup: DatabaseBackup) -> Manifest:
    """Whose the children are: with the object the garbage collector takes them."""
    return {
        "apiVersion": API_VERSION,
        "kind": backup.KIND,
        "name": backup.metadata.name,
        "uid": backup.metadata.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }
