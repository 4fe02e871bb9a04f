"""A runner that is gone, and its successor: both write one condition on a real API server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from attrs import evolve

from controller.api.status import AttemptSummary, BackupSummary, DatabaseBackupStatus
from controller.kube import config
from controller.kube.client import Client
from controller.kube.resource import DATABASE_BACKUPS
from controller.process.clock import SystemClock
from runner.conditions import Basis, assess
from runner.status import ClusterStatus
from tests.integration.controller.world import Controller, World, wait_for

HOUR = timedelta(hours=1)


@contextmanager
def a_runner(world: World, *, next_in: timedelta) -> Iterator[None]:
    """What a runner writes after a backup that succeeded; it is there as long as the block."""
    metadata = {"namespace": world.namespace, "name": "shop"}
    kind, version = DATABASE_BACKUPS.kind, DATABASE_BACKUPS.api_version
    now = datetime.now(UTC)
    kubeconfig = str(world.server.kubeconfig(namespace=world.namespace))
    with Client(config.from_kubeconfig(kubeconfig)) as client:
        sink = ClusterStatus(
            client,
            regarding={"apiVersion": version, "kind": kind, "metadata": metadata},
            instance="pod",
            confirm=lambda: True,
            clock=SystemClock(),
        )
        former = sink.start()
        status = DatabaseBackupStatus(
            conditions=former.conditions,
            last_backup=BackupSummary(id="b1", started_at=now - 3 * HOUR, locations=("s3",)),
            last_attempt=AttemptSummary(
                started_at=now - 3 * HOUR, finished_at=now - 3 * HOUR, succeeded=True
            ),
            next_backup_at=now + next_in,
        )
        sink.report(evolve(status, conditions=assess(status, Basis(generation=1), now)))
        try:
            world.wait_for_condition("BackupHealthy", "True", "BackupSucceeded")
            yield
        finally:
            sink.stop(flush=False)


def have_been_down_for(world: World, span: timedelta) -> None:
    since = f"{datetime.now(UTC) - span:%Y-%m-%dT%H:%M:%SZ}"

    def edit(raw: dict[str, Any]) -> None:
        for one in raw["status"]["conditions"]:
            if one["type"] == "RunnerAvailable":
                one["lastTransitionTime"] = since

    world.change(DATABASE_BACKUPS, "shop", edit, subresource="status")


def test_a_true_goes_with_its_runner_and_comes_back_with_the_next_one(
    world: World, controller: Controller
) -> None:
    world.create_backup()
    world.wait_for_children()
    world.set_available()
    with a_runner(world, next_in=-2 * HOUR):
        world.wait_for_condition("Ready", "True", "RunnerAvailable")
        assert controller.metric("runner_available", namespace=world.namespace) == 1

    world.set_available(is_available=False)
    world.wait_for_condition("Ready", "False", "RunnerNotAvailable")
    wait_for(lambda: controller.metric("runner_available", namespace=world.namespace) == 0)
    assert world.condition("BackupHealthy")["status"] == "True", "it is only just gone"
    have_been_down_for(world, 2 * HOUR)

    gone = world.wait_for_condition("BackupHealthy", "Unknown", "RunnerGone")
    assert gone["lastTransitionTime"] > world.condition("RunnerAvailable")["lastTransitionTime"]
    world.wait_until_quiet()
    assert world.condition("BackupHealthy") == gone
    assert world.get(DATABASE_BACKUPS, "shop")["status"]["lastBackup"]["id"] == "b1"  # type: ignore[index]

    with a_runner(world, next_in=3 * HOUR):
        world.set_available()
        world.wait_for_condition("Ready", "True", "RunnerAvailable")
        world.kubectl("wait", "databasebackup/shop", "--for=condition=BackupHealthy")
    # Other writes of the controller take nothing of the condition along.
    world.set_available(is_available=False)
    world.wait_for_condition("Ready", "False", "RunnerNotAvailable")
    world.wait_until_quiet()
    healthy = world.condition("BackupHealthy")
    assert (healthy["status"], healthy["reason"]) == ("True", "BackupSucceeded")
    assert "b1" in healthy["message"]
