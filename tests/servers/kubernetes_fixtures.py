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

#: Groups of tests, each with an API server of its own: the first beginning of a path below
#: tests/integration tells the group. Three take about as long as all other tests on the fourth
#: worker; ``--durations=0`` says how long.
_GROUPS = (
    ("controller/test_children.py", "kubernetes-children"),
    ("controller/test_refusals.py", "kubernetes-children"),
    ("controller/test_running.py", "kubernetes-children"),
    ("controller/test_takeover.py", "kubernetes-children"),
    ("controller/test_churn.py", "kubernetes"),
    ("controller/", "kubernetes-controller"),
    ("", "kubernetes"),
)
#: Tests that start a server for themselves, or for their file.
_STARTING = (
    "controller/test_churn.py",
    "controller/test_original_objects.py",
    "kube/test_crds_apply.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let one worker run all tests of a group: each worker would start a server of its own."""
    for item in items:
        below = item.path.as_posix().partition("tests/integration/")[2]
        if "kubernetes_server" in getattr(item, "fixturenames", ()) or below in _STARTING:
            group = next(name for beginning, name in _GROUPS if below.startswith(beginning))
            item.add_marker(pytest.mark.xdist_group(group))


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
