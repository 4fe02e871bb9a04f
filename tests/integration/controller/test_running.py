"""The process: at rest, without rights, restarted, cut off."""

from __future__ import annotations

import json
import signal
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from controller.api.lease import BUSY_UNTIL
from controller.api.names import child_name
from controller.api.version import version
from controller.kube import config
from controller.kube.client import Client, Selection
from controller.kube.resource import DATABASE_BACKUPS, DEPLOYMENTS, LEASES, SECRETS
from tests.integration.controller.world import Controller, World, wait_for
from tests.servers.kubernetes import KubernetesServer


@pytest.fixture
def server(kubernetes_server: KubernetesServer) -> KubernetesServer:
    return kubernetes_server


def test_at_rest_nothing_is_written(world: World) -> None:
    good = [f"shop-{number}" for number in range(40)]
    for number, name in enumerate(good):
        world.create_backup(name, databaseVersion=str(15 + number % 3))
    for number in range(5):
        world.create_backup(f"waits-{number}", backupStorageClass="nowhere")
        world.create_backup(f"wrong-{number}", backupInterval=None, backupCron="0 3 30 2 *")
    resync_s = 3.0
    controller = world.start(RESCAN_INTERVAL=f"{resync_s:.0f}s")
    for name in good:
        world.wait_for_children(name)
    for name in good[:10]:
        world.set_available(name)
    before_writes = world.wait_until_quiet()
    before = controller.metric("reconciles_total", kind="DatabaseBackup")
    asked = controller.metric("api_requests_total", verb="get")
    assert before is not None

    # Three resyncs of a process whose jitter makes each up to one and a half as long.
    time.sleep(3 * 1.5 * resync_s)

    after = controller.metric("reconciles_total", kind="DatabaseBackup")
    assert after >= before + 3 * 50  # it did look
    assert len(world.writes()) == before_writes
    assert controller.metric("api_requests_total", verb="list") == 11  # and did not list again
    # Nor does it ask for what it may not list: there was no cause.
    assert asked is not None
    assert controller.metric("api_requests_total", verb="get") == asked
    # A resync may be on its way in this moment.
    wait_for(lambda: controller.metric("queue_depth") == 0)


def test_its_identity_cannot_read_secrets_of_others_in_bulk(world: World) -> None:
    world.create_secret("another", key="x")
    with Client(config.from_kubeconfig(world.kubeconfig)) as client:
        assert client.list(SECRETS, Selection(namespace=world.system)).items
        for selection in (Selection(), Selection(namespace=world.namespace)):
            with pytest.raises(Exception, match="forbidden"):
                client.list(SECRETS, selection)
            with (
                pytest.raises(Exception, match="forbidden"),
                client.watch(SECRETS, "1", selection) as stream,
            ):
                next(iter(stream))


def test_it_asks_for_nothing_that_it_may_not_have(world: World, controller: Controller) -> None:
    world.create_backup()
    world.wait_for_children()
    world.set_available()
    world.wait_for_condition("Ready", "True", "RunnerAvailable")
    world.delete(DATABASE_BACKUPS, "shop")
    world.wait_until_quiet()

    assert [one for one in world.requests() if one.code in {401, 403}] == []


def test_health_readiness_and_metrics(world: World, controller: Controller) -> None:
    world.create_backup()
    world.wait_for_children()

    assert controller.get("/healthz")[0] == 200
    code, text = controller.get("/readyz")
    assert (code, json.loads(text)["problem"]) == (200, "")
    assert controller.metric("leader") == 1
    assert controller.metric("controller_build_info", version=version()) == 1
    assert controller.metric("cache_objects", resource="databasebackups") >= 1
    assert controller.metric("cache_synced") == 11
    assert controller.metric("reconciles_total", outcome="done") >= 1
    assert controller.metric("reconciles_total", outcome="integrity") == 0
    assert controller.metric("api_requests_total", verb="patch", resource="deployments.apps") >= 1


def test_it_ends_in_order_and_at_once(world: World, controller: Controller) -> None:
    begun = time.monotonic()

    assert controller.stop() == 0

    assert time.monotonic() - begun < 5
    lease = world.server.request("GET", LEASES.path(world.system, "db-backup-controller")).body
    assert lease["spec"].get("holderIdentity", "") == ""
    assert [one for one in controller.log() if one["level"] == "ERROR"] == []


def test_after_a_kill_the_next_one_goes_on(world: World, controller: Controller) -> None:
    world.create_backup("before")
    world.wait_for_children("before")
    controller.stop(signal.SIGKILL)
    world.create_backup("meanwhile")
    world.delete(DEPLOYMENTS, child_name(world.namespace, "before"))

    after = world.start()

    world.wait_for_children("meanwhile")
    world.wait_for_children("before")
    assert after.metric("unexpected_errors_total") == 0


def test_it_is_elected_where_the_classes_secrets_are_wherever_its_kubeconfig_is(
    world: World,
) -> None:
    world.kubeconfig = world.kubeconfig_of(world.namespace)

    world.start().wait_until_leading()

    name = "db-backup-controller"
    lease = world.server.request("GET", LEASES.path(world.system, name))
    assert lease.body["spec"]["holderIdentity"]
    assert world.server.request("GET", LEASES.path(world.namespace, name)).status == 404


def test_outside_of_a_pod_it_has_to_be_told_its_namespace(world: World) -> None:
    controller = world.start(TARGET_NAMESPACE="")

    assert controller.process.wait(30) == 78

    assert "TARGET_NAMESPACE: is required" in controller.log_file.read_text()


def test_it_waits_for_a_server_that_is_not_there_and_survives_its_restart(
    world: World, server: KubernetesServer
) -> None:
    server.suspend()
    try:
        controller = world.start()
        wait_for(lambda: controller.get("/healthz")[0] == 200)
        code, text = controller.get("/readyz")
        assert code == 503
        assert json.loads(text)["problem"] == "the API server has not answered yet"
    finally:
        server.resume()
    controller.wait_until_leading()
    world.create_backup("first")
    world.wait_for_children("first")

    server.restart(is_killed=True)

    world.create_backup("second")
    world.wait_for_children("second")
    assert controller.metric("unexpected_errors_total") == 0
    assert controller.get("/healthz")[0] == 200


def test_missing_rights_are_told_and_waited_for(world_without_rights: World) -> None:
    world = world_without_rights
    controller = world.start()
    told = wait_for(lambda: [one for one in controller.log() if one["level"] == "WARNING"])
    assert told[0]["msg"] == "the API server cannot be used yet, trying again"
    assert "forbidden" in told[0]["error"]
    assert "stack" not in told[0]
    assert controller.get("/healthz")[0] == 200
    code, text = controller.get("/readyz")
    assert code == 503
    assert "forbidden" in json.loads(text)["problem"]

    world.grant()

    controller.wait_until_leading()


def test_a_wrong_setting_ends_it_with_every_mistake(world: World) -> None:
    wrong = {"IMAGE_PREFIX": "https://r/x", "LOG_LEVEL": "loud"}
    controller = world.start(LISTEN="3000", RESCAN_INTERVAL="often", **wrong)

    assert controller.process.wait(30) == 78

    text = controller.log_file.read_text()
    assert "LISTEN: '3000' must be" in text
    assert "RESCAN_INTERVAL: must be a duration" in text
    assert "IMAGE_PREFIX: must be" in text
    assert "LOG_LEVEL: must be one of" in text


def test_a_server_that_hangs_stops_the_leader_and_nothing_is_lost(
    world: World, controller: Controller, server: KubernetesServer
) -> None:
    server.suspend()
    try:
        wait_for(lambda: controller.metric("leader") == 0)
        assert controller.get("/healthz")[0] == 200
    finally:
        server.resume()

    world.create_backup()
    world.wait_for_children()


class TestHeldBackChanges:
    """A change of the pod template, while the runner is at work or others are being replaced."""

    @pytest.fixture
    def names(self, world: World, controller: Controller) -> tuple[str, ...]:
        """Runners that are up."""
        names = tuple(f"shop-{number}" for number in range(4))
        for name in names:
            world.create_backup(name)
            world.wait_for_children(name)
            world.set_available(name)
            world.wait_for_condition("Ready", "True", "RunnerAvailable", name)
        return names

    def image(self, world: World, name: str) -> str:
        (container,) = world.child(DEPLOYMENTS, name)["spec"]["template"]["spec"]["containers"]
        return str(container["image"])

    def upgrade(self, world: World, name: str) -> None:
        world.change(DATABASE_BACKUPS, name, lambda raw: raw["spec"].update(databaseVersion="17"))

    def write_lease(self, world: World, name: str, until: datetime | None) -> None:
        """What a runner writes while a job runs."""

        def edit(raw: dict[str, Any]) -> None:
            now = datetime.now(UTC)
            raw["spec"] = {
                "holderIdentity": "runner",
                "renewTime": now.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            }
            if until:
                text = until.strftime("%Y-%m-%dT%H:%M:%SZ")
                raw["metadata"]["annotations"] = {BUSY_UNTIL: text}

        world.change(LEASES, child_name(world.namespace, name), edit)

    def test_a_runner_at_work_is_not_replaced(self, world: World, names: tuple[str, ...]) -> None:
        busy, idle, *_ = names
        before = self.image(world, busy)
        self.write_lease(world, busy, datetime.now(UTC) + timedelta(hours=1))
        self.write_lease(world, idle, None)

        for name in (busy, idle):
            self.upgrade(world, name)

        wait_for(lambda: ":17-" in self.image(world, idle))
        told = world.wait_for_condition("Ready", "True", "ChangeHeldBack", busy)
        assert "waits for its job" in told["message"]
        assert self.image(world, busy) == before
        # What is no matter of the pod has arrived all the same.
        assert world.config(busy)["backup.yaml"]["spec"]["databaseVersion"] == "17"

    def test_so_many_are_replaced_at_once_and_no_more(
        self, world: World, names: tuple[str, ...]
    ) -> None:
        for name in names:
            self.upgrade(world, name)

        def upgraded() -> list[str]:
            return [name for name in names if ":17-" in self.image(world, name)]

        wait_for(lambda: len(upgraded()) == 3)
        (held,) = set(names) - set(upgraded())
        world.wait_for_condition("Ready", "True", "ChangeHeldBack", held)
        assert len(upgraded()) == 3

        world.set_available(upgraded()[0])

        wait_for(lambda: len(upgraded()) == 4)

    def test_the_next_leader_counts_what_its_predecessor_began(
        self, world: World, controller: Controller, names: tuple[str, ...]
    ) -> None:
        *first, last = names
        for name in first:
            self.upgrade(world, name)
            wait_for(lambda name=name: ":17-" in self.image(world, name))
        assert controller.stop() == 0

        world.start().wait_until_leading()
        self.upgrade(world, last)

        world.wait_for_condition("Ready", "True", "ChangeHeldBack", last)
        assert ":16-" in self.image(world, last)

    def test_a_runner_whose_pod_is_not_ready_is_not_replaced_while_it_works(
        self, world: World, names: tuple[str, ...]
    ) -> None:
        name = names[0]
        before = self.image(world, name)
        self.write_lease(world, name, datetime.now(UTC) + timedelta(hours=1))
        world.set_available(name, is_available=False)
        world.wait_for_condition("Ready", "False", "RunnerNotAvailable", name)

        self.upgrade(world, name)

        wait_for(lambda: "waits for its job" in world.condition("Ready", name)["message"])
        assert self.image(world, name) == before

    def test_a_runner_that_is_down_waits_for_no_turn(
        self, world: World, names: tuple[str, ...]
    ) -> None:
        down, *others = names
        for name in others:
            self.upgrade(world, name)
            wait_for(lambda name=name: ":17-" in self.image(world, name))
        world.set_available(down, is_available=False)
        world.wait_for_condition("Ready", "False", "RunnerNotAvailable", down)

        self.upgrade(world, down)

        wait_for(lambda: ":17-" in self.image(world, down))
        assert world.condition("Ready", down)["status"] == "False"
