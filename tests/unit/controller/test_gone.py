"""When the last word of a runner that is gone is taken back. How it looks on a real server is in
integration.
"""

from __future__ import annotations

import copy
from datetime import datetime, timedelta
from typing import Any

import pytest

from controller.api.errors import (
    AccessDenied,
    ApiUnavailable,
    BackupError,
    DependencyMissing,
    WaitingError,
)
from controller.api.keys import ObjectKey
from controller.api.names import child_name
from controller.apply import Applier
from controller.caches import Caches
from controller.events import EventRecorder
from controller.gone import GoneRunners
from controller.kube.events import Event
from controller.kube.resource import DATABASE_BACKUPS, DEPLOYMENTS, Resource
from controller.queue.ratelimit import default_limiter
from controller.queue.workqueue import WorkQueue
from controller.worker import RequeueAfter
from tests.fakes.clock import START, FakeClock
from tests.fakes.objects import FakeObjects
from tests.unit.resources.samples import a_raw_backup

KEY = ObjectKey("db", "shop")
HOUR = timedelta(hours=1)
PATIENCE = timedelta(minutes=30)


def wire(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


class Server(FakeObjects):
    """Keeps what came with a status, too."""

    def __init__(self) -> None:
        super().__init__()
        self.came_with: list[tuple[str, str]] = []

    def apply_status(
        self, resource: Resource, raw: dict[str, Any], *, field_manager: str, force: bool = False
    ) -> dict[str, Any]:
        self.came_with.append((raw["metadata"]["resourceVersion"], field_manager))
        return super().apply_status(resource, raw, field_manager=field_manager, force=force)


class Bench:
    """An object whose runner said at its last that all is well, around a reconcile that obeys."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.server = Server()
        self.caches = Caches.new()
        self.queue = WorkQueue[ObjectKey](default_limiter(self.clock), clock=self.clock)
        self.told: list[str] = []
        self.recorder = EventRecorder(self, reporter="me", instance="a", clock=self.clock)
        self.error: Exception | None = None
        self.inner = 0
        self.reconcile = GoneRunners(
            self.run_inner,
            self.caches,
            Applier(self.server),
            self.recorder,
            queue=self.queue,
            clock=self.clock,
        )

    def create_event(self, event: Event) -> None:
        self.told.append(event.reason)

    def run_inner(self, key: ObjectKey) -> RequeueAfter | None:
        self.inner += 1
        if self.error is not None:
            raise self.error
        return RequeueAfter(7)

    def give(
        self,
        *,
        healthy: str = "True",
        next_at: datetime | None = START - HOUR,
        down_since: datetime | None = START - HOUR,
        is_stale: bool = False,
        **metadata: Any,
    ) -> None:
        """Let the server, and unless `is_stale` the cache, have the object so."""
        raw = a_raw_backup(metadata={"resourceVersion": "7"} | metadata)
        available = {"type": "RunnerAvailable", "status": "False" if down_since else "True"}
        conditions = [
            available | {"lastTransitionTime": wire(down_since or START - HOUR)},
            {"type": "BackupHealthy", "status": healthy, "lastTransitionTime": wire(START - HOUR)},
        ]
        raw["status"] = {"conditions": conditions}
        if next_at:
            raw["status"]["nextBackupAt"] = wire(next_at)
        self.server.objects[DATABASE_BACKUPS, KEY.namespace, KEY.name] = copy.deepcopy(raw)
        if not is_stale:
            self.caches.backups.put(raw)

    def give_runner(self, *, is_available: bool) -> None:
        runner = {"name": child_name(KEY.namespace, KEY.name), "namespace": KEY.namespace}
        status = {"conditions": [{"type": "Available", "status": str(is_available)}]}
        self.caches.children[DEPLOYMENTS].put(
            {"kind": "Deployment", "metadata": runner, "status": status}
        )

    def said(self) -> dict[str, Any] | None:
        """The condition that was written."""
        status = self.server.statuses.get((DATABASE_BACKUPS, KEY.name))
        if status is None:
            return None
        (condition,) = status["conditions"]
        assert set(status) == {"conditions"}, "nothing else is in it"
        return dict(condition)


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.mark.parametrize("has_deployment", [True, False])
def test_a_true_that_outlived_its_backup_and_its_runner_becomes_unknown(
    bench: Bench, has_deployment: bool
) -> None:
    bench.give(generation=3)
    if has_deployment:
        bench.give_runner(is_available=False)

    assert bench.reconcile(KEY) == RequeueAfter(7)

    said = bench.said()
    assert said is not None
    assert (said["type"], said["status"], said["reason"]) == (
        "BackupHealthy",
        "Unknown",
        "RunnerGone",
    )
    assert said["lastTransitionTime"] == wire(START)
    assert said["observedGeneration"] == 3
    while bench.recorder.send_next(timeout_s=0.0):
        pass
    assert bench.told == ["RunnerGone"]


@pytest.mark.parametrize(
    "so",
    [
        {"healthy": "False"},
        {"healthy": "Unknown"},
        {"next_at": None},
        {"down_since": None},
        {"deletionTimestamp": wire(START)},
    ],
    ids=str,
)
def test_what_promises_nothing_stays_and_nobody_comes_back_for_it(
    bench: Bench, so: dict[str, Any]
) -> None:
    bench.give(**so)

    bench.reconcile(KEY)

    assert bench.said() is None
    assert bench.queue.stats().delayed == 0


def test_a_runner_that_is_up_is_believed_before_the_status_says_that_it_is(bench: Bench) -> None:
    bench.give()
    bench.give_runner(is_available=True)

    bench.reconcile(KEY)

    assert bench.said() is None


@pytest.mark.parametrize(
    ("next_at", "down_since"),
    [
        (START - timedelta(minutes=20), START - HOUR),  # the backup is due since just now
        (START - HOUR, START - timedelta(minutes=20)),  # the runner is replaced
        (START + timedelta(days=30), START - HOUR),
    ],
)
def test_it_comes_back_when_it_is_time_whatever_else_fails(
    bench: Bench, next_at: datetime, down_since: datetime
) -> None:
    bench.give(next_at=next_at, down_since=down_since)
    bench.error = DependencyMissing("a class")
    left = max(next_at, down_since) + PATIENCE - START

    with pytest.raises(DependencyMissing):
        bench.reconcile(KEY)
    assert bench.said() is None
    bench.clock.advance(left.total_seconds() - 1)
    assert len(bench.queue) == 0
    bench.clock.advance(1)
    assert len(bench.queue) == 1

    with pytest.raises(DependencyMissing):
        bench.reconcile(KEY)
    assert bench.said() is not None


def test_a_word_that_no_cache_has_seen_yet_counts(bench: Bench) -> None:
    bench.give()
    bench.give(next_at=START + HOUR, is_stale=True)

    bench.reconcile(KEY)

    assert bench.said() is None


def test_it_writes_over_the_very_state_that_it_read(bench: Bench) -> None:
    bench.give()

    bench.reconcile(KEY)

    ((version, manager),) = bench.server.came_with
    assert version == "7"
    assert manager != "db-backup-controller", "whose next write would take the condition away"


@pytest.mark.parametrize(
    ("error", "raised"),
    [(ApiUnavailable("away"), ApiUnavailable), (AccessDenied("may not"), WaitingError)],
)
def test_a_failure_keeps_no_reconcile_from_its_work_and_is_tried_again(
    bench: Bench, error: BackupError, raised: type[BackupError]
) -> None:
    bench.give()
    bench.server.fail_next("status", error)

    with pytest.raises(raised):
        bench.reconcile(KEY)
    assert bench.inner == 1
    bench.reconcile(KEY)

    assert bench.said() is not None


def test_another_object_of_the_name_is_left_alone(bench: Bench) -> None:
    bench.give()
    bench.give(is_stale=True, uid="another")

    bench.reconcile(KEY)

    assert bench.said() is None


def test_an_object_that_is_gone_is_the_reconciles_alone(bench: Bench) -> None:
    assert bench.reconcile(KEY) == RequeueAfter(7)
