"""What a runner's token can do: everything that a server serves, tried with every verb."""

from __future__ import annotations

import contextlib
import http.client
import ssl
from collections.abc import Iterator

from attrs import frozen

from controller.kube.client import Client
from controller.kube.resource import DATABASE_BACKUPS
from tests.integration.kube import definitions
from tests.servers.kubernetes import KubernetesServer
from tests.unit.resources.samples import CASES, build

#: RBAC's verb -> HTTP's.
VERBS = {
    "get": "GET",
    "list": "GET",
    "watch": "GET",
    "create": "POST",
    "update": "PUT",
    "patch": "PATCH",
    "delete": "DELETE",
    "deletecollection": "DELETE",
}
OF_COLLECTIONS = ("list", "watch", "create", "deletecollection")
#: What Kubernetes lets everybody do: ask what they may do themselves.
EVERYBODYS = {
    ("create", "selfsubjectaccessreviews"),
    ("create", "selfsubjectreviews"),
    ("create", "selfsubjectrulesreviews"),
}


@frozen(order=True)
class Try:
    """One request.

    Args:
        what: plural of the kind, and the subresource.
        namespace, name: empty where there is none.
    """

    verb: str
    what: str
    namespace: str
    name: str
    path: str

    @property
    def method(self) -> str:
        return VERBS[self.verb]


def test_a_runners_token_can_do_what_it_needs_and_nothing_else(
    kubernetes_server: KubernetesServer, namespace: str, client: Client
) -> None:
    server = kubernetes_server
    definitions.install(server)
    raw, raw_class, settings = CASES["smallest"]
    metadata = {"namespace": namespace, "name": "shop"}
    built = build(
        client.create(DATABASE_BACKUPS, raw | {"metadata": metadata}), raw_class, settings
    )
    for child in built.children:
        client.apply(child.resource, child.manifest, field_manager="db-backup-controller")
    token = server.token_for(namespace, built.name)
    names = ("shop", built.name, "other")

    tries = list(every_try(server, (namespace, "kube-system"), names))
    tls = ssl.create_default_context(cafile=server.ca_file)
    connection = http.client.HTTPSConnection("127.0.0.1", server.port, timeout=30, context=tls)
    with contextlib.closing(connection):
        can = {one for one in tries if answer(connection, token, one) != 403}

    assert len(tries) > 1000
    needed = {
        ("get", "databasebackups", "shop"),
        ("get", "databasebackups/status", "shop"),
        ("patch", "databasebackups/status", "shop"),
        ("get", "leases", built.name),
        ("update", "leases", built.name),
        ("create", "events", ""),
    }
    found = {one for one in can if (one.verb, one.what) not in EVERYBODYS}
    assert {(one.verb, one.what, one.name) for one in found} == needed
    assert {one.namespace for one in found} == {namespace}


def every_try(
    server: KubernetesServer, namespaces: tuple[str, ...], names: tuple[str, ...]
) -> Iterator[Try]:
    """Each verb on each resource, in each namespace or in none, under each name or under none."""
    groups = server.request("GET", "/apis").body["groups"]
    versions = [f"/apis/{group['preferredVersion']['groupVersion']}" for group in groups]
    for where in ("/api/v1", *versions):
        for resource in server.request("GET", where).body["resources"]:
            kind, _, subresource = resource["name"].partition("/")
            for namespace in (*namespaces, "") if resource["namespaced"] else ("",):
                base = f"{where}/namespaces/{namespace}/{kind}" if namespace else f"{where}/{kind}"
                for verb in VERBS:
                    if not subresource and verb in OF_COLLECTIONS:
                        query = "?watch=true&timeoutSeconds=1" if verb == "watch" else ""
                        yield Try(verb, kind, namespace, "", base + query)
                    elif verb not in OF_COLLECTIONS or (subresource and verb == "create"):
                        if resource["namespaced"] and not namespace:
                            continue
                        for name in names:
                            path = "/".join(filter(None, (base, name, subresource)))
                            yield Try(verb, resource["name"], namespace, name, path)


def answer(connection: http.client.HTTPSConnection, token: str, one: Try) -> int:
    """Ask as the runner; the status. What the body would have to be is judged later than rights."""
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    body = None if one.method == "GET" else "{}"
    connection.request(one.method, one.path, body=body, headers=headers)
    response = connection.getresponse()
    response.read()
    return response.status
