"""When what the Go original made is removed. How it looks on a real server is in integration."""

from __future__ import annotations

from typing import Any

import pytest

from controller.api.errors import AccessDenied, ApiUnavailable, DependencyMissing, WaitingError
from controller.api.keys import ObjectKey
from controller.api.names import child_name
from controller.apply import Applier
from controller.cache.store import Change
from controller.caches import Caches
from controller.events import EventRecorder
from controller.kube.events import Event
from controller.kube.resource import (
    DATABASE_BACKUPS,
    DEPLOYMENTS,
    SECRETS,
    SERVICES,
    STATEFUL_SETS,
)
from controller.queue.ratelimit import default_limiter
from controller.queue.workqueue import WorkQueue
from controller.takeover import KINDS, Takeover, new_stores, project_old_child
from controller.worker import RequeueAfter
from tests.fakes.clock import FakeClock
from tests.fakes.objects import FakeObjects
from tests.unit.resources.samples import a_raw_backup

KEY = ObjectKey("db", "shop")
LABELS = {
    "app.kubernetes.io/name": "db-backup",
    "app.kubernetes.io/component": "runner",
    "app.kubernetes.io/managed-by": "db-backup-controller",
    "db-backup.nect.com/src-namespace": "db",
    "db-backup.nect.com/src-name": "shop",
}


def an_old_child(labels: dict[str, str] | None = None, **metadata: Any) -> dict[str, Any]:
    named = {"name": "sha1-0", "namespace": "system", "uid": "old"}
    return {"metadata": named | {"labels": LABELS if labels is None else labels} | metadata}


class Bench:
    """A takeover around a reconcile that does what it is told, with an old runner there."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.server = FakeObjects()
        self.caches = Caches.new()
        self.old = new_stores()
        self.queue = WorkQueue[ObjectKey](default_limiter(self.clock), clock=self.clock)
        self.told: list[str] = []
        self.recorder = EventRecorder(self, reporter="me", instance="a", clock=self.clock)
        self.error: Exception | None = None
        self.wish: RequeueAfter | None = None
        self.reconcile = Takeover(
            self.run_inner,
            self.caches,
            self.old,
            Applier(self.server),
            self.recorder,
            queue=self.queue,
        )
        for resource in (SECRETS, *KINDS):
            self.server.objects[resource, "system", "sha1-0"] = an_old_child()
        for store in self.old.values():
            store.put(an_old_child())

    def create_event(self, event: Event) -> None:
        self.told.append(event.reason)

    def run_inner(self, key: ObjectKey) -> RequeueAfter | None:
        if self.error is not None:
            raise self.error
        return self.wish

    def give_object(
        self,
        *,
        is_available: bool,
        has_backup: bool = True,
        is_suspended: bool = False,
        **metadata: Any,
    ) -> None:
        backup = {"id": "1", "startedAt": "2026-11-23T10:00:00Z"}
        status = {"lastBackup": backup} if has_backup else {}
        raw = a_raw_backup(metadata=metadata, suspend=is_suspended)
        self.caches.backups.put(raw | {"status": status})
        rollout = {"conditions": [{"type": "Available", "status": str(is_available)}]}
        runner = {"name": child_name("db", "shop"), "namespace": "db"}
        self.caches.children[DEPLOYMENTS].put(
            {"kind": "Deployment", "metadata": runner, "status": rollout}
        )

    def left(self) -> list[str]:
        return sorted(resource.kind for resource, *_ in self.server.objects)


@pytest.fixture
def bench() -> Bench:
    return Bench()


ALL = ["Secret", "Service", "StatefulSet"]


def test_all_go_once_the_runner_is_up_and_what_the_reconcile_wished_is_kept(bench: Bench) -> None:
    bench.wish = RequeueAfter(7)
    bench.give_object(is_available=False)
    assert bench.reconcile(KEY) == RequeueAfter(7)
    assert bench.left() == ALL

    bench.give_object(is_available=True)
    assert bench.reconcile(KEY) == RequeueAfter(7)

    assert bench.left() == []
    # The caches still show what was there; who looks again tells nothing new.
    bench.reconcile(KEY)
    bench.clock.advance(601)
    while bench.recorder.send_next(timeout_s=0.0):
        pass
    assert bench.told == ["TakenOver"]


def test_nothing_goes_while_the_runner_has_not_made_a_backup(bench: Bench) -> None:
    bench.give_object(is_available=True, has_backup=False)
    bench.reconcile(KEY)
    assert bench.left() == ALL

    bench.give_object(is_available=False)
    bench.reconcile(KEY)
    assert bench.left() == ALL

    bench.give_object(is_available=True)
    bench.reconcile(KEY)
    assert bench.left() == []


def test_a_runner_that_is_to_make_no_backup_is_waited_for_until_it_is_up(bench: Bench) -> None:
    bench.give_object(is_available=True, has_backup=False, is_suspended=True)

    bench.reconcile(KEY)

    assert bench.left() == []


def test_nothing_goes_when_the_reconcile_failed(bench: Bench) -> None:
    bench.give_object(is_available=True)
    bench.error = DependencyMissing("a Secret")

    with pytest.raises(DependencyMissing):
        bench.reconcile(KEY)

    assert bench.left() == ALL


def test_an_object_that_is_going_keeps_them_until_it_is_gone(bench: Bench) -> None:
    bench.give_object(is_available=True, deletionTimestamp="2026-11-23T10:00:00Z")
    bench.reconcile(KEY)
    assert bench.left() == ALL

    bench.caches.backups.replace([])
    bench.reconcile(KEY)

    assert bench.left() == []


def test_an_object_that_no_cache_has_seen_yet_keeps_them(bench: Bench) -> None:
    bench.server.objects[DATABASE_BACKUPS, "db", "shop"] = a_raw_backup()

    bench.reconcile(KEY)

    assert len(bench.left()) == 4
    assert bench.server.writes == []


def test_the_stateful_set_which_leads_to_the_others_goes_last(bench: Bench) -> None:
    bench.reconcile(KEY)

    assert [one.resource for one in bench.server.writes] == [SECRETS, SERVICES, STATEFUL_SETS]


def test_a_death_in_between_is_made_up_for(bench: Bench) -> None:
    bench.server.fail_next("delete", ApiUnavailable("gone"))
    with pytest.raises(ApiUnavailable):
        bench.reconcile(KEY)

    bench.reconcile(KEY)

    assert bench.left() == []


def test_a_right_that_is_missing_is_waited_for(bench: Bench) -> None:
    bench.server.fail_next("delete", AccessDenied("may not"))

    with pytest.raises(WaitingError):
        bench.reconcile(KEY)


def test_a_secret_of_somebody_else_in_its_place_stays(bench: Bench) -> None:
    bench.server.objects[SECRETS, "system", "sha1-0"] = an_old_child(labels={})

    bench.reconcile(KEY)

    assert bench.left() == ["Secret"]


def test_another_objects_keys_ask_for_nothing(bench: Bench) -> None:
    bench.server.fail_next("get", ApiUnavailable("asked"))
    bench.server.fail_next("delete", ApiUnavailable("asked"))

    assert bench.reconcile(ObjectKey("db", "till")) is None

    assert bench.left() == ALL


@pytest.mark.parametrize(
    "raw",
    [
        *(an_old_child({k: v for k, v in LABELS.items() if k != missing}) for missing in LABELS),
        an_old_child(LABELS | {"app.kubernetes.io/managed-by": "Helm"}),
        an_old_child(LABELS | {"db-backup.nect.com/src-name": ""}),
        an_old_child({}),
        an_old_child(labels=LABELS, ownerReferences=[{"kind": "DatabaseBackup", "uid": "1"}]),
        an_old_child(labels=LABELS, deletionTimestamp="2026-11-23T10:00:00Z"),
    ],
)
def test_what_is_not_its_own_has_no_source(raw: dict[str, Any]) -> None:
    assert project_old_child(raw).source is None
    assert project_old_child(an_old_child()).source == KEY


def test_a_change_leads_to_the_object_before_and_after(bench: Bench) -> None:
    before = project_old_child(an_old_child())
    after = project_old_child(an_old_child(LABELS | {"db-backup.nect.com/src-name": "till"}))

    bench.reconcile.on_old_child(Change(before.key, before, after))

    assert {bench.queue.get(), bench.queue.get()} == {KEY, ObjectKey("db", "till")}
