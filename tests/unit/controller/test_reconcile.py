"""What a reconcile decides, one at a time. What a real server makes of it is in integration."""

from __future__ import annotations

import copy

import pytest

from controller.api.errors import (
    ApiConflict,
    ApiUnavailable,
    BackupError,
    ObjectNotFound,
    TerminalError,
    WaitingError,
)
from controller.kube.resource import (
    DEPLOYMENTS,
    LEASES,
    ROLES,
    SECRETS,
)
from controller.worker import RequeueAfter
from tests.unit.controller.a_reconciler import KEY, NO, RUNNER, Bench
from tests.unit.resources.samples import a_raw_backup


class TestReplacing:
    """Changes of the pod template."""

    @pytest.mark.parametrize("is_available", [True, False])
    def test_a_runner_at_work_is_not_replaced_whether_its_pod_is_ready_or_not(
        self, bench: Bench, is_available: bool
    ) -> None:
        before = bench.image()
        bench.set_rollout(is_available=is_available)
        bench.run_job()
        bench.catch_up(databaseVersion="17")

        assert bench.reconcile(KEY) == RequeueAfter(30)

        assert bench.image() == before
        assert "waits for its job" in bench.ready()["message"]
        assert bench.ready()["status"] == str(is_available)

    def test_a_runner_is_not_ready_until_the_new_one_is_up(self, bench: Bench) -> None:
        before = list(bench.events())
        bench.catch_up(databaseVersion="17")

        # The caches still show the Deployment that was complete before the write.
        assert bench.reconcile(KEY) is None

        assert (bench.ready()["status"], bench.ready()["reason"]) == ("False", "RunnerReplacing")
        assert bench.events() == [*before, "RunnerReplaced"]
        # Nor while nobody has taken notice of it.
        bench.catch_up(databaseVersion="17")
        bench.reconcile(KEY)
        assert bench.ready()["reason"] == "RunnerReplacing"
        bench.set_rollout(is_available=True, databaseVersion="17")
        bench.reconcile(KEY)
        assert (bench.ready()["status"], bench.ready()["reason"]) == ("True", "RunnerAvailable")

    def test_a_runner_waits_for_those_that_an_earlier_leader_replaces(self, bench: Bench) -> None:
        another = copy.deepcopy(bench.server.objects[DEPLOYMENTS, KEY.namespace, RUNNER])
        another["metadata"] |= {"name": "another", "generation": 3}
        another["metadata"]["ownerReferences"][0] |= {"name": "till", "uid": "9"}
        another["status"]["observedGeneration"] = 2
        bench.server.objects[DEPLOYMENTS, KEY.namespace, "another"] = another
        till = a_raw_backup(metadata={"name": "till", "uid": "9"})
        bench.caches.backups.put(till)
        bench.catch_up(databaseVersion="17")

        assert bench.reconcile(KEY) == RequeueAfter(5)

        assert bench.ready()["reason"] == "ChangeHeldBack"
        # What is left of an object that is gone holds nobody up.
        bench.caches.backups.remove(till)
        assert bench.reconcile(KEY) is None

    def test_a_runner_that_died_at_work_is_replaced(self, bench: Bench) -> None:
        bench.run_job()
        bench.catch_up(databaseVersion="17")
        assert bench.reconcile(KEY) == RequeueAfter(30)
        bench.clock.advance(60)

        assert bench.reconcile(KEY) is None

        assert ":17-" in bench.image()

    def test_a_runner_that_is_down_and_has_no_job_is_replaced(self, bench: Bench) -> None:
        bench.set_rollout(is_available=False)
        bench.catch_up(databaseVersion="17")

        assert bench.reconcile(KEY) is None

        assert ":17-" in bench.image()


def test_what_took_the_place_of_a_child_unseen_is_left_alone(bench: Bench) -> None:
    where = (DEPLOYMENTS, KEY.namespace, RUNNER)
    theirs = {"metadata": {"name": RUNNER, "namespace": KEY.namespace, "uid": "theirs"}}
    bench.give(databaseVersion="17")
    bench.server.objects[where] = copy.deepcopy(theirs)

    with pytest.raises(ApiConflict):
        bench.reconcile(KEY)

    assert bench.server.objects[where] == theirs


def test_of_what_is_not_wanted_only_its_own_is_deleted(bench: Bench) -> None:
    role = bench.server.objects[ROLES, KEY.namespace, RUNNER]
    for name, uid in (("left-over", role["metadata"]["ownerReferences"][0]["uid"]), ("other", "9")):
        other = copy.deepcopy(role)
        other["metadata"] |= {"name": name, "uid": name}
        other["metadata"]["ownerReferences"][0]["uid"] = uid
        bench.server.objects[ROLES, KEY.namespace, name] = other
    before = set(bench.server.objects)
    bench.catch_up()

    bench.reconcile(KEY)

    assert before - set(bench.server.objects) == {(ROLES, KEY.namespace, "left-over")}


def test_children_are_made_where_a_server_refuses_the_version_of_what_is_not_there() -> None:
    bench = Bench()
    bench.server.creates_with_version = False
    theirs = {"metadata": {"name": RUNNER, "namespace": KEY.namespace, "uid": "theirs"}}
    bench.server.objects[DEPLOYMENTS, KEY.namespace, RUNNER] = copy.deepcopy(theirs)

    with pytest.raises(WaitingError, match="does not own"):
        bench.reconcile(KEY)
    assert bench.server.objects.pop((DEPLOYMENTS, KEY.namespace, RUNNER)) == theirs
    assert bench.reconcile(KEY) is None

    made = {resource for resource, *_ in bench.server.objects}
    assert made == {*bench.caches.children, LEASES, SECRETS}


class TestComingAgain:
    """What looks final and is not the object's fault."""

    @pytest.mark.parametrize("error", NO, ids=lambda error: type(error).__name__)
    def test_what_an_api_server_says_no_to_is_looked_at_again(
        self, bench: Bench, error: BackupError
    ) -> None:
        bench.catch_up(jitterSeconds=1)
        waits = []

        for _ in range(8):
            bench.server.fail_next("apply", error)
            with pytest.raises(WaitingError) as raised:
                bench.reconcile(KEY)
            waits.append(raised.value.retry_after_s)

        # Soon at first: a server that has just begun says no, too.
        assert waits == [5, 10, 20, 40, 80, 160, 300, 300]
        assert bench.ready()["reason"] == error.reason
        assert bench.reconcile(KEY) is None
        bench.catch_up(jitterSeconds=2)
        bench.server.fail_next("apply", error)
        with pytest.raises(WaitingError) as raised:
            bench.reconcile(KEY)
        assert raised.value.retry_after_s == 5

    def test_what_is_wrong_in_the_object_waits_for_its_change(self, bench: Bench) -> None:
        bench.give(databaseType="nosuch")

        with pytest.raises(TerminalError):
            bench.reconcile(KEY)


class TestStatus:
    """What is told, and when it is told again."""

    def test_a_status_that_somebody_wrote_at_the_same_moment_is_tried_again(
        self, bench: Bench
    ) -> None:
        before = list(bench.events())
        bench.set_rollout(is_available=False)
        bench.server.fail_next("status", ApiConflict("written since"))

        with pytest.raises(ApiConflict):
            bench.reconcile(KEY)
        assert bench.events() == before
        bench.reconcile(KEY)

        assert bench.ready()["reason"] == "RunnerNotAvailable"
        assert bench.events() == [*before, "RunnerNotAvailable"]

    def test_a_failure_that_could_not_be_told_is_tried_again(self, bench: Bench) -> None:
        bench.give(databaseType="nosuch")
        bench.server.fail_next("status", ApiConflict("written since"))

        with pytest.raises(ApiConflict):
            bench.reconcile(KEY)
        with pytest.raises(TerminalError):
            bench.reconcile(KEY)

        assert bench.ready()["status"] == "False"

    def test_a_fault_that_does_not_pass_is_told(self, bench: Bench) -> None:
        bench.catch_up(jitterSeconds=1)

        for failures in range(3):
            assert bench.ready()["status"] == "True", failures
            bench.server.fail_next("apply", ApiUnavailable("no answer"))
            with pytest.raises(ApiUnavailable):
                bench.reconcile(KEY)
        told = bench.ready()
        assert (told["status"], told["reason"]) == ("Unknown", "ApiUnavailable")
        assert told["message"] == "no answer"

        bench.catch_up(jitterSeconds=1)
        bench.reconcile(KEY)
        assert bench.ready()["status"] == "True"

    def test_of_an_object_that_is_gone_nothing_is_told(self, bench: Bench) -> None:
        before = list(bench.events())
        bench.set_rollout(is_available=False)
        bench.server.fail_next("status", ObjectNotFound("gone"))

        bench.reconcile(KEY)

        assert bench.events() == before
