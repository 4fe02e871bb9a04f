"""Clients of the real API server: cluster-admin, or a service account with rules of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from controller.kube import config
from controller.kube.client import Client
from controller.kube.transport import Options
from tests.servers.kubernetes import KubernetesServer

ClientFor = Callable[..., Client]


@pytest.fixture
def new_client(kubernetes_server: KubernetesServer) -> Iterator[Callable[..., Client]]:
    """Clients with options of their own; all are closed."""
    clients: list[Client] = []
    kubeconfig = str(kubernetes_server.kubeconfig())

    def make(**options: Any) -> Client:
        clients.append(Client(config.from_kubeconfig(kubeconfig), Options(**options)))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def client(new_client: Callable[..., Client]) -> Client:
    return new_client()


@pytest.fixture
def client_of(kubernetes_server: KubernetesServer, namespace: str) -> Iterator[ClientFor]:
    """A client of a service account of the test's namespace, which may do what the rules say."""
    clients: list[Client] = []

    def make(account: str, *rules: Mapping[str, Any]) -> Client:
        token = kubernetes_server.token_for(namespace, account)
        kubernetes_server.allow(namespace, (namespace, account), rules)
        kubeconfig = kubernetes_server.kubeconfig(token=token, namespace=namespace)
        clients.append(Client(config.from_kubeconfig(str(kubeconfig))))
        return clients[-1]

    yield make
    for one in clients:
        one.close()
