"""What an object depends on goes, comes back or is exchanged, under a runner that is up."""

from __future__ import annotations

from typing import Any

import pytest

from controller.kube.resource import (
    DATABASE_BACKUP_STORAGE_CLASSES,
    DATABASE_BACKUPS,
    DEPLOYMENTS,
    SECRETS,
    Resource,
)
from tests.integration.controller.world import Controller, World, wait_for

Children = dict[Resource, dict[str, Any]]


@pytest.fixture
def children(world: World, controller: Controller) -> Children:
    """Those of a runner that is up."""
    world.create_backup()
    world.wait_for_children()
    world.set_available()
    world.wait_for_condition("Ready", "True", "RunnerAvailable")
    world.wait_until_quiet()
    return world.wait_for_children()


def location_of(world: World) -> dict[str, Any]:
    """What the runner is told of its location."""
    (location,) = world.config()["storageSpec.yaml"]["backupLocations"]
    return dict(location)


def test_a_class_that_goes_takes_no_runner_with_it(world: World, children: Children) -> None:
    world.delete(DATABASE_BACKUP_STORAGE_CLASSES, world.class_name)

    told = world.wait_for_condition("Ready", "False", "DependencyMissing")
    assert f"there is no DatabaseBackupStorageClass {world.class_name}" in told["message"]
    assert world.condition("RunnerAvailable")["status"] == "True"
    world.wait_until_quiet()
    assert world.wait_for_children() == children

    world.create_class()

    world.wait_for_condition("Ready", "True", "RunnerAvailable")
    world.wait_until_quiet()
    assert world.wait_for_children() == children


def test_a_secret_that_goes_takes_no_runner_with_it(world: World, children: Children) -> None:
    of_class = {"name": world.class_name, "resource": DATABASE_BACKUP_STORAGE_CLASSES}
    world.server.request("DELETE", SECRETS.path(world.system, "bucket"))

    told = world.wait_for_condition("Ready", "False", "DependencyMissing")
    assert f"Secret {world.system}/bucket is not there" in told["message"]
    world.wait_for_condition("Ready", "False", "DependencyMissing", **of_class)
    assert world.condition("RunnerAvailable")["status"] == "True"
    world.wait_until_quiet()
    assert world.wait_for_children() == children

    world.create_secret(key="another-secret-key")

    world.wait_for_condition("Ready", "True", "RunnerAvailable")
    world.wait_for_condition("Ready", "True", "Usable", **of_class)
    assert location_of(world)["storageSecretAccessKey"] == {"value": "another-secret-key"}
    assert world.child(DEPLOYMENTS) == children[DEPLOYMENTS]


def test_an_object_that_names_another_class_goes_over_to_it(
    world: World, children: Children
) -> None:
    def used_by(name: str) -> int:
        status = world.get(DATABASE_BACKUP_STORAGE_CLASSES, name).get("status") or {}
        return int(status.get("usedBy", 0))

    other = f"other-{world.class_name}"
    location = {"name": "gcs", "storageType": "gcs", "storageBucket": "others"}
    world.create_class(other, backupLocations=[location])
    try:
        wait_for(lambda: used_by(world.class_name) == 1)
        world.change(
            DATABASE_BACKUPS, "shop", lambda raw: raw["spec"].update(backupStorageClass=other)
        )

        wait_for(lambda: location_of(world)["storageBucket"] == "others")
        wait_for(lambda: (used_by(world.class_name), used_by(other)) == (0, 1))
        # Its Secret is of no matter to the object any more, and nothing was restarted.
        world.server.request("DELETE", SECRETS.path(world.system, "bucket"))
        of_class = {"name": world.class_name, "resource": DATABASE_BACKUP_STORAGE_CLASSES}
        world.wait_for_condition("Ready", "False", "DependencyMissing", **of_class)
        world.wait_until_quiet()
        assert world.condition("Ready")["status"] == "True"
        assert world.child(DEPLOYMENTS) == children[DEPLOYMENTS]
    finally:
        world.delete(DATABASE_BACKUP_STORAGE_CLASSES, other)
