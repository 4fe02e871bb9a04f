"""What a real API server makes of applied children, and what is found different then."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import pytest

from controller.api.errors import ApiConflict, ApiRefused, ObjectExists, WaitingError
from controller.api.keys import ObjectKey
from controller.api.status import DatabaseBackupStatus
from controller.apply import Applier
from controller.kube.client import Client
from controller.kube.resource import (
    DATABASE_BACKUPS,
    DEPLOYMENTS,
    LEASES,
    NETWORK_POLICIES,
    ROLES,
    SECRETS,
    SERVICE_ACCOUNTS,
    Resource,
)
from controller.status import applied_backup_status
from tests.builders import a_backup_manifest
from tests.integration.kube import definitions
from tests.integration.kube.objects import an_object
from tests.servers.kubernetes import KubernetesServer

OWNER = {
    "apiVersion": "backup.nect.com/v1",
    "kind": "DatabaseBackup",
    "name": "shop",
    "uid": "11111111-1111-1111-1111-111111111111",
    "controller": True,
    "blockOwnerDeletion": True,
}
LABELS = {
    "app.kubernetes.io/managed-by": "db-backup-controller",
    "db-backup.nect.com/src-name": "shop",
}
SELECTOR = {"matchLabels": LABELS}
POD = ("spec", "template", "spec")
PORT = {"port": 3000, "protocol": "TCP"}
CONTENT: list[tuple[Resource, dict[str, Any]]] = [
    (SECRETS, {"type": "Opaque", "data": {"a": "Yg=="}}),
    (SERVICE_ACCOUNTS, {"automountServiceAccountToken": False}),
    (ROLES, {"rules": [{"apiGroups": [""], "resources": ["events"], "verbs": ["create"]}]}),
    (LEASES, {}),
    (
        NETWORK_POLICIES,
        {
            "spec": {
                "podSelector": SELECTOR,
                "policyTypes": ["Ingress"],
                "ingress": [{"ports": [PORT]}],
            }
        },
    ),
    (
        DEPLOYMENTS,
        {
            "spec": {
                "replicas": 1,
                "selector": SELECTOR,
                "strategy": {"type": "Recreate"},
                "template": {
                    "metadata": {"labels": LABELS},
                    "spec": {
                        "enableServiceLinks": False,
                        "terminationGracePeriodSeconds": 660,
                        # Left out by the server when it is false, as readOnly of a mount is.
                        "hostNetwork": False,
                        "tolerations": [
                            {
                                "key": "a",
                                "operator": "Exists",
                                "effect": "NoExecute",
                                "tolerationSeconds": 0,
                            }
                        ],
                        "securityContext": {"runAsNonRoot": True, "fsGroup": 65532},
                        "containers": [
                            {
                                "name": "runner",
                                "image": "runner:1",
                                "args": ["run"],
                                "securityContext": {
                                    "allowPrivilegeEscalation": False,
                                    "readOnlyRootFilesystem": True,
                                },
                                "env": [
                                    {"name": "A", "value": "1"},
                                    {
                                        "name": "POD",
                                        "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}},
                                    },
                                ],
                                "ports": [{"name": "metrics", "containerPort": 3000}],
                                "resources": {"limits": {"cpu": "0.5", "memory": "1024Mi"}},
                                "livenessProbe": {"httpGet": {"path": "/", "port": "metrics"}},
                                "volumeMounts": [
                                    {"name": "run", "mountPath": "/run", "readOnly": False},
                                    {"name": "config", "mountPath": "/etc/a", "readOnly": True},
                                ],
                            }
                        ],
                        "volumes": [
                            {"name": "run", "emptyDir": {"sizeLimit": "0.5Gi"}},
                            {
                                "name": "config",
                                "projected": {
                                    "defaultMode": 288,
                                    "sources": [{"secret": {"name": "a", "optional": False}}],
                                },
                            },
                        ],
                    },
                },
            }
        },
    ),
]
EACH_KIND = pytest.mark.parametrize(
    ("resource", "content"), CONTENT, ids=[resource.kind for resource, _ in CONTENT]
)


def a_child(resource: Resource, namespace: str, content: dict[str, Any]) -> dict[str, Any]:
    child = copy.deepcopy(an_object(resource, namespace, "a", **content))
    child["metadata"] |= {"labels": dict(LABELS), "ownerReferences": [dict(OWNER)]}
    return child


@pytest.fixture
def applier(client: Client) -> Applier:
    return Applier(client)


@EACH_KIND
def test_what_was_applied_is_not_different_and_comes_back_when_changed(
    resource: Resource, content: dict[str, Any], applier: Applier, client: Client, namespace: str
) -> None:
    desired = a_child(resource, namespace, content)
    assert applier.read(resource, namespace, "a") is None
    applier.write(resource, desired)
    actual = applier.read(resource, namespace, "a")
    assert applier.changes(resource, desired, actual) == ()

    # Somebody edits a label away and adds one of their own.
    patch = {
        "metadata": {"labels": {"db-backup.nect.com/src-name": None, "theirs": "1"}},
    }
    edited = client.patch(resource, "a", patch, namespace=namespace, field_manager="kubectl-edit")
    changed = applier.changes(resource, desired, edited)
    assert changed == ("metadata.labels.db-backup.nect.com/src-name",)
    repaired = applier.write(resource, desired, changed)

    assert applier.changes(resource, desired, repaired) == ()
    assert repaired["metadata"]["labels"] == LABELS | {"theirs": "1"}


@EACH_KIND
def test_what_is_not_wanted_any_more_goes(
    resource: Resource, content: dict[str, Any], applier: Applier, namespace: str
) -> None:
    earlier = a_child(resource, namespace, content)
    earlier["metadata"]["annotations"] = {"old": "1"}
    actual = applier.write(resource, earlier)
    desired = a_child(resource, namespace, content)

    changed = applier.changes(resource, desired, actual)
    written = applier.write(resource, desired, changed)

    assert changed == ("metadata.annotations",)
    assert "annotations" not in written["metadata"]
    assert applier.changes(resource, desired, written) == ()


RULE = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}
SOURCES = [{"secret": {"name": name, "items": [{"key": "k", "path": name}]}} for name in "ab"]
TOLERATION = {"key": "a", "operator": "Exists"}
#: Lists and maps of which server-side apply knows whose they are, and not what is in them:
#: where they are, what was wanted, and what is.
WHOLES: list[tuple[Resource, tuple[str | int, ...], Any, Any]] = [
    (ROLES, ("rules",), [RULE, RULE | {"verbs": ["list"]}], [RULE]),
    (ROLES, ("rules",), [RULE | {"verbs": ["get", "list"]}], [RULE]),
    (DEPLOYMENTS, (*POD, "volumes", 1, "projected", "sources"), SOURCES, SOURCES[1:]),
    (DEPLOYMENTS, (*POD, "tolerations"), [TOLERATION, TOLERATION | {"key": "b"}], [TOLERATION]),
    (DEPLOYMENTS, (*POD, "nodeSelector"), {"disk": "fast", "zone": "b"}, {"disk": "fast"}),
]


@pytest.mark.parametrize(
    ("resource", "where", "before", "now"), WHOLES, ids=[str(p[-1]) for _, p, *_ in WHOLES]
)
def test_a_part_that_is_not_wanted_any_more_goes(
    resource: Resource,
    where: tuple[str | int, ...],
    before: Any,
    now: Any,
    applier: Applier,
    namespace: str,
) -> None:
    earlier = a_child(resource, namespace, dict(CONTENT)[resource])
    desired = copy.deepcopy(earlier)
    *above, last = where
    _at(earlier, above)[last] = before
    _at(desired, above)[last] = now
    actual = applier.write(resource, earlier)
    assert applier.changes(resource, earlier, actual) == ()

    written = applier.write(resource, desired, applier.changes(resource, desired, actual))

    assert applier.changes(resource, desired, actual) != ()
    assert applier.changes(resource, desired, written) == ()
    assert _at(written, where) == now


#: Fields that are desired false or 0.
FALSE_FIELDS: list[tuple[Resource, tuple[str | int, ...]]] = [
    (SERVICE_ACCOUNTS, ("automountServiceAccountToken",)),
    (DEPLOYMENTS, (*POD, "enableServiceLinks")),
    (DEPLOYMENTS, (*POD, "containers", 0, "securityContext", "allowPrivilegeEscalation")),
    (DEPLOYMENTS, (*POD, "volumes", 1, "projected", "sources", 0, "secret", "optional")),
    (DEPLOYMENTS, (*POD, "tolerations", 0, "tolerationSeconds")),
]


@pytest.mark.parametrize(
    ("resource", "where"), FALSE_FIELDS, ids=[str(p[-1]) for _, p in FALSE_FIELDS]
)
def test_a_field_that_is_false_and_was_taken_away_comes_back(
    resource: Resource,
    where: tuple[str | int, ...],
    applier: Applier,
    client: Client,
    namespace: str,
) -> None:
    desired = a_child(resource, namespace, dict(CONTENT)[resource])
    edited = applier.write(resource, desired)
    *above, last = where
    value = _at(edited, above).pop(last)
    assert value in (False, 0)

    edited = client.replace(resource, edited)
    changed = applier.changes(resource, desired, edited)
    repaired = applier.write(resource, desired, changed)

    assert len(changed) == 1
    assert _at(repaired, where) == value
    assert applier.changes(resource, desired, repaired) == ()


def _at(raw: Any, where: Iterable[str | int]) -> Any:
    for step in where:
        raw = raw[step]
    return raw


def test_what_does_not_fit_the_servers_schema_is_refused_with_its_path(
    applier: Applier, namespace: str
) -> None:
    desired = a_child(DEPLOYMENTS, namespace, dict(CONTENT)[DEPLOYMENTS])
    _at(desired, (*POD, "containers", 0))["nosuch"] = "hunter2"
    _at(desired, POD)["enableServiceLinks"] = "hunter2"

    with pytest.raises(ApiRefused, match="nosuch: field not declared in schema") as raised:
        applier.write(DEPLOYMENTS, desired)

    assert "enableServiceLinks: expected boolean" in str(raised.value)
    assert "hunter2" not in str(raised.value)


@EACH_KIND
def test_a_child_is_created_only_where_nothing_is(
    resource: Resource, content: dict[str, Any], applier: Applier, client: Client, namespace: str
) -> None:
    desired = a_child(resource, namespace, content)

    assert applier.create(resource, desired) is None

    created = client.get(resource, "a", namespace=namespace)
    assert applier.changes(resource, desired, created) == ()
    assert applier.create(resource, desired) == created
    assert client.get(resource, "a", namespace=namespace) == created


@EACH_KIND
def test_creating_leaves_an_object_that_is_not_ours_as_it_is(
    resource: Resource, content: dict[str, Any], applier: Applier, client: Client, namespace: str
) -> None:
    foreign = client.create(resource, an_object(resource, namespace, "a", **content))

    assert applier.create(resource, a_child(resource, namespace, content)) == foreign

    assert client.get(resource, "a", namespace=namespace) == foreign


@EACH_KIND
def test_an_object_that_is_not_ours_is_refused(
    resource: Resource, content: dict[str, Any], applier: Applier, client: Client, namespace: str
) -> None:
    desired = a_child(resource, namespace, content)
    foreign = an_object(resource, namespace, "a", **content)
    actual = client.create(resource, foreign)

    with pytest.raises(ObjectExists, match=rf"{resource.kind} {namespace}/a: .* rename"):
        applier.changes(resource, desired, actual)


def test_a_list_that_somebody_lengthened_is_put_right(
    applier: Applier, client: Client, namespace: str
) -> None:
    desired = a_child(ROLES, namespace, dict(CONTENT)[ROLES])
    applier.write(ROLES, desired)
    more = {"apiGroups": [""], "resources": ["secrets"], "verbs": ["list"]}
    edited = client.patch(ROLES, "a", {"rules": [*desired["rules"], more]}, namespace=namespace)

    changed = applier.changes(ROLES, desired, edited)
    written = applier.write(ROLES, desired, changed)

    assert changed == ("rules",)
    assert written["rules"] == desired["rules"]


def test_a_lost_owner_reference_is_put_back(
    applier: Applier, client: Client, namespace: str
) -> None:
    desired = a_child(LEASES, namespace, {})
    applier.write(LEASES, desired)
    edited = client.patch(LEASES, "a", {"metadata": {"ownerReferences": None}}, namespace=namespace)

    changed = applier.changes(LEASES, desired, edited)

    assert changed == ("metadata.ownerReferences",)
    assert applier.write(LEASES, desired, changed)["metadata"]["ownerReferences"] == [OWNER]


def test_labels_alone_make_an_object_not_ours(
    applier: Applier, client: Client, namespace: str
) -> None:
    desired = a_child(LEASES, namespace, {})
    forged = an_object(LEASES, namespace, "a")
    forged["metadata"]["labels"] = dict(LABELS)
    actual = client.create(LEASES, forged)

    with pytest.raises(ObjectExists, match="has our labels and another owner; delete it"):
        applier.changes(LEASES, desired, actual)


def test_a_child_of_an_earlier_object_of_the_name_is_waited_for(
    applier: Applier, namespace: str
) -> None:
    earlier = a_child(LEASES, namespace, {})
    actual = applier.write(LEASES, earlier)
    desired = a_child(LEASES, namespace, {})
    desired["metadata"]["ownerReferences"][0]["uid"] = "22222222-2222-2222-2222-222222222222"

    with pytest.raises(WaitingError, match="garbage collector"):
        applier.changes(LEASES, desired, actual)


def test_the_runners_spec_of_the_lease_stays(
    applier: Applier, client: Client, namespace: str
) -> None:
    desired = a_child(LEASES, namespace, {})
    lease = applier.write(LEASES, desired)
    held = client.replace(LEASES, lease | {"spec": {"holderIdentity": "runner"}})
    assert applier.changes(LEASES, desired, held) == ()

    written = applier.write(LEASES, desired)

    assert written["spec"] == {"holderIdentity": "runner"}


def test_only_the_very_child_is_removed(applier: Applier, client: Client, namespace: str) -> None:
    uid = applier.write(LEASES, a_child(LEASES, namespace, {}))["metadata"]["uid"]

    applier.remove(LEASES, namespace, "a", "33333333-3333-3333-3333-333333333333")
    assert applier.read(LEASES, namespace, "a") is not None
    applier.remove(LEASES, namespace, "a", uid)
    assert applier.read(LEASES, namespace, "a") is None
    applier.remove(LEASES, namespace, "a", uid)  # gone is fine


@EACH_KIND
def test_what_took_the_place_of_a_child_since_is_not_written(
    resource: Resource, content: dict[str, Any], applier: Applier, client: Client, namespace: str
) -> None:
    desired = a_child(resource, namespace, content)
    uid = applier.write(resource, desired)["metadata"]["uid"]
    assert applier.write(resource, desired, ("spec",), uid=uid)["metadata"]["uid"] == uid
    client.delete(resource, "a", namespace=namespace)
    with pytest.raises(ApiConflict):
        applier.write(resource, desired, ("spec",), uid=uid)
    theirs = client.create(resource, an_object(resource, namespace, "a", **content))

    with pytest.raises(ApiConflict):
        applier.write(resource, desired, ("spec",), uid=uid)

    assert client.get(resource, "a", namespace=namespace) == theirs


def test_nothing_is_written_while_another_replica_leads(client: Client, namespace: str) -> None:
    class NotNowError(Exception):
        pass

    def refuse() -> None:
        raise NotNowError

    applier = Applier(client.guarded(refuse))
    for act in (
        lambda: applier.write(LEASES, a_child(LEASES, namespace, {})),
        lambda: applier.remove(LEASES, namespace, "a", "1"),
    ):
        with pytest.raises(NotNowError):
            act()
    assert applier.read(LEASES, namespace, "a") is None


def test_a_status_of_an_object_that_was_made_again_is_a_conflict(
    applier: Applier, client: Client, namespace: str, kubernetes_server: KubernetesServer
) -> None:
    definitions.install(kubernetes_server)
    manifest = a_backup_manifest()
    manifest["metadata"] = {"name": "shop", "namespace": namespace}
    first = client.create(DATABASE_BACKUPS, manifest)
    client.delete(DATABASE_BACKUPS, "shop", namespace=namespace)
    key, status = ObjectKey(namespace, "shop"), DatabaseBackupStatus(runner="backup-shop")
    applied = applied_backup_status(key, first["metadata"]["uid"], status)

    assert not applier.write_status(DATABASE_BACKUPS, applied)
    client.create(DATABASE_BACKUPS, manifest)
    with pytest.raises(ApiConflict, match="another one of its name came since"):
        applier.write_status(DATABASE_BACKUPS, applied)
