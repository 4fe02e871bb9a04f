"""An API server that hangs, dies, comes back and has forgotten; a token that is replaced."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from controller.api.errors import AccessDenied, ApiExpired, ApiUnavailable
from controller.kube import config
from controller.kube.client import Client, ListerWatcher, Selection
from controller.kube.endpoint import Endpoint
from controller.kube.resource import LEASES, SECRETS, SERVICE_ACCOUNTS
from controller.kube.watch import WatchEvent
from tests.integration.kube.objects import a_lease, an_account
from tests.servers.kubernetes import KubernetesServer


@pytest.fixture
def hanging(kubernetes_server: KubernetesServer) -> Iterator[Callable[[], None]]:
    """Lets the server hang until the test is over."""
    yield kubernetes_server.suspend
    kubernetes_server.resume()


def test_a_hanging_server_is_given_up_in_time(
    kubernetes_server: KubernetesServer,
    new_client: Callable[..., Client],
    namespace: str,
    hanging: Callable[[], None],
) -> None:
    warm, cold = new_client(read_timeout_s=0.5), new_client(connect_timeout_s=0.5)
    warm.create(LEASES, a_lease(namespace, "a", "me"))

    hanging()

    for client in (warm, cold):
        begun = time.monotonic()
        with pytest.raises(ApiUnavailable, match="time limit"):
            client.get(LEASES, "a", namespace=namespace)
        assert time.monotonic() - begun < 3
    kubernetes_server.resume()
    for client in (new_client(), new_client()):
        assert client.get(LEASES, "a", namespace=namespace)["spec"]["holderIdentity"] == "me"


def test_a_watch_of_a_hanging_server_is_given_up_in_time(
    new_client: Callable[..., Client], namespace: str, hanging: Callable[[], None]
) -> None:
    client = new_client(watch_idle_s=0.5, read_timeout_s=0.5)
    source = ListerWatcher(client, SERVICE_ACCOUNTS, Selection(namespace=namespace))
    version = source.list().resource_version

    with source.watch(version) as stream:
        hanging()
        assert list(stream) == []  # a quiet kind looks the same
    with pytest.raises(ApiUnavailable, match="time limit"):
        source.watch(version)


def test_a_killed_server_ends_its_watches_and_the_next_request_finds_the_new_one(
    kubernetes_server: KubernetesServer, client: Client, namespace: str
) -> None:
    source = ListerWatcher(client, SERVICE_ACCOUNTS, Selection(namespace=namespace))
    version = source.list().resource_version

    with source.watch(version) as stream:
        kubernetes_server.restart(is_killed=True)
        with pytest.raises(ApiUnavailable):
            list(stream)

    client.create(SERVICE_ACCOUNTS, an_account(namespace, "a"))
    with source.watch(version) as stream:
        assert next(iter(stream)).object["metadata"]["name"] == "a"


def test_an_orderly_restart_is_survived(
    kubernetes_server: KubernetesServer, client: Client, namespace: str
) -> None:
    client.create(LEASES, a_lease(namespace, "a", "me"))

    kubernetes_server.restart()

    assert client.get(LEASES, "a", namespace=namespace)["spec"]["holderIdentity"] == "me"


def test_a_version_that_was_forgotten_is_expired(
    kubernetes_server: KubernetesServer, client: Client, namespace: str
) -> None:
    source = ListerWatcher(client, SERVICE_ACCOUNTS, Selection(namespace=namespace))
    old = source.list().resource_version
    client.create(SERVICE_ACCOUNTS, an_account(namespace, "a"))
    client.create(SERVICE_ACCOUNTS, an_account(namespace, "b"))

    kubernetes_server.compact()
    kubernetes_server.restart(is_killed=True)  # its cache of events is younger, too

    with pytest.raises(ApiExpired), source.watch(old) as stream:
        next(iter(stream))
    assert len(source.list().items) == 2


def test_a_watch_is_interrupted_in_no_time(client: Client, namespace: str) -> None:
    source = ListerWatcher(client, SERVICE_ACCOUNTS, Selection(namespace=namespace))
    version = source.list().resource_version
    client.create(SERVICE_ACCOUNTS, an_account(namespace, "a"))
    events: list[WatchEvent] = []
    has_begun = threading.Event()

    def read() -> None:
        for event in stream:
            events.append(event)
            has_begun.set()

    with source.watch(version) as stream:
        thread = threading.Thread(target=read)
        thread.start()
        assert has_begun.wait(10)
        begun = time.monotonic()
        stream.interrupt()
        thread.join(10)

    assert not thread.is_alive()
    assert time.monotonic() - begun < 1
    assert [event.type for event in events] == ["ADDED"]


@pytest.fixture
def pod(kubernetes_server: KubernetesServer, namespace: str, tmp_path: Path) -> Endpoint:
    """What a pod with the account "runner" would find; it may read its Lease."""
    rule = {"apiGroups": [LEASES.group], "resources": ["leases"], "verbs": ["get", "create"]}
    token = kubernetes_server.token_for(namespace, "runner")
    kubernetes_server.allow(namespace, (namespace, "runner"), [rule])
    shutil.copy(kubernetes_server.ca_file, tmp_path / "ca.crt")
    (tmp_path / "namespace").write_text(namespace)
    (tmp_path / "token").write_text(token)
    environment = {
        "KUBERNETES_SERVICE_HOST": "127.0.0.1",
        "KUBERNETES_SERVICE_PORT": str(kubernetes_server.port),
    }
    return config.in_cluster(folder=tmp_path, environment=environment)


def test_a_pod_is_who_its_token_says(pod: Endpoint) -> None:
    with Client(pod) as client:
        client.create(LEASES, a_lease(pod.namespace, "a", "me"))

        assert client.get(LEASES, "a", namespace=pod.namespace)["spec"]["holderIdentity"] == "me"
        with pytest.raises(AccessDenied, match=r"system:serviceaccount:.*:runner"):
            client.list(SECRETS, Selection(namespace=pod.namespace))


def test_a_token_that_is_replaced_is_used_at_once(pod: Endpoint, tmp_path: Path) -> None:
    good = (tmp_path / "token").read_text()
    (tmp_path / "token").write_text(good[:-8] + "expired!")

    with Client(pod) as client:
        with pytest.raises(AccessDenied, match="does not accept the credentials") as raised:
            client.create(LEASES, a_lease(pod.namespace, "a", "me"))
        (tmp_path / "token").write_text(good)
        client.create(LEASES, a_lease(pod.namespace, "a", "me"))

    assert good[:20] not in str(raised.value)
