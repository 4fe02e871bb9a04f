from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.controller.world import Controller, World
from tests.integration.kube import definitions
from tests.servers.kubernetes import KubernetesServer


@pytest.fixture
def world_without_rights(kubernetes_server: KubernetesServer, tmp_path: Path) -> Iterator[World]:
    """A class with its Secret, nothing that runs, and an account that may do nothing."""
    definitions.install(kubernetes_server)
    world = World(kubernetes_server, tmp_path)
    world.create_secret(key="a-secret-key")
    world.create_class()
    try:
        yield world
    finally:
        world.close()


@pytest.fixture
def world(world_without_rights: World) -> World:
    """The same with the rights that the controller needs."""
    world_without_rights.grant()
    return world_without_rights


@pytest.fixture
def controller(world: World) -> Controller:
    controller = world.start()
    controller.wait_until_leading()
    return controller
