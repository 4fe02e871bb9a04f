"""Fixtures: where the charts' pods have to be admitted."""

from __future__ import annotations

import pytest

from tests.integration.kube.kubectl import kubectl
from tests.servers.kubernetes import KubernetesServer


@pytest.fixture
def restricted(kubernetes_server: KubernetesServer) -> str:
    """A namespace that takes no pod but one of the restricted standard."""
    name = kubernetes_server.new_namespace()
    kubectl(
        kubernetes_server,
        *["label", "namespace", name, "pod-security.kubernetes.io/enforce=restricted"],
    )
    return name
