"""Who the runner is at the API server, and the little that it may do there."""

from __future__ import annotations

from collections.abc import Mapping

from controller.api.names import child_name
from controller.api.v1 import DatabaseBackup
from controller.kube.resource import (
    DATABASE_BACKUPS,
    EVENTS,
    LEASES,
    ROLE_BINDINGS,
    ROLES,
    SERVICE_ACCOUNTS,
    Resource,
)
from controller.resources.labels import Child, Manifest, child


def service_account(backup: DatabaseBackup, annotations: Mapping[str, str]) -> Child:
    """Build the runner's ServiceAccount.

    No token comes with it by itself: the runner's pod asks for one, and a pod
    that somebody else starts with the account gets none unasked.
    """
    return child(
        SERVICE_ACCOUNTS, backup, annotations=annotations, automountServiceAccountToken=False
    )


def role(backup: DatabaseBackup) -> Child:
    """Build the runner's Role: its own object, its own Lease, and events.

    `create` cannot be limited to names; a runner creates nothing but events.
    """
    own, lease = backup.metadata.name, child_name(backup.metadata.namespace, backup.metadata.name)
    rules = [
        _rule(DATABASE_BACKUPS, ("get",), name=own),
        _rule(DATABASE_BACKUPS, ("get", "patch"), name=own, subresource="status"),
        _rule(LEASES, ("get", "update"), name=lease),
        _rule(EVENTS, ("create",)),
    ]
    return child(ROLES, backup, rules=rules)


def role_binding(backup: DatabaseBackup) -> Child:
    """Give the Role to the ServiceAccount; both have the Deployment's name."""
    namespace = backup.metadata.namespace
    name = child_name(namespace, backup.metadata.name)
    return child(
        ROLE_BINDINGS,
        backup,
        roleRef={"apiGroup": ROLES.group, "kind": ROLES.kind, "name": name},
        subjects=[{"kind": SERVICE_ACCOUNTS.kind, "name": name, "namespace": namespace}],
    )


def _rule(
    resource: Resource, verbs: tuple[str, ...], *, name: str = "", subresource: str = ""
) -> Manifest:
    what = f"{resource.plural}/{subresource}" if subresource else resource.plural
    rule: Manifest = {"apiGroups": [resource.group], "resources": [what], "verbs": list(verbs)}
    if name:
        rule["resourceNames"] = [name]
    return rule
