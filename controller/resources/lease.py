"""The Lease by which at most one runner acts."""

from __future__ import annotations

from controller.api.v1 import DatabaseBackup
from controller.kube.resource import LEASES
from controller.resources.labels import Child, child


def lease(backup: DatabaseBackup) -> Child:
    """Build the Lease without a spec: that is the runner's, which may not create one."""
    return child(LEASES, backup)
