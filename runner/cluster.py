"""What a runner in a pod gets for its ports: its account's client, its Lease, its status."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from attrs import field, frozen

from controller.api.deletion import orders_deletion
from controller.api.durations import parse_duration
from controller.api.errors import ApiConflict, BackupError, InvalidSpec, ObjectNotFound, Problem
from controller.api.names import child_name
from controller.api.v1 import ObjectMeta
from controller.kube.client import Client, Raw
from controller.kube.config import SERVICE_ACCOUNT_FOLDER, in_cluster
from controller.kube.resource import DATABASE_BACKUPS, LEASES
from controller.kube.transport import Options
from controller.process.clock import Clock
from controller.process.logging import kv
from runner.lease import LeaseFence, LeaseTiming
from runner.ports import Confirm
from runner.status import ClusterStatus

log = logging.getLogger(__name__)

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

    def deletion_order(self, fence: LeaseFence) -> ClusterDeletionOrder:
        return ClusterDeletionOrder(self.client, self.regarding, lambda: fence.is_marked)

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


class ClusterDeletionOrder:
    """Asks the API server itself before anything is deleted, and goes on asking meanwhile.

    The mark on the Lease comes with a renewal and costs no request of its own;
    it is no more than a reason to ask.

    Args:
        regarding: the object, with its uid: without one there is no order.
        is_marked: whether the Lease is.
    """

    def __init__(self, client: Client, regarding: Raw, is_marked: Callable[[], bool]) -> None:
        self._client = client
        self._metadata = regarding["metadata"]
        self._is_marked = is_marked
        self._is_given = False

    def is_given(self) -> bool:
        """As the API server says; while it does not answer, as it said last."""
        if not (self._is_given or self._is_marked()):
            return False
        name, namespace = self._metadata["name"], self._metadata["namespace"]
        try:
            found = self._client.get(DATABASE_BACKUPS, name, namespace=namespace)
        except ObjectNotFound:
            self._is_given = False
        except BackupError as error:
            log.warning("object not readable", extra=kv(error=str(error)))
        else:
            self._is_given = orders_deletion(found, self._metadata.get("uid", ""))
        return self._is_given


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
