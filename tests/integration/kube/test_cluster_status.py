"""The runner's part of a status on a real API server, with exactly the rights of its Role."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from attrs import evolve

from controller.api.conditions import Condition, ConditionStatus, Verdict
from controller.api.status import (
    AttemptSummary,
    BackupSummary,
    DatabaseBackupStatus,
    LocationStatus,
    VerificationSummary,
)
from controller.kube.client import Client, Raw, Selection
from controller.kube.resource import DATABASE_BACKUPS, EVENTS
from runner.conditions import Basis, assess
from runner.ports import Confirm, Overtaken
from runner.status import ClusterStatus
from tests.builders import a_backup_manifest
from tests.fakes.clock import START, FakeClock
from tests.integration.kube import definitions
from tests.integration.kube.conftest import ClientFor
from tests.servers.kubernetes import KubernetesServer

_RULES = (
    {
        "apiGroups": ["backup.nect.com"],
        "resources": ["databasebackups"],
        "resourceNames": ["shop"],
        "verbs": ["get"],
    },
    {
        "apiGroups": ["backup.nect.com"],
        "resources": ["databasebackups/status"],
        "resourceNames": ["shop"],
        "verbs": ["get", "patch"],
    },
    {"apiGroups": [""], "resources": ["events"], "verbs": ["create"]},
)
_GOOD = DatabaseBackupStatus(
    last_backup=BackupSummary(id="b1", started_at=START, locations=("s3", "gcs")),
    last_attempt=AttemptSummary(started_at=START, finished_at=START, succeeded=True),
    stored_backups=3,
    locations=(
        LocationStatus(name="s3", healthy=True, stored_backups=3),
        LocationStatus(name="gcs", healthy=True, stored_backups=3),
    ),
)
_BASIS = Basis(generation=1, interval=timedelta(days=1))


def _judged(status: DatabaseBackupStatus) -> DatabaseBackupStatus:
    return evolve(status, conditions=assess(status, _BASIS, START))


class Object:
    """The DatabaseBackup db/shop, and who reports on it."""

    def __init__(self, client: Client, runner: Client, namespace: str) -> None:
        self.client = client
        self.runner = runner
        self.namespace = namespace
        self.clock = FakeClock()
        self.sinks: list[ClusterStatus] = []

    @property
    def regarding(self) -> Raw:
        metadata = {"namespace": self.namespace, "name": "shop"}
        kind, version = DATABASE_BACKUPS.kind, DATABASE_BACKUPS.api_version
        return {"apiVersion": version, "kind": kind, "metadata": metadata}

    def sink(
        self, client: Client | None = None, confirm: Confirm = lambda: True, **identity: str
    ) -> ClusterStatus:
        regarding = self.regarding
        regarding["metadata"] |= identity
        self.sinks.append(
            ClusterStatus(
                client or self.runner,
                regarding=regarding,
                instance="pod-1",
                confirm=confirm,
                clock=self.clock,
            )
        )
        return self.sinks[-1]

    def read(self) -> dict[str, Any]:
        return self.client.get(DATABASE_BACKUPS, "shop", namespace=self.namespace)

    def status(self) -> dict[str, Any]:
        status: dict[str, Any] = self.read().get("status", {})
        return status

    def condition(self, type_: str) -> dict[str, Any]:
        (found,) = [one for one in self.status()["conditions"] if one["type"] == type_]
        return dict(found)

    def events(self) -> list[tuple[str, str, str]]:
        found = self.client.list(EVENTS, Selection(namespace=self.namespace)).items
        return [(one["type"], one["reason"], one["message"]) for one in found]


@pytest.fixture
def backup(
    kubernetes_server: KubernetesServer, client: Client, client_of: ClientFor, namespace: str
) -> Iterator[Object]:
    definitions.install(kubernetes_server)
    manifest = a_backup_manifest()
    manifest["metadata"] = {"namespace": namespace, "name": "shop"}
    client.create(DATABASE_BACKUPS, manifest)
    made = Object(client, client_of("runner", *_RULES), namespace)
    yield made
    for sink in made.sinks:
        sink.stop(flush=False)


def _until(true: Callable[[], object]) -> None:
    deadline_mono = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline_mono
        time.sleep(0.02)


def test_what_is_reported_is_in_the_object(backup: Object) -> None:
    sink = backup.sink()
    assert sink.start() == DatabaseBackupStatus()

    sink.report(_judged(_GOOD))

    _until(backup.status)
    status = backup.status()
    assert status["lastBackup"] == {
        "id": "b1",
        "startedAt": "2026-11-23T10:00:00Z",
        "locations": ["s3", "gcs"],
    }
    assert status["storedBackups"] == 3
    assert [one["name"] for one in status["locations"]] == ["s3", "gcs"]
    assert backup.condition("BackupHealthy") == {
        "type": "BackupHealthy",
        "status": "True",
        "reason": "BackupSucceeded",
        "message": "the newest backup is b1, in s3, gcs",
        "lastTransitionTime": "2026-11-23T10:00:00Z",
        "observedGeneration": 1,
    }


def test_two_writers_of_one_status_keep_out_of_each_others_way(backup: Object) -> None:
    sink = backup.sink()
    sink.start()
    sink.report(_judged(_GOOD))
    _until(backup.status)

    def apply_as_controller(reason: str) -> None:
        ready = {"type": "Ready", "status": "True", "reason": reason, "message": ""}
        theirs = {"conditions": [ready], "observedGeneration": 1, "runner": "backup-db-shop"}
        # Without force: a conflict would fail the test.
        backup.client.apply_status(
            DATABASE_BACKUPS,
            {**backup.regarding, "status": theirs},
            field_manager="db-backup-controller",
        )

    apply_as_controller("Applied")
    less = evolve(_GOOD, last_attempt=None, locations=_GOOD.locations[:1], stored_backups=4)
    sink.report(_judged(less))
    backup.clock.wait_for_waiters()
    backup.clock.advance(3)
    _until(lambda: backup.status()["storedBackups"] == 4)
    apply_as_controller("AppliedAgain")

    status = backup.status()
    types = {one["type"] for one in status["conditions"]}
    assert types == {"Ready", "BackupHealthy", "LocationsHealthy", "Verified"}
    assert backup.condition("Ready")["reason"] == "AppliedAgain"
    assert status["runner"] == "backup-db-shop"
    assert "lastAttempt" not in status, "what is reported no more goes"
    assert [one["name"] for one in status["locations"]] == ["s3"]
    assert status["storedBackups"] == 4


def test_of_many_reports_the_last_is_written_and_the_others_are_not(
    backup: Object, kubernetes_server: KubernetesServer
) -> None:
    sink = backup.sink()
    sink.start()
    sink.report(_judged(_GOOD))
    _until(backup.status)

    for count in range(100):
        sink.report(_judged(evolve(_GOOD, stored_backups=count)))
    backup.clock.wait_for_waiters()
    backup.clock.advance(3)
    _until(lambda: backup.status()["storedBackups"] == 99)
    backup.clock.wait_for_waiters()
    for _ in range(5):
        sink.report(_judged(evolve(_GOOD, stored_backups=99)))  # says nothing new
    backup.clock.advance(100)
    backup.clock.wait_for_waiters()

    writes = [
        entry
        for entry in kubernetes_server.audit_entries()
        if entry.namespace == backup.namespace and entry.verb == "patch"
    ]
    assert len(writes) == 2


def test_a_status_that_somebody_else_changed_is_mended_within_the_hour(backup: Object) -> None:
    sink = backup.sink()
    sink.start()
    sink.report(_judged(_GOOD))
    _until(backup.status)
    backup.clock.wait_for_waiters()
    backup.client.patch(
        DATABASE_BACKUPS,
        "shop",
        {"status": {"storedBackups": 77}},
        namespace=backup.namespace,
        subresource="status",
    )
    backup.clock.advance(3600)

    _until(lambda: backup.status()["storedBackups"] == 3)


def test_a_successor_goes_on_from_what_was_reported(backup: Object) -> None:
    first = backup.sink()
    first.start()
    verified = VerificationSummary(backup_id="b1", finished_at=START, succeeded=True)
    reported = _judged(evolve(_GOOD, last_verification=verified))
    first.report(reported)
    first.stop(flush=True)

    former = backup.sink().start()

    assert former == reported


def test_a_runner_that_ends_hands_on_its_last_word(backup: Object) -> None:
    sink = backup.sink()
    sink.start()
    sink.report(_judged(_GOOD))
    _until(backup.status)

    sink.report(_judged(evolve(_GOOD, stored_backups=9)))  # waits for its time
    sink.stop(flush=True)

    assert backup.status()["storedBackups"] == 9


def test_a_runner_that_lost_its_fence_says_nothing_more(backup: Object) -> None:
    sink = backup.sink()
    sink.start()
    sink.report(_judged(_GOOD))
    _until(backup.status)
    backup.clock.wait_for_waiters()

    sink.report(_judged(evolve(_GOOD, stored_backups=9)))
    sink.stop(flush=False)

    assert backup.status()["storedBackups"] == 3


def test_a_runner_that_was_overtaken_has_not_the_last_word(backup: Object) -> None:
    overtaken = threading.Event()

    def confirm() -> bool:
        if overtaken.is_set():
            raise Overtaken("pod-2 holds the Lease")
        return True

    sink = backup.sink(confirm=confirm)
    sink.start()
    sink.report(_judged(_GOOD))
    _until(backup.status)
    backup.clock.wait_for_waiters()
    before = backup.status(), backup.events()
    overtaken.set()

    failed = AttemptSummary(started_at=START, finished_at=START, succeeded=False, reason="JobLost")
    sink.report(_judged(evolve(_GOOD, stored_backups=9, last_attempt=failed)))
    backup.clock.advance(3)
    sink.stop(flush=True)

    assert (backup.status(), backup.events()) == before


def test_while_nobody_says_who_holds_the_fence_the_status_waits(backup: Object) -> None:
    known, asked = threading.Event(), threading.Event()

    def confirm() -> bool:
        asked.set()
        return known.is_set()

    sink = backup.sink(confirm=confirm)
    sink.start()
    sink.report(_judged(_GOOD))
    assert asked.wait(20)
    backup.clock.wait_for_waiters()
    assert backup.status() == {}

    known.set()
    backup.clock.advance(60)

    _until(backup.status)
    assert backup.status()["storedBackups"] == 3


def test_an_outage_is_waited_out_and_a_former_status_is_not_lost_in_it(
    backup: Object, kubernetes_server: KubernetesServer, new_client: Callable[..., Client]
) -> None:
    since = START - timedelta(days=9)
    former = evolve(
        _GOOD,
        last_verification=VerificationSummary(backup_id="b0", finished_at=START, succeeded=True),
        conditions=(
            Condition(
                type="BackupHealthy",
                status=ConditionStatus.TRUE,
                reason="BackupSucceeded",
                last_transition_time=since,
            ),
        ),
    )
    first = backup.sink()
    first.start()
    first.report(former)
    first.stop(flush=True)
    sink = backup.sink(new_client(connect_timeout_s=0.3, read_timeout_s=0.3))
    kubernetes_server.suspend()
    try:
        assert sink.start() == DatabaseBackupStatus()
        begun_mono = time.monotonic()
        for count in range(50):
            sink.report(_judged(evolve(_GOOD, stored_backups=count)))
        assert time.monotonic() - begun_mono < 0.25, "no report waits for the API server"
        for seconds in (1, 2, 4):
            backup.clock.wait_for_waiters()
            backup.clock.advance(seconds)
        backup.clock.wait_for_waiters()
    finally:
        kubernetes_server.resume()

    backup.clock.advance(8)

    _until(lambda: backup.status()["storedBackups"] == 49)
    assert backup.status()["lastVerification"]["backupId"] == "b0"
    assert backup.condition("BackupHealthy")["lastTransitionTime"] == "2026-11-14T10:00:00Z"


def test_events_tell_what_changed_and_nothing_twice(backup: Object) -> None:
    sink = backup.sink()
    sink.start()
    failing = LocationStatus(name="gcs", healthy=False, reason="AccessDenied", message="grant it")
    failed = AttemptSummary(
        started_at=START, finished_at=START, succeeded=False, reason="JobLost", message="killed"
    )
    running = AttemptSummary(started_at=START)

    bad = evolve(_GOOD, locations=(_GOOD.locations[0], failing), last_attempt=failed)
    for status in (
        evolve(_GOOD, last_attempt=running, last_backup=None),
        bad,
        evolve(bad, last_attempt=running),
        bad,  # within the same minutes: the same words
        _GOOD,
        evolve(_GOOD, stored_backups=8),
    ):
        sink.report(_judged(status))

    _until(lambda: len(backup.events()) == 4)
    assert sorted(backup.events()) == [
        ("Normal", "BackupSucceeded", "the newest backup is b1, in s3, gcs"),
        ("Normal", "LocationRecovered", "gcs"),
        ("Warning", "BackupFailed", "JobLost: killed"),
        ("Warning", "LocationFailed", "gcs: AccessDenied: grant it"),
    ]
    (event, *_) = backup.client.list(EVENTS, Selection(namespace=backup.namespace)).items
    assert event["involvedObject"]["name"] == "shop"
    assert event["reportingInstance"] == "pod-1"


def test_a_status_that_may_not_be_written_does_not_keep_events_back(
    backup: Object, client_of: ClientFor
) -> None:
    sink = backup.sink(client_of("poor", _RULES[0], _RULES[2]))
    sink.start()

    failed = AttemptSummary(started_at=START, finished_at=START, succeeded=False, reason="JobLost")
    sink.report(_judged(evolve(_GOOD, last_attempt=failed)))

    _until(backup.events)
    assert backup.status() == {}


def test_that_everything_is_deleted_is_never_said_of_a_later_object(backup: Object) -> None:
    uid = backup.read()["metadata"]["uid"]
    deleted = Verdict(ConditionStatus.TRUE, "Deleted", "s3: deleted 3 backups")
    status = evolve(_GOOD, conditions=assess(_GOOD, _BASIS, START, deletion=deleted))
    sink = backup.sink(uid=uid)
    sink.start()
    sink.report(status)
    _until(backup.status)
    assert backup.condition("DataDeleted")["status"] == "True"

    backup.client.delete(DATABASE_BACKUPS, "shop", namespace=backup.namespace)
    manifest = a_backup_manifest()
    manifest["metadata"] = {"namespace": backup.namespace, "name": "shop"}
    backup.client.create(DATABASE_BACKUPS, manifest)
    sink.report(evolve(status, stored_backups=0))
    sink.stop(flush=True)

    assert backup.status() == {}
