"""An object gets its children, keeps them, and they follow it."""

from __future__ import annotations

import base64
import time
from typing import Any

import pytest

from controller.api.names import child_name
from controller.kube.resource import (
    DATABASE_BACKUP_STORAGE_CLASSES,
    DATABASE_BACKUPS,
    DEPLOYMENTS,
    LEASES,
    NETWORK_POLICIES,
    ROLE_BINDINGS,
    ROLES,
    SECRETS,
    SERVICE_ACCOUNTS,
    Resource,
)
from tests.integration.controller.world import Controller, World, wait_for

WATCHED = (SERVICE_ACCOUNTS, ROLES, ROLE_BINDINGS, NETWORK_POLICIES, DEPLOYMENTS)
#: What is not written as it was read.
UNWRITTEN = {"metadata", "status"}


def owner_of(child: dict[str, Any]) -> str:
    (owner,) = child["metadata"]["ownerReferences"]
    return owner["uid"]


def test_an_object_gets_all_children(world: World, controller: Controller) -> None:
    backup = world.create_backup()

    children = world.wait_for_children()

    assert {owner_of(child) for child in children.values()} == {backup["metadata"]["uid"]}
    config = world.config()
    assert config["backup.yaml"]["spec"] == backup["spec"]
    assert config["storageSpec.yaml"]["backupLocations"][0]["storageSecretAccessKey"] == {
        "value": "a-secret-key"
    }
    kube_system = world.server.request("GET", "/api/v1/namespaces/kube-system").body
    assert config["cluster"] == kube_system["metadata"]["uid"]
    image = children[DEPLOYMENTS]["spec"]["template"]["spec"]["containers"][0]["image"]
    assert image.startswith("registry.example.com/runner-postgres:16-")


def test_the_status_tells_what_becomes_of_it(world: World, controller: Controller) -> None:
    world.create_backup()
    world.wait_for_children()
    # Without a controller manager nobody starts a pod.
    waiting = world.wait_for_condition("Ready", "False", "RunnerNotAvailable")
    assert "kubectl describe deployment" in waiting["message"]

    world.set_available()

    ready = world.wait_for_condition("Ready", "True", "RunnerAvailable")
    assert ready["observedGeneration"] == 1
    status = world.get(DATABASE_BACKUPS, "shop")["status"]
    assert status["runner"] == child_name(world.namespace, "shop")
    assert world.condition("RunnerAvailable")["status"] == "True"

    world.set_available(is_available=False)
    world.wait_for_condition("Ready", "False", "RunnerNotAvailable")


def test_a_runner_is_ready_again_when_the_new_one_is_up(
    world: World, controller: Controller
) -> None:
    world.create_backup()
    world.wait_for_children()
    world.set_available()
    world.wait_for_condition("Ready", "True", "RunnerAvailable")

    world.change(DATABASE_BACKUPS, "shop", lambda raw: raw["spec"].update(databaseVersion="17"))

    # What was up is still up, and nothing replaces it here.
    told = world.wait_for_condition("Ready", "False", "RunnerReplacing")
    assert told["observedGeneration"] == 2
    assert world.condition("RunnerAvailable")["status"] == "True"
    with pytest.raises(AssertionError, match="timed out"):
        world.kubectl("wait", "databasebackup/shop", "--timeout=1s", "--for=condition=Ready")
    world.set_available()
    world.kubectl("wait", "databasebackup/shop", "--timeout=20s", "--for=condition=Ready")


def test_a_rollout_that_somebody_paused_goes_on(world: World, controller: Controller) -> None:
    world.create_backup()
    world.wait_for_children()
    world.set_available()
    world.wait_for_condition("Ready", "True", "RunnerAvailable")
    before = world.wait_until_quiet()
    name = child_name(world.namespace, "shop")

    world.kubectl("rollout", "pause", f"deployment/{name}")

    wait_for(lambda: len(world.writes()) > before)
    wait_for(lambda: "paused" not in world.child(DEPLOYMENTS)["spec"])
    world.set_available()
    assert world.wait_for_condition("Ready", "True", "RunnerAvailable")["observedGeneration"] == 1


def test_kubectl_waits_for_both_conditions(world: World, controller: Controller) -> None:
    world.create_backup()
    world.wait_for_children()
    wait = ("wait", "databasebackup/shop", "--timeout=20s")
    with pytest.raises(AssertionError, match="timed out"):
        world.kubectl("wait", "databasebackup/shop", "--timeout=1s", "--for=condition=Ready")

    world.set_available()
    world.kubectl(*wait, "--for=condition=Ready")

    # What its runner says after a backup.
    condition = {"type": "BackupHealthy", "status": "True", "reason": "Fresh", "message": ""}
    condition["lastTransitionTime"] = "2026-11-23T10:00:00Z"
    world.change(
        DATABASE_BACKUPS,
        "shop",
        lambda raw: raw["status"]["conditions"].append(condition),
        subresource="status",
    )
    world.kubectl(*wait, "--for=condition=BackupHealthy")
    world.kubectl(*wait, "--for=condition=Ready")


def test_events_tell_it_too(world: World, controller: Controller) -> None:
    world.create_backup()

    def reasons() -> set[str]:
        events = world.server.request("GET", f"/api/v1/namespaces/{world.namespace}/events").body
        about = [one for one in events["items"] if one["involvedObject"]["name"] == "shop"]
        return {one["reason"] for one in about}

    wait_for(lambda: "RunnerCreated" in reasons())
    # That it was not up at once is no news.
    assert reasons() == {"RunnerCreated"}
    world.set_available()
    wait_for(lambda: "RunnerAvailable" in reasons())
    world.set_available(is_available=False)
    wait_for(lambda: "RunnerNotAvailable" in reasons())


@pytest.mark.parametrize("resource", WATCHED, ids=str)
def test_a_deleted_child_comes_back(
    world: World, controller: Controller, resource: Resource
) -> None:
    world.create_backup()
    deleted = world.wait_for_children()[resource]

    world.delete(resource, deleted["metadata"]["name"])

    again = wait_for(lambda: world.child(resource))
    assert again["metadata"]["uid"] != deleted["metadata"]["uid"]
    assert owner_of(again) == owner_of(deleted)


@pytest.mark.parametrize("resource", WATCHED, ids=str)
def test_what_an_object_does_not_want_any_more_goes(
    world: World, controller: Controller, resource: Resource
) -> None:
    world.create_backup()
    children = world.wait_for_children()
    content = {key: children[resource][key] for key in children[resource].keys() - UNWRITTEN}
    labels, owners = (children[resource]["metadata"][key] for key in ("labels", "ownerReferences"))
    another = [owners[0] | {"uid": "11111111-1111-1111-1111-111111111111"}]

    # As what an earlier release made and this one does not; and what is not that.
    for name, metadata in {
        "left-over": {"labels": labels, "ownerReferences": owners},
        "of-nobody": {"labels": labels},
        "of-another": {"labels": labels, "ownerReferences": another},
        "of-another-tool": {"ownerReferences": owners},
    }.items():
        world.create(resource, name, content | {"metadata": metadata})

    wait_for(lambda: world.get(resource, "left-over") is None)
    world.wait_until_quiet()
    for name in ("of-nobody", "of-another", "of-another-tool"):
        assert world.get(resource, name), name
    assert world.wait_for_children() == children


@pytest.mark.parametrize("resource", [SECRETS, LEASES], ids=str)
def test_a_deleted_child_that_nobody_watches_comes_back_with_the_next_cause(
    world: World, controller: Controller, resource: Resource
) -> None:
    world.create_backup()
    deleted = world.wait_for_children()[resource]
    world.wait_until_quiet()
    world.delete(resource, deleted["metadata"]["name"])

    world.change(DATABASE_BACKUPS, "shop", lambda raw: raw["spec"].update(jitterSeconds=1))

    again = wait_for(lambda: world.child(resource))
    assert again["metadata"]["uid"] != deleted["metadata"]["uid"]
    assert owner_of(again) == owner_of(deleted)


def test_what_somebody_changed_is_put_right(world: World, controller: Controller) -> None:
    world.create_backup()
    before = world.wait_for_children()

    def widen(raw: dict[str, Any]) -> None:
        raw["rules"].append({"apiGroups": [""], "resources": ["secrets"], "verbs": ["list"]})

    def scale(raw: dict[str, Any]) -> None:
        raw["spec"]["replicas"] = 2
        raw["spec"]["template"]["spec"]["containers"][0]["image"] = "evil:1"

    def strip(raw: dict[str, Any]) -> None:
        raw["metadata"]["labels"] = {}

    name = before[ROLES]["metadata"]["name"]
    world.change(ROLES, name, widen)
    world.change(DEPLOYMENTS, name, scale)
    world.change(NETWORK_POLICIES, name, strip)

    for resource, fields in ((ROLES, "rules"), (DEPLOYMENTS, "spec")):
        wait_for(
            lambda resource=resource, fields=fields: (
                world.child(resource)[fields] == before[resource][fields]
            )
        )
    labels = before[NETWORK_POLICIES]["metadata"]["labels"]
    wait_for(lambda: world.child(NETWORK_POLICIES)["metadata"].get("labels") == labels)
    # In place: nothing was deleted and made again.
    after = world.wait_for_children()
    assert {one: child["metadata"]["uid"] for one, child in after.items()} == {
        one: child["metadata"]["uid"] for one, child in before.items()
    }


def test_a_changed_object_reaches_its_runner_without_a_restart(
    world: World, controller: Controller
) -> None:
    world.create_backup()
    before = world.wait_for_children()

    world.change(DATABASE_BACKUPS, "shop", lambda raw: raw["spec"].update(backupInterval=7))

    wait_for(lambda: world.config()["backup.yaml"]["spec"]["backupInterval"] == 7)
    after = world.child(DEPLOYMENTS)
    assert after["metadata"]["generation"] == before[DEPLOYMENTS]["metadata"]["generation"]


def test_a_rotated_secret_reaches_the_runner_at_once_and_restarts_nothing(
    world: World, controller: Controller
) -> None:
    world.create_backup()
    before = world.wait_for_children()
    world.wait_until_quiet()

    world.change(
        SECRETS, "bucket", lambda raw: raw.update(stringData={"key": "new"}), namespace=world.system
    )

    def has_arrived() -> bool:
        (location,) = world.config()["storageSpec.yaml"]["backupLocations"]
        return location["storageSecretAccessKey"] == {"value": "new"}

    wait_for(has_arrived, timeout_s=2)
    world.wait_until_quiet()
    assert (
        world.child(DEPLOYMENTS)["metadata"]["resourceVersion"]
        == before[DEPLOYMENTS]["metadata"]["resourceVersion"]
    )


def test_a_rotated_secret_reaches_all_runners_of_its_classes(
    world: World, controller: Controller
) -> None:
    names = [f"shop-{number}" for number in range(50)]
    for name in names:
        world.create_backup(name)
    for name in names:
        world.wait_for_children(name)
    before = world.wait_until_quiet()
    path = SECRETS.path(world.namespace)

    world.change(
        SECRETS, "bucket", lambda raw: raw.update(stringData={"key": "new"}), namespace=world.system
    )
    begun = time.monotonic()

    def have_it() -> bool:
        items = world.server.request("GET", path).body["items"]
        files = [base64.b64decode(one["data"]["storageSpec.yaml"]) for one in items]
        return len(files) == 50 and all(b"value: new" in file for file in files)

    wait_for(have_it)
    assert time.monotonic() - begun < 5
    # Each was written once, and nothing else was.
    assert world.wait_until_quiet() == before + 50


def test_a_changed_class_reaches_the_runner_without_a_restart(
    world: World, controller: Controller
) -> None:
    world.create_backup()
    before = world.wait_for_children()[DEPLOYMENTS]

    def edit(raw: dict[str, Any]) -> None:
        raw["spec"]["backupLocations"][0]["storageBucket"] = "other"

    world.change(DATABASE_BACKUP_STORAGE_CLASSES, world.class_name, edit)

    def has_arrived() -> bool:
        (location,) = world.config()["storageSpec.yaml"]["backupLocations"]
        return location["storageBucket"] == "other"

    wait_for(has_arrived)
    world.wait_until_quiet()
    assert world.child(DEPLOYMENTS)["metadata"]["generation"] == before["metadata"]["generation"]


def test_an_annotation_or_label_writes_nothing(world: World, controller: Controller) -> None:
    world.create_backup()
    world.wait_for_children()
    before = world.wait_until_quiet()

    metadata = {"annotations": {"a": "b"}, "labels": {"c": "d"}}
    world.change(DATABASE_BACKUPS, "shop", lambda raw: raw["metadata"].update(metadata))

    assert world.wait_until_quiet() == before


def test_an_object_of_the_same_name_later_does_not_take_the_old_children(
    world: World, controller: Controller
) -> None:
    world.create_backup()
    old = world.wait_for_children()
    world.delete(DATABASE_BACKUPS, "shop")
    backup = world.create_backup()

    # No garbage collector runs here: what belonged to the old object is still there.
    waiting = world.wait_for_condition("Ready", "False", "Waiting")
    assert "garbage collector" in waiting["message"]
    for resource, child in old.items():
        world.delete(resource, child["metadata"]["name"])

    def are_new() -> bool:
        owners = {owner_of(child) for child in world.wait_for_children().values()}
        return owners == {backup["metadata"]["uid"]}

    wait_for(are_new)


def test_the_go_originals_finalizer_does_not_hold_an_object(
    world: World, controller: Controller
) -> None:
    world.create_backup()
    world.wait_for_children()
    finalizers = ["db-backup.nect.com/finalizer", "example.com/theirs"]
    world.change(
        DATABASE_BACKUPS, "shop", lambda raw: raw["metadata"].update(finalizers=finalizers)
    )

    def finalizers_now() -> list[str]:
        return world.get(DATABASE_BACKUPS, "shop")["metadata"].get("finalizers", [])

    wait_for(lambda: finalizers_now() != finalizers)
    assert finalizers_now() == ["example.com/theirs"]
