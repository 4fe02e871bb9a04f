"""Fixtures: one API server a run, one namespace a test; Helm, and where it gets a chart from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from controller.api.crd import crds
from tests import manifest_schemas
from tests.servers import kubernetes, prometheus_operator, registry
from tests.servers.fixtures import given
from tests.servers.helm import Helm, find_helm
from tests.servers.kubeconform import Kubeconform, find_kubeconform
from tests.servers.kubernetes import KubernetesServer
from tests.servers.provider import ServerMissing, skip_or_fail
from tests.servers.registry import Registry

#: Groups of files, each with an API server of its own: the first beginning of a path below
#: tests/integration tells the group. Divided by how long they take (``--durations=0``).
_GROUPS = (
    ("controller/test_children.py", "kubernetes-children"),
    ("controller/test_refusals.py", "kubernetes-children"),
    ("controller/test_running.py", "kubernetes-children"),
    ("controller/test_takeover.py", "kubernetes-children"),
    ("controller/test_churn.py", "kubernetes"),
    ("controller/", "kubernetes-controller"),
    ("chart/test_runbooks.py", "kubernetes"),
    ("chart/test_server.py", "kubernetes"),
    ("chart/test_testenv.py", "kubernetes"),
    ("jobs/test_deletion.py", "kubernetes"),
    ("jobs/test_in_cluster.py", "kubernetes"),
    ("jobs/test_one_acts.py", "kubernetes"),
    ("jobs/test_prometheus.py", "kubernetes"),
    ("kube/", "kubernetes"),
    ("release/test_chart.py", "kubernetes"),
)


def _group(path: str) -> str | None:
    below = path.partition("tests/integration/")[2]
    return next((name for beginning, name in _GROUPS if below.startswith(beginning)), None)


class Scheduling(LoadScopeScheduling):
    """Let one worker run all tests of a group: each worker would start a server of its own.

    By path: xdist 3.8 passes over its own marks of groups with pytest 9.2.
    """

    def _split_scope(self, nodeid: str) -> str:
        return _group(nodeid.partition("::")[0]) or nodeid


@pytest.hookimpl(optionalhook=True)  # without xdist there is none
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling | None:
    return Scheduling(config, log) if config.getvalue("dist") == "loadgroup" else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse a test that would have a worker start one more server."""
    for item in items:
        path = item.path.as_posix()
        if (
            "kubernetes_server" in getattr(item, "fixturenames", ())
            and "tests/integration/" in path
            and _group(path) is None
        ):
            raise pytest.UsageError(f"{item.nodeid} needs an API server: add its file to _GROUPS")


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
def monitoring_crds() -> list[dict[str, Any]]:
    """Of the Prometheus operator's kinds that the chart makes objects of."""
    try:
        return prometheus_operator.crds()
    except ServerMissing as missing:
        skip_or_fail(missing)


@pytest.fixture(scope="session")
def kubeconform(
    kubernetes_server: KubernetesServer,
    monitoring_crds: list[dict[str, Any]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Kubeconform:
    """With the API server's own kinds, this project's and the Prometheus operator's."""
    try:
        program = find_kubeconform()
    except ServerMissing as missing:
        skip_or_fail(missing)
    folder = tmp_path_factory.mktemp("schemas")
    openapi = kubernetes_server.request("GET", "/openapi/v2").body
    manifest_schemas.write(folder, openapi, [*crds().values(), *monitoring_crds])
    return Kubeconform(program, folder)


@pytest.fixture(scope="session")
def local_registry() -> Iterator[Registry]:
    yield from given(registry.running())
