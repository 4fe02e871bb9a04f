"""What becomes of an object that is deleted together with its backups: held, but never for ever.

The runner deletes the backups and says so in the object's status; the controller
keeps the runner meanwhile, and lets the object go when it is done, or cannot be
done, or when the time is over. All that is decided from the object, its Lease
and its namespace, so that it does not matter which controller looks, or after
how long a pause.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Literal

from attrs import frozen

from controller.api.conditions import Condition, ConditionStatus
from controller.api.deletion import FINALIZER
from controller.api.errors import DataRetained, InvalidSpec, TerminalError
from controller.api.keys import ObjectKey
from controller.api.lease import DELETION_MARK
from controller.api.locations import BackupLocation
from controller.api.names import child_name
from controller.api.v1 import DatabaseBackup, DatabaseBackupStorageClass, StorageType
from controller.apply import Applier
from controller.caches import Caches
from controller.events import EventRecorder, about
from controller.kube.client import Raw
from controller.kube.resource import DATABASE_BACKUPS, LEASES, NAMESPACES
from controller.process.clock import Clock
from controller.process.logging import kv
from controller.projections import SeenBackup
from controller.rollouts import BusyRunners
from controller.worker import RequeueAfter

log = logging.getLogger(__name__)

#: So long a runner has to delete, or to begin to; who is at it then may end its job.
_PATIENCE = timedelta(minutes=15)
_LOOK_AGAIN_S = 30.0
#: Of an object that cannot be decoded; `spec.timeout` where nobody said it.
_TIMEOUT = timedelta(hours=24)
#: `kubectl delete --cascade=foreground`: the garbage collector then takes the children first.
_FOREGROUND = "foregroundDeletion"


@frozen(kw_only=True)
class Facts:
    """What is known of an object that is deleted together with its backups.

    Args:
        report: the runner's condition; None: it has not said anything.
        is_namespace_ending: nothing can be made there any more, and all of it goes.
        busy_until: until when the runner's job may last; None: none runs.
        timeout: how long one job may last.
    """

    deleted_at: datetime
    report: Condition | None
    is_namespace_ending: bool
    busy_until: datetime | None
    timeout: timedelta


@frozen
class Release:
    """The object may go.

    Args:
        is_deleted: its backups are gone.
        words: what the runner said, or why they may not be.
    """

    is_deleted: bool
    words: str


@frozen
class Wait:
    look_again_s: float


def decide(facts: Facts, now: datetime) -> Release | Wait:
    """Say whether the object may go.

    Whatever a runner says or does, it ends: with the time that one job has, after
    the time that every runner has.
    """
    report = facts.report
    if report and report.status is ConditionStatus.TRUE:
        return Release(True, report.message)
    if report and report.reason == DataRetained.reason:
        return Release(False, report.message)
    said = f"{report.reason}: {report.message}" if report else "its runner did not say anything"
    if facts.is_namespace_ending:
        return Release(False, f"the namespace is being deleted, and its runner with it ({said})")
    left_s = (facts.deleted_at + _PATIENCE - now).total_seconds()
    if left_s > 0:
        return Wait(min(_LOOK_AGAIN_S, left_s))
    if facts.busy_until and now < facts.deleted_at + _PATIENCE + facts.timeout:
        return Wait(_LOOK_AGAIN_S)
    return Release(False, f"the time for it is over ({said})")


class Deletions:
    """Looks after objects that are being deleted.

    Threads: any, with different keys.
    """

    def __init__(
        self,
        caches: Caches,
        applier: Applier,
        events: EventRecorder,
        busy: BusyRunners,
        clock: Clock,
    ) -> None:
        self._caches = caches
        self._applier = applier
        self._events = events
        self._busy = busy
        self._clock = clock

    def hold(self, seen: SeenBackup) -> None:
        """Put the finalizer on an object that asks for it, before it has a runner."""
        if seen.deletes_data and FINALIZER not in seen.finalizers:
            self._applier.add_finalizer(DATABASE_BACKUPS, seen.key, seen.uid, FINALIZER)

    def drop(self, seen: SeenBackup) -> None:
        """Take the finalizer off, the Go original's too."""
        if FINALIZER in seen.finalizers:
            self._applier.drop_finalizer(DATABASE_BACKUPS, seen.key, seen.uid, FINALIZER)

    def reconcile(self, seen: SeenBackup, keep: Callable[[], None]) -> RequeueAfter | None:
        """Let an object go that is being deleted, or have its runner delete the backups.

        Args:
            keep: makes the runner be as desired; may fail, and then says so itself.
        """
        if seen.deleted_at is None or FINALIZER not in seen.finalizers:
            return None
        if not seen.deletes_data:
            self.drop(seen)
            return None
        lease = self._own_lease(seen)
        decision = decide(
            Facts(
                deleted_at=seen.deleted_at,
                report=seen.data_deleted,
                is_namespace_ending=self._is_ending(seen.key.namespace),
                busy_until=self._busy.busy_until(seen.key, lease),
                timeout=_TIMEOUT
                if isinstance(seen.backup, InvalidSpec)
                else seen.backup.spec.timeout,
            ),
            self._clock.now(),
        )
        if isinstance(decision, Release):
            self._release(seen, decision)
            return None
        if _FOREGROUND in seen.finalizers:
            # Else the runner goes before the data, again and again. The children go with
            # the object all the same, a moment after it.
            self._applier.drop_finalizer(DATABASE_BACKUPS, seen.key, seen.uid, _FOREGROUND)
        if lease is not None:
            self._mark(seen, lease)
        keep()
        return RequeueAfter(decision.look_again_s)

    def _own_lease(self, seen: SeenBackup) -> Raw | None:
        name = child_name(seen.key.namespace, seen.key.name)
        try:
            lease = self._applier.read(LEASES, seen.key.namespace, name)
        except TerminalError as error:
            log.warning("Lease not readable", extra=kv(error=str(error)))
            return None
        owners = lease["metadata"].get("ownerReferences") or () if lease else ()
        return lease if any(one.get("uid") == seen.uid for one in owners) else None

    def _is_ending(self, namespace: str) -> bool:
        try:
            found = self._applier.read(NAMESPACES, "", namespace)
        except TerminalError as error:
            # An older ClusterRole does not allow it. Then the time that there is decides alone.
            log.warning("namespace not readable", extra=kv(error=str(error)))
            return False
        return found is None or "deletionTimestamp" in found["metadata"]

    def _mark(self, seen: SeenBackup, lease: Raw) -> None:
        if DELETION_MARK in (lease["metadata"].get("annotations") or {}):
            return
        at = f"{seen.deleted_at:%Y-%m-%dT%H:%M:%SZ}"
        self._applier.annotate(LEASES, lease, {DELETION_MARK: at})
        self._tell(seen, "Normal", "DeletingData", "its runner deletes the backups first")

    def _release(self, seen: SeenBackup, decision: Release) -> None:
        if decision.is_deleted:
            self._tell(seen, "Normal", "DataDeleted", decision.words)
        else:
            found = self._caches.classes.get(ObjectKey("", seen.class_name))
            message = retained(seen, found.storage_class if found else None, decision.words)
            log.warning("backups stay where they are", extra=kv(error=message))
            self._tell(seen, "Warning", DataRetained.reason, message)
            if found is not None:
                # Nothing is told any more in a namespace that goes; and who has the buckets
                # looks here.
                regarding = about(DatabaseBackupStorageClass.KIND, found.key, found.uid)
                self._events.record(regarding, "Warning", DataRetained.reason, message)
        self.drop(seen)

    def _tell(
        self, seen: SeenBackup, kind: Literal["Normal", "Warning"], reason: str, message: str
    ) -> None:
        regarding = about(DatabaseBackup.KIND, seen.key, seen.uid)
        self._events.record(regarding, kind, reason, message)


def retained(
    seen: SeenBackup,
    storage_class: DatabaseBackupStorageClass | InvalidSpec | None,
    why: str,
) -> str:
    """Where backups may still be, how they are deleted, and why they were not."""
    if isinstance(storage_class, DatabaseBackupStorageClass):
        spec = storage_class.spec
        where = ", ".join(_folder(one, seen.key) for one in spec.backup_locations)
    else:
        where = f"the folder {seen.key}/ of each location of the class {seen.class_name}"
    return (
        f"backups of {seen.key} may still be in {where}. To have them deleted create the object"
        f" again and delete it once more, or delete these folders by hand. Why: {why}"
    )


def _folder(location: BackupLocation, key: ObjectKey) -> str:
    """Where the backups of one object are, as the tools of the store write it."""
    path = "/".join(filter(None, (location.storage_prefix.strip("/"), str(key)))) + "/"
    if location.storage_type is StorageType.FILESYSTEM:
        of = f" of the claim {location.claim_name}" if location.claim_name else ""
        return f"{location.name}: {location.path.rstrip('/')}/{path}{of}"
    scheme = "gs" if location.storage_type is StorageType.GCS else "s3"
    at = f" at {location.storage_endpoint}" if location.storage_endpoint else ""
    return f"{location.name}: {scheme}://{location.storage_bucket}/{path}{at}"
