"""The children on a real API server: taken as they are, and the runner's rights tried."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from controller.kube import config
from controller.kube.client import Client
from controller.kube.resource import (
    DATABASE_BACKUPS,
    EVENTS,
    LEASES,
    NAMESPACES,
    PODS,
)
from controller.resources.desired import Desired
from tests.integration.kube import definitions
from tests.integration.kube.objects import missing
from tests.servers.kubernetes import KubernetesServer
from tests.unit.resources.samples import CASES, build, template_of

MANAGER = "db-backup-controller"


@pytest.fixture
def restricted(kubernetes_server: KubernetesServer, namespace: str, client: Client) -> str:
    """A namespace that takes no pod but one of the restricted standard."""
    definitions.install(kubernetes_server)
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    client.patch(NAMESPACES, namespace, {"metadata": {"labels": labels}})
    return namespace


def built_in(client: Client, namespace: str, case: str) -> Desired:
    """Create the object of a case, and build its children from what the server stored."""
    raw, raw_class, settings = CASES[case]
    metadata = {"namespace": namespace, "name": raw["metadata"]["name"]}
    stored = client.create(DATABASE_BACKUPS, raw | {"metadata": metadata}, is_strict=True)
    return build(stored, raw_class, settings)


def apply_all(client: Client, built: Desired) -> list[dict[str, Any]]:
    return [
        client.apply(child.resource, child.manifest, field_manager=MANAGER)
        for child in built.children
    ]


def a_pod(built: Desired, namespace: str) -> dict[str, Any]:
    """What the controller manager would make of the Deployment, were there one."""
    template = template_of(built)
    metadata = template["metadata"] | {"namespace": namespace, "generateName": "runner-"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}


def admit(server: KubernetesServer, pod: Mapping[str, Any]) -> tuple[int, str]:
    path = PODS.path(pod["metadata"]["namespace"])
    answer = server.request("POST", f"{path}?dryRun=All&fieldValidation=Strict", pod)
    return answer.status, answer.body.get("message", "")


@pytest.mark.parametrize("case", CASES)
def test_every_child_is_taken_and_a_second_apply_writes_nothing(
    client: Client, restricted: str, case: str
) -> None:
    built = built_in(client, restricted, case)

    first, second = apply_all(client, built), apply_all(client, built)

    versions = [[one["metadata"]["resourceVersion"] for one in all_] for all_ in (first, second)]
    assert versions[0] == versions[1]
    assert [one["metadata"]["ownerReferences"][0]["uid"] for one in first] == (
        [child.manifest["metadata"]["ownerReferences"][0]["uid"] for child in built.children]
    )


@pytest.mark.parametrize("case", CASES)
def test_the_server_keeps_every_field_as_it_was_built(
    client: Client, restricted: str, case: str
) -> None:
    """Else a controller that compares would write for ever."""
    built = built_in(client, restricted, case)

    for child, stored in zip(built.children, apply_all(client, built), strict=True):
        assert missing(child.manifest, stored) == []


@pytest.mark.parametrize("case", CASES)
def test_its_pod_is_admitted_where_only_restricted_ones_are(
    kubernetes_server: KubernetesServer, client: Client, restricted: str, case: str
) -> None:
    built = built_in(client, restricted, case)
    apply_all(client, built)
    pod = a_pod(built, restricted)

    assert admit(kubernetes_server, pod) == (201, "")

    # The namespace does look: a pod that differs in one thing is refused.
    pod["spec"] = pod["spec"] | {"hostNetwork": True}
    status, message = admit(kubernetes_server, pod)
    assert (status, "violates PodSecurity" in message) == (403, True)


@pytest.fixture
def runner(
    kubernetes_server: KubernetesServer, client: Client, restricted: str
) -> Iterator[tuple[Client, Desired]]:
    """A client with the token that the runner's pod gets."""
    built = built_in(client, restricted, "secrets-and-claims")
    apply_all(client, built)
    token = kubernetes_server.token_for(restricted, built.name)
    kubeconfig = kubernetes_server.kubeconfig(token=token, namespace=restricted)
    with Client(config.from_kubeconfig(str(kubeconfig))) as one:
        yield one, built


def test_a_runner_may_do_what_it_needs(runner: tuple[Client, Desired], restricted: str) -> None:
    mine, built = runner

    own = mine.get(DATABASE_BACKUPS, "shop", namespace=restricted)
    condition = {
        "type": "BackupHealthy",
        "status": "True",
        "reason": "Tried",
        "message": "",
        "lastTransitionTime": "2026-01-02T03:04:05Z",
    }
    identity = {key: own[key] for key in ("apiVersion", "kind")}
    report = identity | {
        "metadata": {"namespace": restricted, "name": "shop"},
        "status": {"conditions": [condition], "storedBackups": 3},
    }
    reported = mine.apply_status(DATABASE_BACKUPS, report, field_manager="db-backup-runner")
    lease = mine.get(LEASES, built.name, namespace=restricted)
    held = mine.replace(LEASES, lease | {"spec": {"holderIdentity": "me"}})
    event = mine.create(
        EVENTS,
        {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"namespace": restricted, "name": "shop.1"},
            "involvedObject": identity | {"namespace": restricted, "name": "shop"},
        },
    )

    assert reported["status"]["storedBackups"] == 3
    assert held["spec"] == {"holderIdentity": "me"}
    assert event["metadata"]["name"] == "shop.1"
