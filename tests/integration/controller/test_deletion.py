"""An object that goes with its backups is held until they are gone, and never for ever."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from controller.api.deletion import FINALIZER
from controller.api.lease import DELETION_MARK
from controller.api.names import child_name
from controller.kube.resource import (
    DATABASE_BACKUP_STORAGE_CLASSES,
    DATABASE_BACKUPS,
    DEPLOYMENTS,
    EVENTS,
    LEASES,
    ROLES,
)
from tests.integration.controller.world import Controller, World, wait_for

THEIRS = "example.com/theirs"


def finalizers(world: World) -> list[str]:
    found = world.get(DATABASE_BACKUPS, "shop")
    assert found is not None
    return found["metadata"].get("finalizers") or []


def mark(world: World) -> str:
    lease = world.child(LEASES) or {"metadata": {}}
    return (lease["metadata"].get("annotations") or {}).get(DELETION_MARK, "")


def events(world: World, namespace: str, name: str) -> list[tuple[str, str, str]]:
    """Type, reason and message of what was told about that object."""
    return [
        (one["type"], one["reason"], one["message"])
        for one in world.server.request("GET", EVENTS.path(namespace)).body["items"]
        if one["involvedObject"]["name"] == name
    ]


def told(world: World, kind: str, reason: str) -> str:
    """The message of an event about the object, as soon as there is one."""

    def look() -> str:
        found = events(world, world.namespace, "shop")
        return next((words for *of, words in found if of == [kind, reason]), "")

    return wait_for(look)


def report(world: World, status: str, reason: str, message: str) -> None:
    """What a runner would write."""

    def edit(raw: dict[str, Any]) -> None:
        condition = {
            "type": "DataDeleted",
            "status": status,
            "reason": reason,
            "message": message,
            "lastTransitionTime": "2026-11-23T10:00:00Z",
        }
        conditions = raw.setdefault("status", {}).setdefault("conditions", [])
        conditions[:] = [one for one in conditions if one["type"] != "DataDeleted"] + [condition]

    world.change(DATABASE_BACKUPS, "shop", edit, subresource="status")


def wait_until_gone(world: World) -> None:
    wait_for(lambda: world.get(DATABASE_BACKUPS, "shop") is None)


def uids(world: World) -> set[str]:
    return {child["metadata"]["uid"] for child in world.wait_for_children().values()}


def is_deleting(world: World) -> bool:
    found = world.get(DATABASE_BACKUPS, "shop")
    return found is not None and "deletionTimestamp" in found["metadata"]


@pytest.fixture
def deleting(world: World, controller: Controller) -> World:
    """A world whose object is being deleted with its backups; its runner was told."""
    world.create_backup(deletionPolicy="Delete")
    world.wait_for_children()
    wait_for(lambda: FINALIZER in finalizers(world))
    world.delete(DATABASE_BACKUPS, "shop")
    wait_for(lambda: mark(world))
    return world


class TestFinalizer:
    """It is there if and only if the object asks for its backups to go."""

    def test_it_is_there_before_the_object_has_a_runner(
        self, world: World, controller: Controller
    ) -> None:
        world.create_backup(deletionPolicy="Delete")
        world.wait_for_children()

        assert finalizers(world) == [FINALIZER]
        about_it = [one.resource for one in world.writes() if one.namespace == world.namespace]
        assert about_it[0] == "databasebackups"

    def test_it_follows_the_policy_and_leaves_others_alone(
        self, world: World, controller: Controller
    ) -> None:
        world.create_backup()
        world.wait_for_children()
        world.change(
            DATABASE_BACKUPS, "shop", lambda raw: raw["metadata"].update(finalizers=[THEIRS])
        )
        assert world.get(DATABASE_BACKUPS, "shop")["spec"]["deletionPolicy"] == "Retain"

        for policy, expected in (
            ("Delete", [THEIRS, FINALIZER]),
            ("Retain", [THEIRS]),
            ("Delete", [THEIRS, FINALIZER]),
        ):
            world.change(
                DATABASE_BACKUPS,
                "shop",
                lambda raw, policy=policy: raw["spec"].update(deletionPolicy=policy),
            )
            wait_for(lambda expected=expected: finalizers(world) == expected)
        before = world.wait_until_quiet()
        assert world.wait_until_quiet() == before

    def test_what_is_retained_goes_at_once(self, world: World, controller: Controller) -> None:
        world.create_backup()
        world.wait_for_children()

        world.delete(DATABASE_BACKUPS, "shop")

        assert world.get(DATABASE_BACKUPS, "shop") is None
        world.wait_until_quiet()
        assert mark(world) == ""


class TestWaiting:
    """While the runner is at it."""

    def test_the_runner_is_told_and_kept(self, deleting: World) -> None:
        world = deleting
        timestamp = world.get(DATABASE_BACKUPS, "shop")["metadata"]["deletionTimestamp"]
        role = world.child(ROLES)
        assert role is not None

        world.delete(DEPLOYMENTS, child_name(world.namespace, "shop"))
        world.delete(ROLES, role["metadata"]["name"])

        world.wait_for_children()
        assert mark(world) == timestamp
        assert is_deleting(world)
        assert "deletes the backups first" in told(world, "Normal", "DeletingData")
        before = world.wait_until_quiet()
        assert world.wait_until_quiet() == before

    @pytest.mark.parametrize("reason", ["Deleting", "StorageUnavailable"])
    def test_a_runner_that_is_not_done_is_waited_for(self, deleting: World, reason: str) -> None:
        report(deleting, "False", reason, "s3: no answer")

        deleting.wait_until_quiet()
        assert is_deleting(deleting)

    def test_without_class_secret_or_a_valid_spec_the_runner_is_told_all_the_same(
        self, world: World, controller: Controller
    ) -> None:
        world.create_backup(deletionPolicy="Delete")
        before = uids(world)
        world.delete(DATABASE_BACKUP_STORAGE_CLASSES, world.class_name)
        world.wait_for_condition("Ready", "False", "DependencyMissing")

        world.delete(DATABASE_BACKUPS, "shop")

        wait_for(lambda: mark(world))
        world.wait_until_quiet()
        # What there is stays as it is, for the runner has all that it needs.
        assert uids(world) == before
        report(world, "True", "Deleted", "s3: deleted 3 backups")
        wait_until_gone(world)
        world.create_class()

    def test_a_bad_object_is_held_and_let_go_too(
        self, world: World, controller: Controller
    ) -> None:
        never = {"backupInterval": None, "backupCron": "0 3 30 2 *"}
        world.create_backup(deletionPolicy="Delete", **never)
        world.wait_for_condition("Ready", "False", "InvalidSpec")
        assert finalizers(world) == [FINALIZER]

        world.delete(DATABASE_BACKUPS, "shop")
        report(world, "False", "DataRetained", "s3: it stays")

        wait_until_gone(world)
        assert "may still be in s3: s3://backups/" in told(world, "Warning", "DataRetained")

    def test_the_garbage_collector_is_kept_from_taking_the_runner_first(
        self, world: World, controller: Controller
    ) -> None:
        world.create_backup(deletionPolicy="Delete")
        world.wait_for_children()
        wait_for(lambda: finalizers(world) == [FINALIZER])

        path = DATABASE_BACKUPS.path(world.namespace, "shop")
        world.server.request("DELETE", path, {"propagationPolicy": "Foreground"})

        wait_for(lambda: finalizers(world) == [FINALIZER])
        assert is_deleting(world)
        report(world, "True", "Deleted", "s3: deleted 3 backups")
        wait_until_gone(world)


class TestLettingGo:
    """It goes when it is done, and when it cannot be."""

    def test_when_all_is_deleted(self, deleting: World) -> None:
        report(deleting, "True", "Deleted", "s3: deleted 3 backups")

        wait_until_gone(deleting)

        assert told(deleting, "Normal", "DataDeleted") == "s3: deleted 3 backups"

    def test_when_something_has_to_stay_which_is_told_twice(self, deleting: World) -> None:
        report(deleting, "False", "DataRetained", "s3: cluster x writes here")

        wait_until_gone(deleting)

        message = told(deleting, "Warning", "DataRetained")
        assert f"may still be in s3: s3://backups/{deleting.namespace}/shop/" in message
        assert "create the object again and delete it once more" in message
        assert "cluster x writes here" in message
        about_class = ("Warning", "DataRetained", message)
        wait_for(lambda: about_class in events(deleting, "default", deleting.class_name))

    def test_at_once_when_the_namespace_goes(self, deleting: World) -> None:
        deleting.server.request("DELETE", f"/api/v1/namespaces/{deleting.namespace}")
        # What the namespace's own controller does, and what tells ours.
        deleting.delete(DEPLOYMENTS, child_name(deleting.namespace, "shop"))

        wait_until_gone(deleting)

        def warned() -> bool:
            found = events(deleting, "default", deleting.class_name)
            return any("the namespace is being deleted" in message for *_, message in found)

        wait_for(warned)
        assert deleting.child(DEPLOYMENTS) is None

    def test_when_the_policy_changes_meanwhile(self, deleting: World) -> None:
        deleting.change(
            DATABASE_BACKUPS, "shop", lambda raw: raw["spec"].update(deletionPolicy="Retain")
        )

        wait_until_gone(deleting)

        reasons = {reason for _, reason, _ in events(deleting, deleting.namespace, "shop")}
        assert not reasons & {"DataDeleted", "DataRetained"}

    def test_a_finalizer_that_a_person_took_off_is_not_missed(
        self, deleting: World, controller: Controller
    ) -> None:
        deleting.change(DATABASE_BACKUPS, "shop", lambda raw: raw["metadata"].update(finalizers=[]))

        wait_until_gone(deleting)

        deleting.wait_until_quiet()
        assert controller.metric("unexpected_errors_total") == 0

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
    def test_whichever_controller_looks(
        self, deleting: World, controller: Controller, number: int
    ) -> None:
        controller.stop(number)
        report(deleting, "True", "Deleted", "s3: deleted 3 backups")
        assert is_deleting(deleting)

        deleting.start()

        wait_until_gone(deleting)
        assert told(deleting, "Normal", "DataDeleted") == "s3: deleted 3 backups"

    def test_of_what_was_deleted_while_no_controller_ran(
        self, world: World, controller: Controller
    ) -> None:
        world.create_backup(deletionPolicy="Delete")
        world.wait_for_children()
        wait_for(lambda: FINALIZER in finalizers(world))
        controller.stop()

        world.delete(DATABASE_BACKUPS, "shop")
        world.start()

        wait_for(lambda: mark(world))
        assert is_deleting(world)
        report(world, "True", "Deleted", "")
        wait_until_gone(world)


def test_an_api_server_that_dies_meanwhile_costs_nothing_but_time(deleting: World) -> None:
    deleting.server.suspend()
    deleting.server.restart(is_killed=True)
    assert is_deleting(deleting), "nothing of it is lost with the server"

    report(deleting, "True", "Deleted", "s3: deleted 3 backups")

    wait_until_gone(deleting)
