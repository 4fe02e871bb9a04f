"""Reconcilers of one object and one class, and a server that is in memory."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from controller.api.errors import AccessDenied, ApiRefused, FormatError, ObjectNotFound
from controller.api.keys import ObjectKey
from controller.api.lease import BUSY_UNTIL
from controller.api.names import child_name
from controller.apply import Applier
from controller.cache.mutation import MutationDetector
from controller.caches import Caches
from controller.events import EventRecorder
from controller.kube.events import Event
from controller.kube.resource import (
    DATABASE_BACKUPS,
    DEPLOYMENTS,
    LEASES,
)
from controller.reconcile import BackupReconciler
from controller.rollouts import Rollouts
from tests.builders import a_class_manifest
from tests.fakes.clock import FakeClock
from tests.fakes.objects import FakeObjects
from tests.unit.resources.samples import SETTINGS, a_raw_backup

KEY = ObjectKey("db", "shop")
RUNNER = child_name(KEY.namespace, KEY.name)
WIRE_TIME = "%Y-%m-%dT%H:%M:%S.%fZ"
#: What an API server may say no with though the object is right.
NO = (
    AccessDenied("may not"),
    ApiRefused("the server's certificate is not trusted"),
    FormatError("the answer is not JSON"),
    ObjectNotFound("not served"),
)


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
