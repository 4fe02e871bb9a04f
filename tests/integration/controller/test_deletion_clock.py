"""How long an object is held that goes with its backups: real objects, a clock that is moved."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
import yaml

from controller.api import codec
from controller.api.deletion import FINALIZER
from controller.api.errors import BackupError
from controller.api.keys import ObjectKey
from controller.api.lease import BUSY_UNTIL
from controller.api.names import child_name
from controller.apply import Applier
from controller.caches import Caches
from controller.events import EventRecorder
from controller.kube import config
from controller.kube.client import Client, Selection
from controller.kube.resource import (
    DATABASE_BACKUP_STORAGE_CLASSES,
    DATABASE_BACKUPS,
    EVENTS,
    LEASES,
    SECRETS,
)
from controller.reconcile import BackupReconciler
from controller.rollouts import Rollouts
from controller.worker import RequeueAfter
from tests.fakes.clock import FakeClock
from tests.integration.controller.world import ACCOUNT, RBAC, World
from tests.unit.resources.samples import SETTINGS


class Bench:
    """A reconciler that sees what the server has, and works as the controller's account."""

    def __init__(self, world: World, client: Client) -> None:
        self.world = world
        self._client = client
        self.key = ObjectKey(world.namespace, "shop")
        self.clock = FakeClock()
        self._caches = Caches.new()
        self._events = EventRecorder(client, reporter="a-test", instance="a", clock=self.clock)
        self._reconcile = BackupReconciler(
            self._caches,
            Applier(client),
            self._events,
            Rollouts(
                max_rolling=1,
                is_complete=lambda _: True,
                seen_rolling=self._caches.rolling,
                clock=self.clock,
            ),
            namespace=world.system,
            settings=SETTINGS,
            clock=self.clock,
            term=lambda: 1,
        )

    def reconcile(self) -> RequeueAfter | None:
        here = Selection(namespace=self.world.namespace)
        self._caches.backups.replace(self._client.list(DATABASE_BACKUPS, here).items)
        self._caches.classes.replace(self._client.list(DATABASE_BACKUP_STORAGE_CLASSES).items)
        system = Selection(namespace=self.world.system)
        self._caches.secrets.replace(self._client.list(SECRETS, system).items)
        for resource, store in self._caches.children.items():
            store.replace(self._client.list(resource, here).items)
        return self._reconcile(self.key)

    def begin(self) -> None:
        """Delete the object, and set the clock to that moment."""
        self.world.delete(DATABASE_BACKUPS, "shop")
        raw = self.world.get(DATABASE_BACKUPS, "shop")
        assert raw is not None
        self.clock.set_wall(codec.decode(datetime, raw["metadata"]["deletionTimestamp"]))

    def is_held(self) -> bool:
        raw = self.world.get(DATABASE_BACKUPS, "shop")
        return raw is not None and FINALIZER in raw["metadata"]["finalizers"]

    def renew(self) -> None:
        """What a runner writes while its job runs, which takes as long as a job may."""

        def edit(raw: dict[str, Any]) -> None:
            now = self.clock.now()
            until = now + timedelta(hours=5)
            annotations = raw["metadata"].setdefault("annotations", {})
            annotations[BUSY_UNTIL] = f"{until:%Y-%m-%dT%H:%M:%SZ}"
            raw["spec"] = {
                "holderIdentity": "pod-1",
                "leaseDurationSeconds": 60,
                "renewTime": f"{now:%Y-%m-%dT%H:%M:%S.%fZ}",
            }

        self.world.change(LEASES, child_name(self.key.namespace, self.key.name), edit)

    def told(self) -> list[tuple[str, str]]:
        while self._events.send_next(timeout_s=0.0):
            pass
        found = self.world.server.request("GET", EVENTS.path(self.world.namespace)).body["items"]
        return [(one["reason"], one["message"]) for one in found if one["type"] == "Warning"]


def bench_for(world: World, client: Client, **spec: object) -> Bench:
    world.create_backup(deletionPolicy="Delete", **spec)
    return Bench(world, client)


@pytest.fixture
def client(world_without_rights: World) -> Iterator[Client]:
    with Client(config.from_kubeconfig(world_without_rights.kubeconfig)) as client:
        yield client


def test_a_silent_runner_has_15_minutes(world: World, client: Client) -> None:
    bench = bench_for(world, client)
    bench.reconcile()
    assert bench.is_held()
    bench.begin()

    assert bench.reconcile() == RequeueAfter(30)
    bench.clock.advance(15 * 60 - 1)
    assert bench.reconcile() == RequeueAfter(1)
    bench.clock.advance(1)
    assert bench.reconcile() is None

    assert not bench.is_held()
    (message,) = [message for reason, message in bench.told() if reason == "DataRetained"]
    assert "its runner did not say anything" in message


def test_a_runner_at_work_has_longer_but_not_for_ever(world: World, client: Client) -> None:
    bench = bench_for(world, client, timeout="10m")
    bench.reconcile()
    bench.begin()
    minutes = 0
    while bench.reconcile() is not None:
        bench.renew()
        bench.clock.advance(60)
        minutes += 1

    assert minutes == 25
    assert not bench.is_held()


def test_a_runner_that_died_at_work_is_not_waited_for(world: World, client: Client) -> None:
    bench = bench_for(world, client)
    bench.reconcile()
    bench.begin()
    bench.renew()
    bench.clock.advance(15 * 60)
    assert bench.reconcile() == RequeueAfter(30)
    bench.renew()
    bench.clock.advance(30)
    assert bench.reconcile() == RequeueAfter(30)

    bench.clock.advance(60)
    assert bench.reconcile() is None

    assert not bench.is_held()


@pytest.mark.parametrize("spec", [{"backupStorageClass": "nowhere"}, {"backupCron": "0 3 30 2 *"}])
def test_an_object_that_never_had_a_runner_is_let_go_too(
    world: World, client: Client, spec: dict[str, object]
) -> None:
    bench = bench_for(world, client, **spec)
    with pytest.raises(BackupError):
        bench.reconcile()
    assert bench.is_held()
    bench.begin()
    assert bench.reconcile() == RequeueAfter(30)

    bench.clock.advance(15 * 60)
    assert bench.reconcile() is None

    assert not bench.is_held()


def test_without_the_right_to_look_at_namespaces_the_clock_decides(
    world_without_rights: World, client: Client
) -> None:
    world = world_without_rights
    rules = yaml.safe_load((RBAC / "clusterrole.yaml").read_text())["rules"]
    older = [rule for rule in rules if rule["resources"] != ["namespaces"]]
    world.server.allow(None, (world.system, ACCOUNT), older)
    role = yaml.safe_load((RBAC / "role.yaml").read_text())["rules"]
    world.server.allow(world.system, (world.system, ACCOUNT), role)
    bench = bench_for(world, client)
    bench.reconcile()
    bench.begin()

    assert bench.reconcile() == RequeueAfter(30)
    bench.clock.advance(15 * 60)
    assert bench.reconcile() is None

    assert not bench.is_held()
