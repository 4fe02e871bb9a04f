"""Takes back what a runner said last, once it is gone: that the database is protected.

Whether backups succeed the runner alone knows, and it alone writes BackupHealthy.
A pod that was evicted for weeks, or an image that cannot be pulled, would leave
its last True for ever, and nobody is told of a True. So one that has outlived
its next backup becomes Unknown, until a runner says something again. False and
Unknown stay: they call no database protected, and an alert on them must not end
because nobody is left to repeat it.

The condition stays the runner's. It is written once, as another field manager than
the rest of the controller's status, which therefore never has it and cannot put it
back over a runner's newer word; and it is never withdrawn, as the runner's next
report takes it over.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta

from controller.api.conditions import (
    BACKUP_HEALTHY,
    ConditionStatus,
    get_condition,
    set_condition,
)
from controller.api.errors import BackupError
from controller.api.keys import ObjectKey
from controller.api.status import DatabaseBackupStatus
from controller.api.v1 import DatabaseBackup
from controller.apply import FIELD_MANAGER, Applier
from controller.caches import Caches
from controller.events import EventRecorder, about
from controller.kube.resource import DATABASE_BACKUPS
from controller.process.clock import Clock
from controller.process.logging import kv
from controller.projections import RUNNER_AVAILABLE, SeenBackup, project_backup
from controller.queue.workqueue import WorkQueue
from controller.status import applied_backup_status
from controller.worker import Reconcile, Refusals, RequeueAfter

log = logging.getLogger(__name__)

RUNNER_GONE = "RunnerGone"
#: A runner that is replaced may take 11 minutes to end its job, and its successor 10 for the
#: first look at locations that do not answer.
_PATIENCE = timedelta(minutes=30)
_MANAGER = f"{FIELD_MANAGER}-gone"


def doubted_at(seen: SeenBackup) -> datetime | None:
    """From when on the runner's word does not count; None: it does, or says nothing good.

    Its next backup has to be overdue, and no pod to have been up for as long: then it is
    neither on its way nor just late.
    """
    available = get_condition(seen.status.conditions, RUNNER_AVAILABLE)
    if (
        seen.deleted_at is not None
        or seen.vouched_until is None
        or available is None
        or available.status is ConditionStatus.TRUE
        or available.last_transition_time is None
    ):
        return None
    return max(seen.vouched_until, available.last_transition_time) + _PATIENCE


class GoneRunners:
    """Reconciles DatabaseBackups, and looks whether their runners' word still counts.

    Args:
        reconcile: what this is wrapped around. It may fail: what is wrong with an object
            is no reason to call it protected.
        queue: of the keys of DatabaseBackups.

    Threads: any number, with different keys.
    """

    def __init__(
        self,
        reconcile: Reconcile,
        caches: Caches,
        applier: Applier,
        events: EventRecorder,
        *,
        queue: WorkQueue[ObjectKey],
        clock: Clock,
    ) -> None:
        self._reconcile = reconcile
        self._caches = caches
        self._applier = applier
        self._events = events
        self._queue = queue
        self._clock = clock
        self._refusals = Refusals()

    def __call__(self, key: ObjectKey) -> RequeueAfter | None:
        failure = self._look(key)
        wish = self._reconcile(key)
        if failure is not None:
            raise failure
        return wish

    def _look(self, key: ObjectKey) -> BackupError | None:
        """Doubt the runner's word if it is time, or come back then; what kept it from that."""
        seen = self._caches.backups.get(key)
        doubted = doubted_at(seen) if seen else None
        if seen is None or doubted is None:
            return None
        rollout = self._caches.rollout(key)
        if rollout is not None and rollout.is_available:
            return None  # the status is just behind
        left_s = (doubted - self._clock.now()).total_seconds()
        if left_s > 0:
            # No wish: a reconcile that fails has none, and nothing else wakes it then.
            self._queue.add_after(key, left_s)
            return None
        try:
            with self._refusals.coming_again(key):
                self._doubt(seen)
        except BackupError as error:
            return error
        return None

    def _doubt(self, cached: SeenBackup) -> None:
        """Write it over the very state that was looked at: a cache may be behind a runner's word.

        Raises: ApiConflict if somebody wrote since.
        """
        key = cached.key
        raw = self._applier.read(DATABASE_BACKUPS, key.namespace, key.name)
        seen, now = (project_backup(raw) if raw else None), self._clock.now()
        if raw is None or seen is None or seen.uid != cached.uid:
            return
        doubted = doubted_at(seen)
        if doubted is None or doubted > now or seen.vouched_until is None:
            return
        due = seen.vouched_until.astimezone(UTC)
        message = (
            f"no pod of the runner is up, and nothing is known of the backup that was due at"
            f" {due:%Y-%m-%dT%H:%MZ}; the condition RunnerAvailable says where to look"
        )
        conditions = set_condition(
            (),
            type=BACKUP_HEALTHY,
            status=ConditionStatus.UNKNOWN,
            reason=RUNNER_GONE,
            message=message,
            observed_generation=seen.generation,
            now=now.replace(microsecond=0),
        )
        applied = applied_backup_status(key, seen.uid, DatabaseBackupStatus(conditions=conditions))
        applied["metadata"]["resourceVersion"] = raw["metadata"]["resourceVersion"]
        if self._applier.write_status(DATABASE_BACKUPS, applied, field_manager=_MANAGER):
            log.warning("runner gone", extra=kv(reason=RUNNER_GONE))
            regarding = about(DatabaseBackup.KIND, key, seen.uid)
            self._events.record(regarding, "Warning", RUNNER_GONE, message)
