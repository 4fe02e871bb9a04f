"""When a runner takes it that everything is to be deleted: real object and Lease, its own Role."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from controller.api.deletion import FINALIZER
from controller.api.errors import ObjectNotFound
from controller.api.lease import DELETION_MARK
from controller.api.names import child_name
from controller.kube import config
from controller.kube.client import Client, Raw
from controller.kube.resource import DATABASE_BACKUPS, LEASES
from controller.kube.transport import Options
from controller.resources.access import role
from runner.cluster import Cluster, ClusterDeletionOrder
from runner.lease import LeaseFence
from tests.builders import a_backup, a_backup_manifest
from tests.fakes.clock import FakeClock
from tests.integration.kube import definitions
from tests.integration.kube.objects import an_object
from tests.servers.kubernetes import KubernetesServer


class Bench:
    """The object, its marked Lease, and a runner with the rights that the controller gives it."""

    def __init__(self, client: Client, runner: Client, namespace: str) -> None:
        self.client, self.namespace = client, namespace
        self.lease = child_name(namespace, "shop")
        uid = self.create()["metadata"]["uid"]
        client.apply(LEASES, an_object(LEASES, namespace, self.lease), field_manager="a-test")
        cluster = Cluster(
            client=runner,
            regarding={"metadata": {"namespace": namespace, "name": "shop", "uid": uid}},
            lease_name=self.lease,
            pod="pod-1",
        )
        self.fence: LeaseFence = cluster.fence(FakeClock())
        self.order: ClusterDeletionOrder = cluster.deletion_order(self.fence)
        assert self.fence.try_acquire()

    def create(self, **spec: Any) -> Raw:
        manifest = a_backup_manifest(**{"deletionPolicy": "Delete"} | spec)
        manifest["metadata"] = {
            "namespace": self.namespace,
            "name": "shop",
            "finalizers": [FINALIZER, "example.com/theirs"],
        }
        return self.client.create(DATABASE_BACKUPS, manifest)

    def change(self, **body: Any) -> None:
        self.client.patch(DATABASE_BACKUPS, "shop", body, namespace=self.namespace)

    def delete(self) -> None:
        self.client.delete(DATABASE_BACKUPS, "shop", namespace=self.namespace)

    def mark(self) -> None:
        """What the controller does; the runner sees it with its next renewal."""
        metadata = {"annotations": {DELETION_MARK: "2026-11-23T10:00:00Z"}}
        self.client.patch(LEASES, self.lease, {"metadata": metadata}, namespace=self.namespace)
        self.fence.renew_once()


@pytest.fixture
def bench(kubernetes_server: KubernetesServer, client: Client, namespace: str) -> Iterator[Bench]:
    definitions.install(kubernetes_server)
    rules = role(a_backup(namespace=namespace)).manifest["rules"]
    token = kubernetes_server.token_for(namespace, "runner")
    kubernetes_server.allow(namespace, (namespace, "runner"), rules)
    kubeconfig = str(kubernetes_server.kubeconfig(token=token, namespace=namespace))
    with Client(config.from_kubeconfig(kubeconfig), Options(read_timeout_s=2)) as runner:
        bench = Bench(client, runner, namespace)
        yield bench
        bench.fence.release()
        with suppress(ObjectNotFound):
            # Else a controller of another test would look after it.
            bench.change(metadata={"finalizers": None})


def test_an_object_that_is_deleted_with_its_data_gives_the_order(bench: Bench) -> None:
    bench.delete()
    assert not bench.order.is_given(), "nobody asks before the Lease is marked"

    bench.mark()

    assert bench.order.is_given()


def test_a_mark_alone_orders_nothing(bench: Bench) -> None:
    bench.mark()

    assert not bench.order.is_given()


TAKEN_BACK: dict[str, Callable[[Bench], None]] = {
    "the policy": lambda bench: bench.change(spec={"deletionPolicy": "Retain"}),
    "the finalizer": lambda bench: bench.change(metadata={"finalizers": ["example.com/theirs"]}),
    "the object": lambda bench: bench.change(metadata={"finalizers": None}),
}


@pytest.mark.parametrize("take_back", TAKEN_BACK.values(), ids=TAKEN_BACK)
def test_an_order_is_taken_back(bench: Bench, take_back: Callable[[Bench], None]) -> None:
    bench.delete()
    bench.mark()
    assert bench.order.is_given()

    take_back(bench)

    assert not bench.order.is_given()


def test_a_later_object_of_the_name_gives_no_order_to_an_old_runner(bench: Bench) -> None:
    bench.change(metadata={"finalizers": None})
    bench.delete()
    bench.create()
    bench.delete()
    bench.mark()

    assert not bench.order.is_given()


def test_an_order_stands_while_the_object_cannot_be_read(
    bench: Bench, kubernetes_server: KubernetesServer
) -> None:
    bench.delete()
    bench.mark()
    assert bench.order.is_given()

    kubernetes_server.suspend()
    try:
        assert bench.order.is_given()
    finally:
        kubernetes_server.resume()
