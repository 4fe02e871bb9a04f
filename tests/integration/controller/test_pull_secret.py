"""Credentials for the images: every runner has a copy of the controller's, and keeps it."""

from __future__ import annotations

import base64
from typing import Any

from controller.api.names import child_name
from controller.kube.resource import DEPLOYMENTS, SECRETS
from tests.integration.controller.world import Controller, World, wait_for

DOCKER_CONFIG = "kubernetes.io/dockerconfigjson"
SETTING = {"IMAGE_PULL_SECRET": "registry"}


def create_credentials(
    world: World, text: str, kind: str = "kubernetes.io/dockerconfigjson"
) -> None:
    body = {
        "metadata": {"name": "registry"},
        "type": kind,
        "stringData": {".dockerconfigjson": text},
    }
    world.server.create(SECRETS.path(world.system), body)


def copy_of(world: World, name: str = "shop") -> dict[str, Any] | None:
    return world.get(SECRETS, child_name(world.namespace, name, "pull"))


def has_copy(world: World, text: str, name: str = "shop") -> bool:
    copy = copy_of(world, name)
    return bool(copy) and base64.b64decode(copy["data"][".dockerconfigjson"]) == text.encode()


def test_a_change_reaches_every_runner_at_once_and_restarts_none(world: World) -> None:
    create_credentials(world, '{"auths":{}}')
    names = ("shop", "till")
    for name in names:
        world.create_backup(name)
    world.start(**SETTING)
    before = {name: world.wait_for_children(name)[DEPLOYMENTS] for name in names}
    for name, deployment in before.items():
        copy = copy_of(world, name)
        assert copy["type"] == DOCKER_CONFIG
        assert copy["metadata"]["ownerReferences"][0]["name"] == name
        used = deployment["spec"]["template"]["spec"]["imagePullSecrets"]
        assert used == [{"name": copy["metadata"]["name"]}]
    world.wait_until_quiet()

    new = '{"auths":{"registry.example.com":{"auth":"dXNlcjpwYXNz"}}}'
    world.change(
        SECRETS,
        "registry",
        lambda raw: raw.update(stringData={".dockerconfigjson": new}),
        namespace=world.system,
    )

    wait_for(lambda: all(has_copy(world, new, name) for name in names), timeout_s=2)
    world.wait_until_quiet()
    for name, deployment in before.items():
        now = world.child(DEPLOYMENTS, name)
        assert now["metadata"]["generation"] == deployment["metadata"]["generation"]


def test_one_that_is_missing_is_told_and_waited_for(world: World) -> None:
    world.create_backup()
    world.start(**SETTING)

    told = world.wait_for_condition("Ready", "False", "DependencyMissing")

    assert "credentials for the registry of all runners" in told["message"]
    assert f"Secret {world.system}/registry is not there" in told["message"]
    assert world.child(DEPLOYMENTS) is None
    create_credentials(world, "{}")
    world.wait_for_children()
    assert has_copy(world, "{}")


def test_what_is_no_docker_configuration_is_told_without_its_text(world: World) -> None:
    create_credentials(world, "canary-password", kind="Opaque")
    world.create_backup()
    controller = world.start(**SETTING)

    told = world.wait_for_condition("Ready", "False", "ApiRefused")

    assert "dockerconfigjson" in told["message"]
    assert "canary-password" not in told["message"]
    assert "canary-password" not in controller.log_file.read_text()


def test_without_the_setting_there_is_none(world: World, controller: Controller) -> None:
    world.create_backup()

    children = world.wait_for_children()

    assert copy_of(world) is None
    assert "imagePullSecrets" not in children[DEPLOYMENTS]["spec"]["template"]["spec"]
