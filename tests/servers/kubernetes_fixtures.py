"""Fixtures: one API server a run, one namespace a test; Helm, and where it gets a chart from."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.servers import kubernetes, registry
from tests.servers.fixtures import given
from tests.servers.helm import Helm, find_helm
from tests.servers.kubernetes import KubernetesServer
from tests.servers.provider import ServerMissing, skip_or_fail
from tests.servers.registry import Registry


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let one worker run all tests of the server: each worker would start one of its own."""
    for item in items:
        if "kubernetes_server" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("kubernetes"))


@pytest.fixture(scope="session")
def kubernetes_server() -> Iterator[KubernetesServer]:
    yield from given(kubernetes.running())


@pytest.fixture
def namespace(kubernetes_server: KubernetesServer) -> str:
    return kubernetes_server.new_namespace()


@pytest.fixture(scope="session")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    try:
        return Helm(find_helm(), tmp_path_factory.mktemp("helm"))
    except ServerMissing as missing:
        skip_or_fail(missing)


@pytest.fixture(scope="session")
def local_registry() -> Iterator[Registry]:
    yield from given(registry.running())
