"""What is wrong is told where it is wrong, and disturbs nobody else."""

from __future__ import annotations

import contextlib
import itertools
from collections import defaultdict
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from controller.api.names import child_name
from controller.kube.resource import (
    DATABASE_BACKUP_STORAGE_CLASSES,
    DATABASE_BACKUPS,
    DEPLOYMENTS,
    ROLES,
    SECRETS,
    SERVICE_ACCOUNTS,
    Resource,
)
from tests.integration.controller.world import ACCOUNT, Controller, World, wait_for
from tests.integration.kube.objects import a_deployment
from tests.servers.audit import AuditEntry

FOREIGN: dict[Resource, dict[str, Any]] = {
    SECRETS: {"stringData": {"theirs": "1"}},
    SERVICE_ACCOUNTS: {},
    ROLES: {"rules": []},
    DEPLOYMENTS: {"spec": a_deployment("", "theirs")["spec"]},
}


@pytest.mark.parametrize("resource", FOREIGN, ids=str)
def test_an_object_of_somebody_else_is_left_alone_and_reported(
    world: World, controller: Controller, resource: Resource
) -> None:
    role = "config" if resource is SECRETS else ""
    name = child_name(world.namespace, "shop", role)
    theirs = world.create(resource, name, FOREIGN[resource])

    world.create_backup()

    told = world.wait_for_condition("Ready", "False", "ObjectExists")
    assert f"{resource.kind} {world.namespace}/{name}" in told["message"]
    world.wait_until_quiet()
    assert world.child(resource) == theirs

    # The cure that the message names; the object is what wakes the controller here.
    world.delete(resource, name)
    world.change(DATABASE_BACKUPS, "shop", lambda raw: raw["spec"].update(jitterSeconds=1))
    world.wait_for_children()
    world.wait_for_condition("Ready", "False", "RunnerNotAvailable")


def test_a_class_that_is_not_there_is_waited_for(world: World, controller: Controller) -> None:
    world.create_backup(backupStorageClass=f"later-{world.class_name}")
    told = world.wait_for_condition("Ready", "False", "DependencyMissing")
    assert f"there is no DatabaseBackupStorageClass later-{world.class_name}" in told["message"]
    assert world.child(DEPLOYMENTS) is None

    first, world.class_name = world.class_name, f"later-{world.class_name}"
    world.create_class()

    world.wait_for_children()
    world.delete(DATABASE_BACKUP_STORAGE_CLASSES, world.class_name)
    world.class_name = first


def test_a_secret_that_is_not_there_is_waited_for(world: World, controller: Controller) -> None:
    world.server.request("DELETE", SECRETS.path(world.system, "bucket"))
    world.create_backup()
    told = world.wait_for_condition("Ready", "False", "DependencyMissing")
    assert f"Secret {world.system}/bucket is not there" in told["message"]
    of_class = {"name": world.class_name, "resource": DATABASE_BACKUP_STORAGE_CLASSES}
    world.wait_for_condition("Ready", "False", "DependencyMissing", **of_class)

    world.create_secret(other="x")
    wait_for(lambda: "has no key key" in world.condition("Ready")["message"])
    world.change(
        SECRETS, "bucket", lambda raw: raw.update(stringData={"key": "x"}), namespace=world.system
    )

    world.wait_for_children()
    world.wait_for_condition("Ready", "True", "Usable", **of_class)


def test_a_class_that_is_not_for_the_namespace_is_refused(
    world: World, controller: Controller
) -> None:
    def allow(*namespaces: str) -> None:
        world.change(
            DATABASE_BACKUP_STORAGE_CLASSES,
            world.class_name,
            lambda raw: raw["spec"].update(allowedNamespaces=list(namespaces)),
        )

    allow("others")
    world.create_backup()
    told = world.wait_for_condition("Ready", "False", "AccessDenied")
    assert "allowedNamespaces" in told["message"]
    assert world.child(SECRETS) is None

    allow("others", world.namespace)

    world.wait_for_children()


def test_what_the_schema_cannot_see_is_told_by_its_field(
    world: World, controller: Controller
) -> None:
    world.create_backup(backupInterval=None, backupCron="0 3 30 2 *")  # never

    told = world.wait_for_condition("Ready", "False", "InvalidSpec")

    assert told["message"].startswith("spec.backupCron: ")
    world.change(DATABASE_BACKUPS, "shop", lambda raw: raw["spec"].update(backupCron="0 3 1 2 *"))
    world.wait_for_children()


def test_what_an_engine_alone_can_tell_is_told_by_its_field(
    world: World, controller: Controller
) -> None:
    mysql = {"database": "shop", "host": "db", "user": {"value": "backup"}}
    world.create_backup(databaseType="mysql", databaseVersion="16", mysql=mysql, postgres=None)

    told = world.wait_for_condition("Ready", "False", "InvalidSpec")

    assert told["message"].startswith("spec.databaseVersion: ")
    world.change(DATABASE_BACKUPS, "shop", lambda raw: raw["spec"].update(databaseVersion="8.4"))
    world.wait_for_children()


def test_one_bad_object_disturbs_no_other(world: World, controller: Controller) -> None:
    for number in range(10):
        world.create_backup(f"bad-{number}", backupInterval=None, backupCron="0 3 30 2 *")
        world.create_backup(f"waiting-{number}", backupStorageClass="nowhere")
        world.create_backup(f"good-{number}")

    for number in range(10):
        world.wait_for_children(f"good-{number}")
        world.wait_for_condition("Ready", "False", "InvalidSpec", f"bad-{number}")
        world.wait_for_condition("Ready", "False", "DependencyMissing", f"waiting-{number}")
    assert controller.metric("unexpected_errors_total") == 0
    assert controller.metric("queue_retries_total", kind="DatabaseBackup") == 0


@pytest.mark.parametrize("levels", [40, 300, 1500, 9000])
def test_one_that_is_nested_deeper_than_anybody_follows_disturbs_no_other(
    world: World, levels: int
) -> None:
    world.create_backup("deep")
    nested = '{"a":' * levels + "{}" + "}" * levels
    patch = '[{"op":"add","path":"/spec/runner","value":{"affinity":' + nested + "}}]"
    # Python's own JSON does not follow either.
    world.kubectl("patch", "databasebackup", "deep", "--type=json", f"--patch={patch}")
    try:
        controller = world.start()
        controller.wait_until_leading()
        world.create_backup("good")

        world.wait_for_children("good")
        said = "jsonpath={.status.conditions[0].message}"
        told = wait_for(lambda: world.kubectl("get", "databasebackup", "deep", "--output", said))
    finally:
        world.kubectl("delete", "databasebackup", "deep")

    assert told == "spec.runner.affinity: is nested deeper than 32 levels"
    assert controller.metric("cache_watch_endings_total", ending="malformed") == 0
    assert controller.metric("cache_watch_endings_total", ending="failed") == 0


def test_a_namespace_that_is_being_deleted_is_told_and_left_alone(
    world: World, controller: Controller
) -> None:
    world.create_backup()
    children = world.wait_for_children()
    name = children[DEPLOYMENTS]["metadata"]["name"]
    world.server.request("DELETE", f"/api/v1/namespaces/{world.namespace}")

    world.delete(DEPLOYMENTS, name)

    told = world.wait_for_condition("Ready", "False", "ApiRefused")
    assert "the namespace is being deleted" in told["message"]
    world.wait_until_quiet()
    # It is tried again, later each time.
    tries = [one.at for one in world.writes() if one.code == 403]
    took_s = (tries[-1] - tries[0]).total_seconds()
    # After 5, 10 and 20 seconds; and with each change that the deletions themselves are.
    assert len(tries) <= 3 + len(children) + took_s / 10
    assert controller.metric("queue_retries_total", kind="DatabaseBackup") == 0


def test_a_right_that_comes_is_used_soon(world_without_rights: World) -> None:
    """As one that comes back: a server that has just begun does not know who may do what."""
    world = world_without_rights
    world.grant(but=("deployments", "patch"))
    world.start().wait_until_leading()
    world.create_backup()
    told = world.wait_for_condition("Ready", "False", "AccessDenied")
    assert "has to allow 'patch' on 'deployments.apps'" in told["message"]

    world.grant()

    world.wait_for_children()
    world.wait_for_condition("Ready", "False", "RunnerNotAvailable")


def test_a_server_that_throttles_is_asked_as_seldom_as_it_says(world: World) -> None:
    names = [f"shop-{number}" for number in range(40)]
    for name in names:
        world.create_backup(name)
    with taking_one_at_a_time(world, resource="deployments.apps", verb="patch"):
        controller = world.start()
        for name in names:
            world.wait_for_children(name)

    tries = defaultdict[str, list[AuditEntry]](list)
    for one in world.writes():
        if one.resource == "deployments":
            tries[one.name].append(one)
    waits = [
        after.at - before.at
        for of_one in tries.values()
        for before, after in itertools.pairwise(of_one)
        if before.code == 429
    ]
    assert waits
    # The server says a second each time.
    assert min(waits) > timedelta(seconds=0.9)
    assert controller.metric("queue_retries_total", kind="DatabaseBackup") == 0


@contextlib.contextmanager
def taking_one_at_a_time(world: World, *, resource: str, verb: str) -> Iterator[None]:
    """Have the server answer 429 to what the controller asks beside such a request."""
    name = world.class_name
    plural, _, group = resource.partition(".")
    account = {"name": ACCOUNT, "namespace": world.system}
    rule = {
        "subjects": [{"kind": "ServiceAccount", "serviceAccount": account}],
        "resourceRules": [
            {
                "verbs": [verb],
                "apiGroups": [group],
                "resources": [plural],
                "namespaces": ["*"],
            }
        ],
    }
    none = {"nominalConcurrencyShares": 0, "lendablePercent": 0, "borrowingLimitPercent": 0}
    level = {"type": "Limited", "limited": none | {"limitResponse": {"type": "Reject"}}}
    flow = {"priorityLevelConfiguration": {"name": name}, "matchingPrecedence": 2, "rules": [rule]}
    where = "/apis/flowcontrol.apiserver.k8s.io/v1"
    metadata = {"metadata": {"name": name}}
    world.server.create(f"{where}/prioritylevelconfigurations", metadata | {"spec": level})
    world.server.create(f"{where}/flowschemas", metadata | {"spec": flow})

    def is_in_force() -> bool:
        path = f"{where}/flowschemas/{name}"
        conditions = world.server.request("GET", path).body.get("status", {}).get("conditions", ())
        return any(one["type"] == "Dangling" and one["status"] == "False" for one in conditions)

    wait_for(is_in_force)
    try:
        yield
    finally:
        world.server.request("DELETE", f"{where}/flowschemas/{name}")
        world.server.request("DELETE", f"{where}/prioritylevelconfigurations/{name}")


def test_no_secret_is_in_the_log_or_in_a_status(world: World, controller: Controller) -> None:
    world.create_backup()
    world.wait_for_children()
    world.wait_until_quiet()

    assert "a-secret-key" not in controller.log_file.read_text()
    assert "a-secret-key" not in str(world.get(DATABASE_BACKUPS, "shop"))


def test_a_class_counts_its_users_and_what_their_runners_say(
    world: World, controller: Controller
) -> None:
    def class_status() -> dict[str, Any]:
        return world.get(DATABASE_BACKUP_STORAGE_CLASSES, world.class_name).get("status") or {}

    for number in range(3):
        world.create_backup(f"shop-{number}")
    wait_for(lambda: class_status().get("usedBy") == 3)

    # What runners would write.
    for number, is_healthy in enumerate([True, True, False]):
        location = {"name": "s3", "healthy": is_healthy, "message": "" if is_healthy else "denied"}

        def report(raw: dict[str, Any], location: dict[str, Any] = location) -> None:
            raw.setdefault("status", {})["locations"] = [location]

        world.change(DATABASE_BACKUPS, f"shop-{number}", report, subresource="status")

    expected = {"name": "s3", "healthy": 2, "failing": 1, "message": "denied"}
    wait_for(lambda: class_status().get("locations") == [expected])
    world.delete(DATABASE_BACKUPS, "shop-2")
    wait_for(lambda: class_status().get("usedBy") == 2)


def test_the_runners_part_of_the_status_is_left_alone(world: World, controller: Controller) -> None:
    world.create_backup()
    world.wait_for_condition("Ready", "False", "RunnerNotAvailable")

    def report(raw: dict[str, Any]) -> None:
        healthy = {
            "type": "BackupHealthy",
            "status": "True",
            "reason": "Fresh",
            "message": "",
            "lastTransitionTime": "2026-11-23T10:00:00Z",
        }
        raw["status"]["conditions"].append(healthy)
        raw["status"] |= {"storedBackups": 3, "hash": "of the Go original"}

    world.change(DATABASE_BACKUPS, "shop", report, subresource="status")
    world.set_available()
    world.wait_for_condition("Ready", "True", "RunnerAvailable")

    status = world.get(DATABASE_BACKUPS, "shop")["status"]
    assert (status["storedBackups"], status["hash"]) == (3, "of the Go original")
    assert world.condition("BackupHealthy")["status"] == "True"
