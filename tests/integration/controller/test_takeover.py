"""A cluster of the Go original: nothing is lost, and its children go when ours do their work."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from controller.kube.resource import (
    DATABASE_BACKUPS,
    DEPLOYMENTS,
    SECRETS,
    SERVICES,
    STATEFUL_SETS,
)
from tests.integration.controller.go_original import (
    KINDS,
    STATUS,
    GoOriginal,
    labels_of,
    manifest,
    name_of,
)
from tests.integration.controller.world import World, wait_for
from tests.integration.kube.objects import a_deployment


@pytest.fixture
def original(world: World) -> GoOriginal:
    """It had the same TARGET_NAMESPACE, and one object; its own controller is gone."""
    original = GoOriginal(world, world.system)
    world.create_backup()
    original.make_children()
    original.write_into()
    return original


def told(world: World) -> dict[str, str]:
    """Messages of the events about the object, by reason."""
    events = world.server.request("GET", f"/api/v1/namespaces/{world.namespace}/events").body
    return {
        one["reason"]: one["message"]
        for one in events["items"]
        if one["involvedObject"]["name"] == "shop"
    }


def test_its_runner_goes_when_ours_has_made_a_backup_and_not_before(
    world: World, original: GoOriginal
) -> None:
    controller = world.start()
    world.wait_for_children()
    world.wait_for_condition("Ready", "False", "RunnerNotAvailable")
    world.wait_until_quiet()
    assert original.children() == set(KINDS)
    # A pod that is up may not reach the database.
    world.set_available()
    world.wait_for_condition("Ready", "True", "RunnerAvailable")
    world.wait_until_quiet()
    assert original.children() == set(KINDS)

    world.report_backup()

    original.wait_until_gone()
    called = f"{original.namespace}/{name_of(world.namespace, 'shop')}"
    message = wait_for(lambda: told(world).get("TakenOver"))
    (logged,) = [one for one in controller.log() if one["msg"].startswith("taken over")]
    assert (logged["namespace"], logged["name"]) == (world.namespace, "shop")
    for kind in ("Secret", "Service", "StatefulSet"):
        assert f"{kind} {called}" in message
        assert f"{kind} {called}" in logged["reasons"]
    # Ours stay, and nothing is done a second time.
    world.wait_for_condition("Ready", "True", "RunnerAvailable")
    before = world.wait_until_quiet()
    world.change(DATABASE_BACKUPS, "shop", lambda raw: raw["spec"].update(jitterSeconds=1))
    assert world.wait_until_quiet() == before + 2  # the configuration, observedGeneration
    assert None not in world.wait_for_children().values()


def test_what_it_wrote_into_an_object_stays(world: World, original: GoOriginal) -> None:
    spec = world.get(DATABASE_BACKUPS, "shop")["spec"]
    world.start()
    world.wait_for_children()

    world.set_available()
    world.report_backup()

    world.wait_for_condition("Ready", "True", "RunnerAvailable")
    original.wait_until_gone()
    # All but the finalizer, for which there is nobody any more.
    wait_for(lambda: "finalizers" not in world.get(DATABASE_BACKUPS, "shop")["metadata"])
    after = world.get(DATABASE_BACKUPS, "shop")
    assert after["spec"] == spec
    assert after["status"]["hash"] == STATUS["hash"]
    conditions = {one["type"]: one for one in after["status"]["conditions"]}
    for theirs in STATUS["conditions"]:
        if theirs["type"] != "Ready":
            assert conditions[theirs["type"]] == theirs


def test_what_is_not_its_own_stays(world: World, original: GoOriginal) -> None:
    labels = labels_of(world.namespace, "shop")
    unmanaged = labels | {"app.kubernetes.io/managed-by": "Helm"}
    of_nobody = {"db-backup.nect.com/src-namespace", "db-backup.nect.com/src-name"}
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "an-owner", "uid": "1"}
    for resource in KINDS:
        original.create(resource, manifest(resource, unmanaged, "of-another-tool"))
        pair_alone = {key: value for key, value in labels.items() if key in of_nobody}
        pair_alone["app.kubernetes.io/instance"] = "x"
        original.create(resource, manifest(resource, pair_alone, "with-the-pair-alone"))
        owned = manifest(resource, labels, "of-an-owner")
        owned["metadata"]["ownerReferences"] = [owner]
        original.create(resource, owned)
    # Nothing leads to a Secret but the name of a StatefulSet or Service.
    original.create(SECRETS, manifest(SECRETS, labels, "of-no-stateful-set"))
    other_kind = a_deployment(original.namespace, "another-kind")
    other_kind["metadata"]["labels"] = labels
    original.create(DEPLOYMENTS, other_kind)
    # Its own StatefulSet, and a Secret of that name that somebody put in the place of its own.
    original.delete(SECRETS)
    called = name_of(world.namespace, "shop")
    original.create(SECRETS, manifest(SECRETS, unmanaged, called))

    world.start()
    world.wait_for_children()
    world.set_available()
    world.report_backup()

    wait_for(lambda: original.children() == {SECRETS})
    world.wait_until_quiet()
    assert original.is_there(DEPLOYMENTS, "another-kind")
    assert original.is_there(SECRETS, "of-no-stateful-set")
    for resource in KINDS:
        for name in ("of-another-tool", "with-the-pair-alone", "of-an-owner"):
            assert original.is_there(resource, name)


def test_children_without_an_object_go_and_those_of_an_object_stay(
    world: World, original: GoOriginal
) -> None:
    original.make_children("gone-before")

    controller = world.start()

    original.wait_until_gone("gone-before")
    assert original.children() == set(KINDS)
    # One that goes while its new runner was never up.
    world.wait_for_children()
    wait_for(lambda: "finalizers" not in world.get(DATABASE_BACKUPS, "shop")["metadata"])
    world.delete(DATABASE_BACKUPS, "shop")
    original.wait_until_gone()
    assert controller.metric("unexpected_errors_total") == 0


def test_an_object_that_is_wrong_keeps_its_old_runner(world: World) -> None:
    original = GoOriginal(world, world.system)
    world.create_backup(backupInterval=None, backupCron="0 3 30 2 *")
    original.make_children()
    world.start()
    world.wait_for_condition("Ready", "False", "InvalidSpec")
    world.wait_until_quiet()
    assert original.children() == set(KINDS)

    world.change(DATABASE_BACKUPS, "shop", lambda raw: raw["spec"].update(backupCron="0 3 * * *"))
    world.wait_for_children()
    assert original.children() == set(KINDS)
    world.set_available()
    world.report_backup()

    original.wait_until_gone()


def test_a_suspended_object_has_no_backup_to_wait_for(world: World) -> None:
    original = GoOriginal(world, world.system)
    world.create_backup(suspend=True)
    original.make_children()
    world.start()
    world.wait_for_children()
    assert original.children() == set(KINDS)

    world.set_available()

    original.wait_until_gone()


def test_children_are_found_wherever_its_controller_had_them(world: World) -> None:
    original = GoOriginal(world, world.server.new_namespace())
    world.create_backup()
    original.make_children()

    world.start()
    world.wait_for_children()
    world.set_available()
    world.report_backup()

    original.wait_until_gone()


class TestDeaths:
    """The controller is killed in between."""

    def test_the_next_one_removes_what_the_first_one_had_to_wait_for(
        self, world: World, original: GoOriginal
    ) -> None:
        controller = world.start()
        world.wait_for_children()
        controller.stop(signal.SIGKILL)
        world.set_available()
        world.report_backup()
        assert original.children() == set(KINDS)

        world.start()

        original.wait_until_gone()

    @pytest.mark.parametrize("gone", [(SECRETS,), (SECRETS, SERVICES), (STATEFUL_SETS,)])
    def test_what_is_left_of_three_is_removed(
        self, world: World, original: GoOriginal, gone: tuple[Any, ...]
    ) -> None:
        for resource in gone:
            original.delete(resource)

        world.start()
        world.wait_for_children()
        world.set_available()
        world.report_backup()

        original.wait_until_gone()


def test_where_it_never_was_nothing_is_asked(world: World) -> None:
    world.create_backup()
    world.start()
    world.wait_for_children()
    world.set_available()
    world.wait_for_condition("Ready", "True", "RunnerAvailable")
    world.wait_until_quiet()

    kinds = {"statefulsets", "services"}
    asked = [(one.verb, one.resource) for one in world.requests() if one.resource in kinds]

    assert {verb for verb, _ in asked} <= {"list", "watch"}
    assert sorted(resource for verb, resource in asked if verb == "list") == sorted(kinds)
