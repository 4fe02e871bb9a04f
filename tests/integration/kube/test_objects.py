"""The verbs do on a real API server what they say."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from controller.api.errors import (
    AccessDenied,
    ApiConflict,
    ApiRefused,
    ObjectExists,
    ObjectNotFound,
)
from controller.kube.client import Client, Selection
from controller.kube.events import Event
from controller.kube.resource import (
    DATABASE_BACKUPS,
    DEPLOYMENTS,
    EVENTS,
    LEASES,
    NAMESPACES,
    SECRETS,
    SERVICE_ACCOUNTS,
)
from tests.integration.kube.conftest import ClientFor
from tests.integration.kube.objects import (
    a_deployment,
    a_lease,
    a_secret,
    an_account,
    an_object,
)
from tests.servers.kubernetes import KubernetesServer

CANARY = "hunter2"


def test_an_apply_that_changes_nothing_writes_nothing(client: Client, namespace: str) -> None:
    raw = a_deployment(namespace, "orders")
    first = client.apply(DEPLOYMENTS, raw, field_manager="controller")

    second = client.apply(DEPLOYMENTS, raw, field_manager="controller")

    assert first == second


def test_an_apply_takes_away_what_it_does_not_hold_any_more(client: Client, namespace: str) -> None:
    raw = a_deployment(namespace, "orders")
    raw["metadata"]["labels"] = {"a": "1", "b": "2"}
    client.apply(DEPLOYMENTS, raw, field_manager="controller")

    raw["metadata"]["labels"] = {"a": "1"}
    applied = client.apply(DEPLOYMENTS, raw, field_manager="controller")

    assert applied["metadata"]["labels"] == {"a": "1"}


def test_a_field_of_another_manager_is_a_conflict_until_it_is_forced(
    client: Client, namespace: str
) -> None:
    client.apply(DEPLOYMENTS, a_deployment(namespace, "orders"), field_manager="somebody")
    mine = a_deployment(namespace, "orders", image="a:2")

    with pytest.raises(ApiConflict, match=r"somebody.*image"):
        client.apply(DEPLOYMENTS, mine, field_manager="controller")
    forced = client.apply(DEPLOYMENTS, mine, field_manager="controller", force=True)

    assert forced["spec"]["template"]["spec"]["containers"][0]["image"] == "a:2"


def test_a_status_apply_changes_the_status_alone(client: Client, namespace: str) -> None:
    created = client.create(DEPLOYMENTS, a_deployment(namespace, "orders"))
    status = an_object(
        DEPLOYMENTS, namespace, "orders", spec={"replicas": 9}, status={"replicas": 1}
    )

    client.apply_status(DEPLOYMENTS, status, field_manager="runner")

    read = client.get(DEPLOYMENTS, "orders", namespace=namespace)
    assert read["status"] == {"replicas": 1}
    assert read["spec"] == created["spec"]
    assert read["metadata"]["generation"] == created["metadata"]["generation"]


def test_a_merge_patch_removes_by_null_and_can_be_conditional(
    client: Client, namespace: str
) -> None:
    raw = an_account(namespace, "a")
    raw["metadata"]["finalizers"] = ["example.com/wait"]
    created = client.create(SERVICE_ACCOUNTS, raw)
    version = created["metadata"]["resourceVersion"]

    patched = client.patch(
        SERVICE_ACCOUNTS,
        "a",
        {"metadata": {"finalizers": None, "resourceVersion": version}},
        namespace=namespace,
    )

    assert "finalizers" not in patched["metadata"]
    with pytest.raises(ApiConflict):
        client.patch(
            SERVICE_ACCOUNTS,
            "a",
            {"metadata": {"labels": {"x": "y"}, "resourceVersion": version}},
            namespace=namespace,
        )


def test_a_lease_has_one_winner(client: Client, namespace: str) -> None:
    client.create(LEASES, a_lease(namespace, "leader", "nobody"))
    mine = client.get(LEASES, "leader", namespace=namespace)
    theirs = client.get(LEASES, "leader", namespace=namespace)

    mine["spec"]["holderIdentity"] = "me"
    client.replace(LEASES, mine)
    theirs["spec"]["holderIdentity"] = "them"

    with pytest.raises(ApiConflict):
        client.replace(LEASES, theirs)
    with pytest.raises(ObjectExists):
        client.create(LEASES, a_lease(namespace, "leader", "late"))
    read = client.get(LEASES, "leader", namespace=namespace)
    assert read["spec"]["holderIdentity"] == "me"


def test_a_delete_spares_an_object_that_is_another_one_now(client: Client, namespace: str) -> None:
    old = client.create(SERVICE_ACCOUNTS, an_account(namespace, "a"))["metadata"]
    client.delete(SERVICE_ACCOUNTS, "a", namespace=namespace, uid=old["uid"])
    new = client.create(SERVICE_ACCOUNTS, an_account(namespace, "a"))["metadata"]

    with pytest.raises(ApiConflict):
        client.delete(SERVICE_ACCOUNTS, "a", namespace=namespace, uid=old["uid"])
    with pytest.raises(ApiConflict):
        client.delete(
            SERVICE_ACCOUNTS, "a", namespace=namespace, resource_version=old["resourceVersion"]
        )

    client.delete(
        SERVICE_ACCOUNTS,
        "a",
        namespace=namespace,
        uid=new["uid"],
        resource_version=new["resourceVersion"],
    )
    with pytest.raises(ObjectNotFound):
        client.get(SERVICE_ACCOUNTS, "a", namespace=namespace)
    with pytest.raises(ObjectNotFound):
        client.delete(SERVICE_ACCOUNTS, "a", namespace=namespace)


def test_a_kind_that_nobody_installed_is_not_found(client: Client, namespace: str) -> None:
    missing = DATABASE_BACKUPS.__class__("nowhere.example", "v1", "things", "Thing")

    with pytest.raises(ObjectNotFound, match=r"list things\.nowhere\.example"):
        client.list(missing)


def test_an_event_is_found_by_its_object(client: Client, namespace: str) -> None:
    about = client.create(DEPLOYMENTS, a_deployment(namespace, "orders"))
    event = Event(
        regarding=about,
        type="Warning",
        reason="SecretMissing",
        message="the Secret is not there",
        at=datetime.now(UTC),
        reporter="db-backup-controller",
        instance="pod-1",
    )

    client.create_event(event)

    selection = Selection(
        namespace=namespace, fields=f"involvedObject.uid={about['metadata']['uid']}"
    )
    (found,) = client.list(EVENTS, selection).items
    assert (found["type"], found["reason"]) == ("Warning", "SecretMissing")


def test_an_event_of_an_object_in_no_namespace_is_taken(client: Client, namespace: str) -> None:
    about = client.get(NAMESPACES, namespace)
    event = Event(
        regarding=about,
        type="Normal",
        reason="Seen",
        message="seen",
        at=datetime.now(UTC),
        reporter="db-backup-controller",
        instance="pod-1",
    )

    assert client.create_event(event)["metadata"]["namespace"] == "default"


def test_what_is_invalid_is_told_by_path_and_without_values(client: Client, namespace: str) -> None:
    raw = a_deployment(namespace, "orders")
    raw["spec"]["replicas"] = -4242
    raw["spec"]["template"]["spec"]["containers"][0]["name"] = CANARY.upper()

    with pytest.raises(ApiRefused) as raised:
        client.apply(DEPLOYMENTS, raw, field_manager="controller")

    message = str(raised.value)
    assert "spec.replicas: Invalid value: must be greater than or equal to 0" in message
    assert "spec.template.spec.containers[0].name: Invalid value: a lowercase RFC 1123" in message
    assert "4242" not in message
    assert CANARY.upper() not in message


BAD_SECRETS: dict[str, dict[str, Any]] = {
    "a key": {"stringData": {"a/b": CANARY}},
    "not base64": {"data": {"k": CANARY + "!"}},
    "a number": {"stringData": {"k": 1, "l": CANARY}},
    "an unknown field": {"stringDatas": {"k": CANARY}},
    "a type without its keys": {"type": "kubernetes.io/tls", "stringData": {"k": CANARY}},
}


@pytest.mark.parametrize("fault", BAD_SECRETS)
def test_a_refused_secret_leaves_nothing_in_the_error(
    client: Client, namespace: str, fault: str
) -> None:
    raw = an_object(SECRETS, namespace, "a", **BAD_SECRETS[fault])

    with pytest.raises(ApiRefused, match="secrets") as created:
        client.create(SECRETS, raw, is_strict=True)

    assert CANARY not in str(created.value)


def test_a_strict_create_refuses_a_field_that_nobody_knows(client: Client, namespace: str) -> None:
    raw = a_deployment(namespace, "orders")
    raw["spec"]["replica"] = 1

    with pytest.raises(ApiRefused, match=r"unknown field .*spec\.replica"):
        client.create(DEPLOYMENTS, raw, is_strict=True)


def test_a_namespace_that_is_being_deleted_takes_nothing_new(
    client: Client, namespace: str
) -> None:
    client.delete(NAMESPACES, namespace)

    with pytest.raises(ApiRefused, match="being deleted"):
        client.create(SERVICE_ACCOUNTS, an_account(namespace, "a"))


def test_a_denial_names_verb_and_resource(client_of: ClientFor, namespace: str) -> None:
    client = client_of("reader", {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]})

    with pytest.raises(AccessDenied, match=r"'list' on 'secrets'"):
        client.list(SECRETS, Selection(namespace=namespace))
    with pytest.raises(AccessDenied, match=r"'patch' on 'deployments\.apps'"):
        client.apply(DEPLOYMENTS, a_deployment(namespace, "a"), field_manager="m")
    with pytest.raises(AccessDenied, match=r"'update' on 'leases\.coordination\.k8s\.io'"):
        lease = a_lease(namespace, "a", "me")
        lease["metadata"]["resourceVersion"] = "1"
        client.replace(LEASES, lease)


def test_an_owner_that_may_not_be_blocked_needs_its_right(
    client: Client, client_of: ClientFor, namespace: str
) -> None:
    owner = client.create(DEPLOYMENTS, a_deployment(namespace, "orders"))
    rule = {"apiGroups": [""], "resources": ["serviceaccounts"], "verbs": ["*"]}
    raw = an_account(namespace, "child")
    raw["metadata"]["ownerReferences"] = [
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "name": "orders",
            "uid": owner["metadata"]["uid"],
            "blockOwnerDeletion": True,
        }
    ]

    with pytest.raises(AccessDenied, match="blockOwnerDeletion"):
        client_of("maker", rule).create(SERVICE_ACCOUNTS, raw)


def test_the_audit_log_tells_who_wrote_what(
    kubernetes_server: KubernetesServer, client_of: ClientFor, namespace: str
) -> None:
    rule = {"apiGroups": [""], "resources": ["secrets"], "verbs": ["*"]}
    client = client_of("writer", rule)

    client.create(SECRETS, a_secret(namespace, "a", k=CANARY))
    client.get(SECRETS, "a", namespace=namespace)

    mine = [one for one in kubernetes_server.audit_entries() if one.namespace == namespace]
    assert [(one.verb, one.resource, one.name, one.is_write) for one in mine] == [
        ("create", "secrets", "a", True),
        ("get", "secrets", "a", False),
    ]
    assert {one.user for one in mine} == {f"system:serviceaccount:{namespace}:writer"}
    assert mine[0].user_agent.startswith("db-backup-controller/")
    assert mine[0].code == 201
