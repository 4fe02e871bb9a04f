"""What a reconcile decides, one at a time. What a real server makes of it is in integration."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from controller import reconcile
from controller.api.deletion import FINALIZER
from controller.api.errors import (
    AccessDenied,
    ApiConflict,
    ApiRefused,
    ApiUnavailable,
    BackupError,
    FormatError,
    ObjectExists,
    ObjectNotFound,
    TerminalError,
    WaitingError,
)
from controller.api.keys import ObjectKey
from controller.api.lease import BUSY_UNTIL
from controller.api.names import child_name
from controller.api.v1 import DatabaseBackup
from controller.apply import Applier
from controller.cache.mutation import MutationDetector
from controller.caches import Caches
from controller.events import EventRecorder
from controller.kube.events import Event
from controller.kube.resource import (
    DATABASE_BACKUP_STORAGE_CLASSES,
    DATABASE_BACKUPS,
    DEPLOYMENTS,
    LEASES,
    NAMESPACES,
    ROLES,
    SECRETS,
)
from controller.reconcile import BackupReconciler
from controller.reconcile_class import ClassReconciler
from controller.resources.desired import Desired, desired
from controller.rollouts import Rollouts
from controller.worker import RequeueAfter
from tests.builders import a_class_manifest, a_location_manifest
from tests.fakes.clock import FakeClock
from tests.fakes.objects import FakeObjects
from tests.unit.resources.samples import SETTINGS, a_raw_backup

KEY = ObjectKey("db", "shop")
RUNNER = child_name(KEY.namespace, KEY.name)
WIRE_TIME = "%Y-%m-%dT%H:%M:%S.%fZ"


class Told:
    """An `EventSink` that keeps what it is sent."""

    def __init__(self) -> None:
        self.reasons: list[str] = []

    def create_event(self, event: Event) -> None:
        self.reasons.append(event.reason)


class Bench:
    """Reconcilers with caches that show what the server has when `catch_up` is called."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.term = 1
        self.server = FakeObjects()
        self.detector = MutationDetector()
        self.caches = Caches.new(self.detector)
        self.applier = Applier(self.server)
        self.told = Told()
        self.recorder = EventRecorder(self.told, reporter="me", instance="a", clock=self.clock)
        self.reconcile = BackupReconciler(
            self.caches,
            self.applier,
            self.recorder,
            Rollouts(
                max_rolling=1,
                is_complete=self.caches.is_rolled_out,
                seen_rolling=self.caches.rolling,
                clock=self.clock,
            ),
            namespace="system",
            settings=SETTINGS,
            clock=self.clock,
            term=lambda: self.term,
            jitter=lambda: 0.0,
        )
        self.raw_class = a_class_manifest()
        self.caches.classes.put(self.raw_class)
        self.give()

    def give(self, **spec: Any) -> None:
        """Let there be an object, or change it."""
        raw = a_raw_backup(**spec)
        if status := self.server.statuses.get((DATABASE_BACKUPS, KEY.name)):
            raw["status"] = status
        self.caches.backups.put(raw)

    def catch_up(self, **spec: Any) -> None:
        """Have the caches see what was written."""
        self.give(**spec)
        for resource, store in self.caches.children.items():
            store.replace(raw for (of, *_), raw in self.server.objects.items() if of is resource)

    def set_rollout(self, *, is_available: bool, **spec: Any) -> None:
        """Say what a controller manager would say of the runner's Deployment."""
        raw = self.server.objects[DEPLOYMENTS, KEY.namespace, RUNNER]
        raw["status"] = {
            "observedGeneration": raw["metadata"]["generation"],
            "replicas": 1,
            "updatedReplicas": 1,
            "conditions": [{"type": "Available", "status": str(is_available)}],
        }
        self.catch_up(**spec)

    def run_job(self) -> None:
        """What a runner writes with each renewal while a job runs."""
        raw = self.server.objects[LEASES, KEY.namespace, RUNNER]
        now = self.clock.now()
        raw["metadata"]["annotations"] = {
            BUSY_UNTIL: (now + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
        }
        raw["spec"] = {
            "holderIdentity": "runner",
            "leaseDurationSeconds": 60,
            "renewTime": now.strftime(WIRE_TIME),
        }

    def image(self) -> str:
        spec = self.server.objects[DEPLOYMENTS, KEY.namespace, RUNNER]["spec"]
        image: str = spec["template"]["spec"]["containers"][0]["image"]
        return image

    def ready(self) -> dict[str, Any]:
        conditions = self.server.statuses[DATABASE_BACKUPS, KEY.name]["conditions"]
        return next(one for one in conditions if one["type"] == "Ready")

    def events(self) -> list[str]:
        """Reasons of the events so far; from then on the same counts as news."""
        self.clock.advance(601)
        while self.recorder.send_next(timeout_s=0.0):
            pass
        return self.told.reasons


@pytest.fixture
def bench() -> Iterator[Bench]:
    """An object whose runner is up; nobody may write to what the caches share."""
    bench = Bench()
    assert bench.reconcile(KEY) is None
    bench.catch_up()
    bench.set_rollout(is_available=True)
    assert bench.reconcile(KEY) is None
    bench.catch_up()
    yield bench
    bench.detector.check()


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


NO = (
    AccessDenied("may not"),
    ApiRefused("the server's certificate is not trusted"),
    FormatError("the answer is not JSON"),
    ObjectNotFound("not served"),
)


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

    def test_a_class_whose_status_is_not_taken_is_looked_at_again(self, bench: Bench) -> None:
        classes = ClassReconciler(
            bench.caches, bench.applier, namespace="system", clock=bench.clock
        )
        bench.server.fail_next("status", ApiRefused("a redirect"))

        with pytest.raises(WaitingError):
            classes(ObjectKey.of(bench.raw_class))

    def test_what_is_wrong_in_the_object_waits_for_its_change(self, bench: Bench) -> None:
        bench.give(databaseType="nosuch")

        with pytest.raises(TerminalError):
            bench.reconcile(KEY)


class TestSettled:
    """An object of which nothing changed since a reconcile that left nothing to do."""

    @pytest.fixture(autouse=True)
    def built(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> list[ObjectKey]:
        """Which objects' children were built."""
        bench.reconcile(KEY)
        built: list[ObjectKey] = []

        def build(backup: DatabaseBackup, *args: Any, **options: Any) -> Desired:
            built.append(ObjectKey(backup.metadata.namespace, backup.metadata.name))
            return desired(backup, *args, **options)

        monkeypatch.setattr(reconcile, "build_desired", build)
        return built

    def test_a_resync_builds_nothing(self, bench: Bench, built: list[ObjectKey]) -> None:
        bench.catch_up()

        assert bench.reconcile(KEY) is None

        assert built == []

    def test_what_changes_is_seen_though_no_handler_told_of_it(
        self, bench: Bench, built: list[ObjectKey]
    ) -> None:
        for number, change in enumerate(
            (
                lambda: bench.give(jitterSeconds=1),
                lambda: bench.caches.classes.put(a_class_manifest(minSuccessfulLocations=1)),
                lambda: bench.set_rollout(is_available=False),
                lambda: bench.caches.children[DEPLOYMENTS].remove(
                    bench.server.objects[DEPLOYMENTS, KEY.namespace, RUNNER]
                ),
            ),
            1,
        ):
            change()
            bench.reconcile(KEY)
            assert len(built) == number

    def test_what_no_cache_shows_is_looked_at_once_a_day(
        self, bench: Bench, built: list[ObjectKey]
    ) -> None:
        bench.clock.advance(86_400)
        del bench.server.objects[LEASES, KEY.namespace, RUNNER]

        bench.reconcile(KEY)

        assert built == [KEY]
        assert (LEASES, KEY.namespace, RUNNER) in bench.server.objects

    def test_what_another_leader_may_have_written_is_looked_at(
        self, bench: Bench, built: list[ObjectKey]
    ) -> None:
        """One of an earlier release, that led between two terms of this one."""
        config = (SECRETS, KEY.namespace, child_name(KEY.namespace, KEY.name, "config"))
        before = copy.deepcopy(bench.server.objects[config])
        bench.server.objects[config]["data"] = {"backup.yaml": "of another release"}
        bench.reconcile(KEY)
        assert built == []
        bench.term += 1

        bench.reconcile(KEY)

        assert bench.server.objects[config]["data"] == before["data"]
        bench.reconcile(KEY)
        assert built == [KEY]

    def test_a_cause_is_heard(self, bench: Bench, built: list[ObjectKey]) -> None:
        bench.reconcile.cause(KEY)

        bench.reconcile(KEY)

        assert built == [KEY]

    def test_a_failure_settles_nothing(self, bench: Bench, built: list[ObjectKey]) -> None:
        bench.give(jitterSeconds=1)

        for _ in range(2):
            bench.server.fail_next("apply", AccessDenied("may not"))
            with pytest.raises(WaitingError):
                bench.reconcile(KEY)

        assert built == [KEY, KEY]


class TestDeleting:
    """An object that goes with its backups; what a real server makes of it is in integration."""

    @pytest.fixture
    def deleting(self, bench: Bench) -> Bench:
        """One that is being deleted, and whose config Secret has to be written."""
        bench.server.objects[NAMESPACES, "", KEY.namespace] = {"metadata": {}}
        self.delete(bench)
        return bench

    def delete(self, bench: Bench) -> None:
        raw = a_raw_backup(deletionPolicy="Delete")
        raw["metadata"] |= {
            "deletionTimestamp": bench.clock.now().strftime(WIRE_TIME),
            "finalizers": [FINALIZER],
            "resourceVersion": "1",
        }
        bench.server.objects[DATABASE_BACKUPS, KEY.namespace, KEY.name] = raw
        bench.caches.backups.put(raw)

    def was_let_go(self, bench: Bench) -> bool:
        return bench.server.written("patch", DATABASE_BACKUPS) == 1

    @pytest.mark.parametrize(
        "error",
        [*NO, ApiUnavailable("no answer"), ApiConflict("written since"), ObjectExists("theirs")],
        ids=lambda error: type(error).__name__,
    )
    def test_what_fails_in_keeping_its_runner_holds_nothing_up(
        self, deleting: Bench, error: BackupError
    ) -> None:
        for _ in range(5):
            deleting.server.fail_next("apply", error)
            assert deleting.reconcile(KEY) == RequeueAfter(30)
        assert deleting.ready()["reason"] == error.reason
        assert not self.was_let_go(deleting)
        deleting.clock.advance(15 * 60)

        assert deleting.reconcile(KEY) is None

        assert self.was_let_go(deleting)
        assert "DataRetained" in deleting.events()

    @pytest.mark.parametrize("verb", ["get", "patch"])
    def test_letting_it_go_is_tried_until_the_server_takes_it(
        self, deleting: Bench, verb: str
    ) -> None:
        deleting.clock.advance(15 * 60)
        deleting.server.fail_next(verb, ApiConflict("written since"))

        with pytest.raises(ApiConflict):
            deleting.reconcile(KEY)
        assert deleting.reconcile(KEY) is None

        assert self.was_let_go(deleting)


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


def test_a_class_counts_and_quotes_nobody_whom_it_refuses(bench: Bench) -> None:
    raw_class = a_class_manifest(
        allowedNamespaces=["friends"], backupLocations=[a_location_manifest(name="s3")]
    )
    key = ObjectKey.of(raw_class)
    classes = ClassReconciler(bench.caches, bench.applier, namespace="system", clock=bench.clock)
    bench.caches.classes.put(raw_class)
    for namespace in ("friends", "strangers"):
        raw = a_raw_backup(metadata={"namespace": namespace, "uid": namespace})
        said = {"name": "s3", "healthy": False, "message": f"by {namespace}"}
        bench.caches.backups.put(raw | {"status": {"locations": [said]}})

    classes(key)

    status = bench.server.statuses[DATABASE_BACKUP_STORAGE_CLASSES, key.name]
    assert status["usedBy"] == 1
    (told,) = status["locations"]
    assert (told["failing"], told["message"]) == (1, "by friends")


def test_a_class_is_not_written_for_a_strangers_condition_or_the_order_of_a_list(
    bench: Bench,
) -> None:
    locations = [
        a_location_manifest(name=name, storageBucket=name) for name in ("nas", "aws", "gcp")
    ]
    raw = a_class_manifest(backupLocations=locations)
    key = ObjectKey.of(raw)
    classes = ClassReconciler(bench.caches, bench.applier, namespace="system", clock=bench.clock)
    bench.caches.classes.put(raw)
    classes(key)
    status = bench.server.statuses[DATABASE_BACKUP_STORAGE_CLASSES, key.name]
    theirs = status["conditions"][0] | {"type": "Audited"}
    raw["status"] = status | {
        "conditions": [theirs, *status["conditions"]],
        "locations": status["locations"][::-1],
    }
    bench.caches.classes.put(raw)

    classes(key)

    assert bench.server.written("status", DATABASE_BACKUP_STORAGE_CLASSES) == 1
