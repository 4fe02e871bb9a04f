"""What a runner in a pod gets for its ports: its account's client, its Lease, its status."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from attrs import field, frozen

from controller.api.durations import parse_duration
from controller.api.errors import ApiConflict, InvalidSpec, Problem
from controller.api.names import child_name
from controller.api.v1 import ObjectMeta
from controller.kube.client import Client, Raw
from controller.kube.config import SERVICE_ACCOUNT_FOLDER, in_cluster
from controller.kube.resource import DATABASE_BACKUPS, LEASES
from controller.kube.transport import Options
from controller.process.clock import Clock
from runner.lease import LeaseFence, LeaseTiming
from runner.ports import Confirm
from runner.status import ClusterStatus

_LEASE_DURATION = "60s"
#: Renewals are a third of it apart, and one takes its time.
_SHORTEST_LEASE_S = 3.0


@frozen(kw_only=True)
class Cluster:
    """The cluster as one runner may see it: one object, its status and its Lease."""

    client: Client
    #: The object, by its identity alone.
    regarding: Raw
    lease_name: str
    pod: str
    timing: LeaseTiming = field(factory=LeaseTiming)

    @property
    def namespace(self) -> str:
        return str(self.regarding["metadata"]["namespace"])

    def fence(self, clock: Clock) -> LeaseFence:
        return LeaseFence(
            self.client,
            self.namespace,
            self.lease_name,
            holder=self.pod,
            clock=clock,
            timing=self.timing,
        )

    def status(self, clock: Clock, confirm: Confirm) -> ClusterStatus:
        return ClusterStatus(
            self.client,
            regarding=self.regarding,
            instance=self.pod,
            confirm=confirm,
            clock=clock,
        )

    def check_status(self) -> None:
        """Try, without changing anything, what reporting needs; raises why it cannot be done."""
        name = self.regarding["metadata"]["name"]
        self.client.get(DATABASE_BACKUPS, name, namespace=self.namespace)
        self.client.patch(
            DATABASE_BACKUPS, name, {}, namespace=self.namespace, subresource="status"
        )

    def check_lease(self) -> str:
        """Try the same of the Lease; returns who holds it."""
        lease = self.client.get(LEASES, self.lease_name, namespace=self.namespace)
        with suppress(ApiConflict):  # it was renewed between the two: so we may write
            self.client.replace(LEASES, lease)
        return str((lease.get("spec") or {}).get("holderIdentity") or "")


@contextmanager
def connected(metadata: ObjectMeta, environ: Mapping[str, str]) -> Iterator[Cluster]:
    """Open the cluster that this pod is in.

    Args:
        metadata: of the DatabaseBackup; its Lease is in its namespace.
    Raises: InvalidSpec if a variable or a file of the pod is missing.
    """
    endpoint = in_cluster(
        folder=Path(environ.get("SERVICE_ACCOUNT_DIR") or SERVICE_ACCOUNT_FOLDER),
        environment=environ,
    )
    timing = _timing(environ)
    identity = {"namespace": metadata.namespace, "name": metadata.name}
    # A renewal that hangs must leave time for another one.
    limit_s = min(5.0, timing.renew_s)
    options = Options(connect_timeout_s=limit_s, read_timeout_s=2 * limit_s, connections=2)
    with Client(endpoint, options) as client:
        yield Cluster(
            client=client,
            regarding={
                "apiVersion": DATABASE_BACKUPS.api_version,
                "kind": DATABASE_BACKUPS.kind,
                "metadata": identity | ({"uid": metadata.uid} if metadata.uid else {}),
            },
            lease_name=child_name(metadata.namespace, metadata.name),
            pod=environ.get("POD_NAME") or socket.gethostname(),
            timing=timing,
        )


def _timing(environ: Mapping[str, str]) -> LeaseTiming:
    try:
        duration_s = parse_duration(environ.get("LEASE_DURATION", _LEASE_DURATION)).total_seconds()
    except InvalidSpec as error:
        raise InvalidSpec([Problem("LEASE_DURATION", str(error))]) from error
    if duration_s < _SHORTEST_LEASE_S:
        raise InvalidSpec([Problem("LEASE_DURATION", f"must be at least {_SHORTEST_LEASE_S:g}s")])
    return LeaseTiming.of(duration_s)
