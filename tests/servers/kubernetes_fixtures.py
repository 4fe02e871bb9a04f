"""Fixtures: one API server a run, one namespace a test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.servers import kubernetes
from tests.servers.fixtures import given
from tests.servers.kubernetes import KubernetesServer


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
