"""Which keys a change leads to: its own, and those of all that depend on it, before and after."""

from __future__ import annotations

from typing import Any

import pytest

from controller.api.keys import ObjectKey
from controller.availability import SeenPod, project_pod
from controller.cache.store import Change, Store
from controller.handlers import Handlers
from controller.projections import (
    BY_CLASS,
    BY_SECRET,
    SeenBackup,
    SeenChild,
    SeenClass,
    class_of,
    project_backup,
    project_child,
    project_class,
    project_secret,
    secrets_of,
)
from controller.queue.ratelimit import default_limiter
from controller.queue.workqueue import WorkQueue
from tests.builders import a_backup_manifest, a_class_manifest, a_location_manifest
from tests.fakes.clock import FakeClock

SHOP = ObjectKey("db", "shop")
STANDARD, OTHER = ObjectKey("", "standard"), ObjectKey("", "other")


class World:
    """Stores, queues, and the handlers between them."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.backups = Store[SeenBackup](project_backup, indexers={BY_CLASS: class_of})
        self.classes = Store[SeenClass](project_class, indexers={BY_SECRET: secrets_of})
        self.deployments = Store[SeenChild](project_child)
        self.backup_queue = self._queue()
        self.class_queue = self._queue()
        self.caused: list[ObjectKey] = []
        self.handlers = Handlers(
            backup_queue=self.backup_queue,
            class_queue=self.class_queue,
            backups=self.backups,
            classes=self.classes,
            deployments=self.deployments,
            pull_secret="registry",
            cause=self.caused.append,
        )

    def _queue(self) -> WorkQueue[ObjectKey]:
        return WorkQueue(default_limiter(self.clock), clock=self.clock)

    def drain(self, queue: WorkQueue[ObjectKey]) -> list[ObjectKey]:
        """Everything that is due within two seconds."""
        self.clock.advance(2)
        keys = []
        while len(queue):
            key = queue.get()
            assert key is not None
            queue.done(key)
            keys.append(key)
        return keys


def a_backup(class_name: str = "standard", **status: Any) -> dict[str, Any]:
    return a_backup_manifest(backupStorageClass=class_name) | {"status": status}


def a_class(name: str = "standard", secret: str = "bucket") -> dict[str, Any]:
    location = a_location_manifest(
        storageSecretAccessKey={"fromSecret": {"name": secret, "key": "k"}}
    )
    raw = a_class_manifest(backupLocations=[location])
    raw["metadata"]["name"] = name
    return raw


def a_child(owner: str | None = "shop") -> dict[str, Any]:
    reference = {"kind": "DatabaseBackup", "name": owner, "uid": "1"}
    references = [reference] if owner else []
    return {
        "kind": "Role",
        "metadata": {"name": "r", "namespace": "db", "ownerReferences": references},
    }


@pytest.fixture
def world() -> World:
    return World()


def test_a_new_object_is_looked_at_and_its_class_counts_it(world: World) -> None:
    world.handlers.on_backup(world.backups.put(a_backup()))

    assert world.drain(world.backup_queue) == [SHOP]
    assert world.drain(world.class_queue) == [STANDARD]
    assert world.caused == [SHOP]


def test_an_object_that_changes_its_class_concerns_both(world: World) -> None:
    world.backups.put(a_backup())

    world.handlers.on_backup(world.backups.put(a_backup("other")))

    assert set(world.drain(world.class_queue)) == {STANDARD, OTHER}


def test_an_own_status_write_concerns_no_class_and_is_no_cause(world: World) -> None:
    world.backups.put(a_backup())

    world.handlers.on_backup(world.backups.put(a_backup(runner="r")))

    assert world.drain(world.backup_queue) == [SHOP]
    assert world.drain(world.class_queue) == []
    assert world.caused == []


def test_a_runners_word_on_a_location_concerns_the_class(world: World) -> None:
    world.backups.put(a_backup())
    report = [{"name": "s3", "healthy": True}]

    world.handlers.on_backup(world.backups.put(a_backup(locations=report)))

    assert world.drain(world.class_queue) == [STANDARD]


def test_a_resync_concerns_the_object_alone(world: World) -> None:
    world.backups.put(a_backup())
    seen = world.backups.get(SHOP)

    world.handlers.on_backup(Change(SHOP, seen, seen))

    assert world.drain(world.backup_queue) == [SHOP]
    assert world.drain(world.class_queue) == []
    assert world.caused == []


def test_a_changed_class_concerns_all_that_name_it_and_no_other(world: World) -> None:
    world.backups.put(a_backup())
    stranger = a_backup("other")
    stranger["metadata"]["name"] = "stranger"
    world.backups.put(stranger)

    world.handlers.on_class(world.classes.put(a_class()))

    assert world.drain(world.class_queue) == [STANDARD]
    assert world.drain(world.backup_queue) == [SHOP]
    assert world.caused == [SHOP]


def test_the_status_of_a_class_wakes_none_of_its_users(world: World) -> None:
    world.backups.put(a_backup())
    world.classes.put(a_class())

    world.handlers.on_class(world.classes.put(a_class() | {"status": {"usedBy": 7}}))

    assert world.drain(world.backup_queue) == []


def test_a_changed_secret_concerns_the_users_of_the_classes_that_name_it(world: World) -> None:
    world.backups.put(a_backup())
    world.classes.put(a_class())
    world.classes.put(a_class("other", secret="another"))
    secret = project_secret({"metadata": {"name": "bucket", "namespace": "system"}})

    world.handlers.on_secret(Change(secret.key, None, secret))

    assert world.drain(world.class_queue) == [STANDARD]
    assert world.drain(world.backup_queue) == [SHOP]
    assert world.caused == [SHOP]


def test_the_changed_pull_secret_concerns_all_objects_and_is_no_cause(world: World) -> None:
    world.backups.put(a_backup())
    world.classes.put(a_class())
    secret = project_secret({"metadata": {"name": "registry", "namespace": "system"}})

    world.handlers.on_secret(Change(secret.key, None, secret))

    assert world.drain(world.class_queue) == []
    assert world.drain(world.backup_queue) == [SHOP]
    assert world.caused == []


def test_a_deleted_child_concerns_its_owner(world: World) -> None:
    child = project_child(a_child())

    world.handlers.on_child(Change(child.key, child, None))

    assert world.drain(world.backup_queue) == [SHOP]
    assert world.caused == [SHOP]


def test_a_child_that_lost_its_owner_still_concerns_it(world: World) -> None:
    old, new = project_child(a_child()), project_child(a_child(owner=None))

    world.handlers.on_child(Change(old.key, old, new))

    assert world.drain(world.backup_queue) == [SHOP]


def test_own_children_that_come_are_one_look_and_no_cause(world: World) -> None:
    child = project_child(a_child())
    for _ in range(5):
        world.handlers.on_child(Change(child.key, None, child))
    assert len(world.backup_queue) == 0  # not while more may come

    assert world.drain(world.backup_queue) == [SHOP]
    assert world.caused == []


def a_pod(**status: Any) -> dict[str, Any]:
    owner = {"kind": "ReplicaSet", "name": "runner-5d8f"}
    metadata = {"name": "runner-5d8f-x", "namespace": "db", "ownerReferences": [owner]}
    return {"metadata": metadata | {"labels": {"pod-template-hash": "5d8f"}}, "status": status}


def test_a_pod_concerns_the_object_whose_runner_it_is(world: World) -> None:
    deployment = a_child()
    deployment["metadata"]["name"] = "runner"
    pods = Store[SeenPod](project_pod)

    world.handlers.on_pod(pods.put(a_pod(phase="Pending")))
    assert world.drain(world.backup_queue) == []  # the Deployment is not seen yet

    world.deployments.put(deployment)
    evicted = pods.put(a_pod(phase="Failed", reason="Evicted"))
    world.handlers.on_pod(evicted)
    assert world.drain(world.backup_queue) == [SHOP]
    same = pods.put(a_pod(phase="Failed", reason="Evicted", hostIP="10.0.0.1"))
    assert same is None, "what nobody asks for is no change"
    world.handlers.on_pod(Change(evicted.key, evicted.new, None))
    assert world.drain(world.backup_queue) == [SHOP]
    assert world.caused == []
