"""Lists are complete and of one moment; watches go on from there."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from controller.kube import config
from controller.kube.client import Client, ListerWatcher, Selection
from controller.kube.resource import SERVICE_ACCOUNTS, Resource
from controller.kube.watch import WatchEvent
from tests.integration.kube.objects import an_account
from tests.servers.kubernetes import KubernetesServer

CROWD = 1200


@pytest.fixture(scope="module")
def crowd(kubernetes_server: KubernetesServer) -> str:
    """A namespace with more objects than two pages hold."""
    namespace = kubernetes_server.new_namespace()
    endpoint = config.from_kubeconfig(str(kubernetes_server.kubeconfig()))

    def make(number: int) -> None:
        client.create(SERVICE_ACCOUNTS, an_account(namespace, f"a-{number:04}"))

    with Client(endpoint) as client, ThreadPoolExecutor(8) as pool:
        list(pool.map(make, range(CROWD)))
    return namespace


def _names(items: Any) -> list[str]:
    return [item["metadata"]["name"] for item in items]


def test_a_list_of_many_pages_is_complete(new_client: Callable[..., Client], crowd: str) -> None:
    verbs: list[tuple[str, int]] = []
    client = new_client(observe=lambda verb, _what, code, _s: verbs.append((verb, code)))

    listing = client.list(SERVICE_ACCOUNTS, Selection(namespace=crowd))

    assert [f"a-{number:04}" for number in range(CROWD)] == _names(listing.items)
    assert verbs == [("list", 200)] * 3
    assert {item["kind"] for item in listing.items} == {"ServiceAccount"}


def test_a_list_whose_pages_expire_is_complete_all_the_same(
    kubernetes_server: KubernetesServer, new_client: Callable[..., Client], crowd: str
) -> None:
    codes: list[int] = []

    def forget_history(_verb: str, _what: Resource, code: int, _s: float) -> None:
        codes.append(code)
        if len(codes) == 1:
            # The next page is of a moment that neither etcd nor a cache knows any more.
            path = f"/api/v1/namespaces/{crowd}/serviceaccounts"
            kubernetes_server.create(path, {"metadata": {"name": "late"}})
            kubernetes_server.compact()
            kubernetes_server.restart(is_killed=True)

    client = new_client(observe=forget_history)

    listing = client.list(SERVICE_ACCOUNTS, Selection(namespace=crowd))

    assert codes == [200, 410, 200]
    assert [*(f"a-{number:04}" for number in range(CROWD)), "late"] == _names(listing.items)


def test_selectors_choose(client: Client, namespace: str) -> None:
    for name, size in (("a", "small"), ("b", "large"), ("c", "large")):
        raw = an_account(namespace, name)
        raw["metadata"]["labels"] = {"size": size}
        client.create(SERVICE_ACCOUNTS, raw)

    large = client.list(SERVICE_ACCOUNTS, Selection(namespace=namespace, labels="size=large"))
    one = client.list(SERVICE_ACCOUNTS, Selection(namespace=namespace, fields="metadata.name=a"))

    assert _names(large.items) == ["b", "c"]
    assert _names(one.items) == ["a"]


def _told(events: list[WatchEvent]) -> list[tuple[str, str]]:
    return [(event.type, event.object["metadata"].get("name", "")) for event in events]


def test_a_watch_tells_what_happened_since_the_list(client: Client, namespace: str) -> None:
    source = ListerWatcher(client, SERVICE_ACCOUNTS, Selection(namespace=namespace))
    client.create(SERVICE_ACCOUNTS, an_account(namespace, "before"))
    listing = source.list()

    client.create(SERVICE_ACCOUNTS, an_account(namespace, "a"))
    patch = {"metadata": {"labels": {"x": "y"}}}
    client.patch(SERVICE_ACCOUNTS, "a", patch, namespace=namespace)
    client.delete(SERVICE_ACCOUNTS, "a", namespace=namespace)
    with source.watch(listing.resource_version) as stream:
        events = list(itertools.islice(stream, 3))

    assert _names(listing.items) == ["before"]
    assert _told(events) == [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a")]
    assert events[0].object["kind"] == "ServiceAccount"


def test_a_watch_goes_on_from_where_another_ended(client: Client, namespace: str) -> None:
    source = ListerWatcher(client, SERVICE_ACCOUNTS, Selection(namespace=namespace))
    version = source.list().resource_version
    for name in ("a", "b", "c"):
        client.create(SERVICE_ACCOUNTS, an_account(namespace, name))

    with source.watch(version) as stream:
        first = next(iter(stream))
    with source.watch(first.object["metadata"]["resourceVersion"]) as stream:
        rest = list(itertools.islice(stream, 2))

    assert _told([first, *rest]) == [("ADDED", "a"), ("ADDED", "b"), ("ADDED", "c")]


def test_a_bookmark_tells_how_far_a_quiet_watch_is(
    kubernetes_server: KubernetesServer, new_client: Callable[..., Client], namespace: str
) -> None:
    client = new_client(watch_timeout_s=(4, 4))
    source = ListerWatcher(client, SERVICE_ACCOUNTS, Selection(namespace=namespace))
    version = source.list().resource_version
    other = kubernetes_server.new_namespace()

    with source.watch(version) as stream:
        elsewhere = client.create(SERVICE_ACCOUNTS, an_account(other, "elsewhere"))
        events = list(stream)  # the server sends one two seconds before the end

    assert {event.type for event in events} == {"BOOKMARK"}
    reached = events[-1].object["metadata"]["resourceVersion"]
    assert reached == elsewhere["metadata"]["resourceVersion"]
