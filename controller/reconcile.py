"""Makes the cluster be as a DatabaseBackup says: reads, decides, applies, reports.

It is given a key and never an event: whatever happened, the whole desired state
is compared with what is there. It builds nothing, retries nothing and knows no
threads; `resources` builds, the worker retries.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import operator
import random
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any

import orjson
from attrs import field, frozen

from controller.api.conditions import ConditionStatus
from controller.api.errors import (
    BackupError,
    DependencyMissing,
    InvalidSpec,
    Problem,
    RetriableError,
)
from controller.api.keys import ObjectKey
from controller.api.names import child_name
from controller.api.v1 import DatabaseBackup, DatabaseBackupStorageClass
from controller.apply import Applier
from controller.availability import Rollout, rollout_of, trouble_of
from controller.caches import Caches
from controller.deletion import Deletions
from controller.events import EventRecorder, about
from controller.kube.client import Raw
from controller.kube.resource import (
    DATABASE_BACKUPS,
    DEPLOYMENTS,
    LEASES,
    Resource,
)
from controller.process.clock import Clock
from controller.process.logging import kv
from controller.projections import (
    BY_OWNER,
    READY,
    SeenBackup,
    SeenChild,
)
from controller.resources.desired import Settings, desired as build_desired
from controller.resources.labels import Child
from controller.rollouts import BusyRunners, HeldBack, Rollouts
from controller.status import (
    Found,
    applied_backup_status,
    backup_status,
    news,
)
from controller.worker import Refusals, RequeueAfter

log = logging.getLogger(__name__)

#: A fault that so many tries in a row did not get over is told.
_TELL_AFTER_FAILURES = 3
#: Children that may not be listed are asked for at least so often.
_VERIFY_EVERY_S = 86_400.0


@frozen
class _Made:
    """What became of a child.

    Args:
        rollout: how far a Deployment is that was written just now: no cache shows it yet.
    """

    held_back: HeldBack | None = None
    rollout: Rollout | None = None


_AS_DESIRED = _Made()


@frozen
class _Verified:
    """That children which no cache shows were as desired, and until when that is believed.

    Args:
        term: of leadership; in another one another replica may have written them.
    """

    uid: str
    digests: Mapping[tuple[Resource, str], bytes] = field(repr=False)
    until_mono: float
    term: int

    def is_believed(self, uid: str, term: int, now_mono: float) -> bool:
        return (self.uid, self.term) == (uid, term) and now_mono < self.until_mono


class BackupReconciler:
    """Reconciles DatabaseBackups.

    Args:
        namespace: where the classes' Secrets are.
        term: of this replica's leadership; another one each time that it begins.
        jitter: random numbers from 0 to 1.

    Threads: any number, with different keys.
    """

    def __init__(
        self,
        caches: Caches,
        applier: Applier,
        events: EventRecorder,
        rollouts: Rollouts,
        *,
        namespace: str,
        settings: Settings,
        clock: Clock,
        term: Callable[[], int],
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._caches = caches
        self._applier = applier
        self._events = events
        self._rollouts = rollouts
        self._busy = BusyRunners(clock)
        self._deletions = Deletions(caches, applier, events, self._busy, clock)
        self._namespace = namespace
        self._settings = settings
        self._clock = clock
        self._term = term
        self._jitter = jitter
        # Single operations on these are atomic, and a key is one worker's at a time.
        self._verified: dict[ObjectKey, _Verified] = {}
        self._caused: dict[ObjectKey, bool] = {}
        # What a reconcile saw that left nothing to do.
        self._settled: dict[ObjectKey, tuple[object, ...]] = {}
        # Passing faults in a row.
        self._failures: dict[ObjectKey, int] = {}
        self._refusals = Refusals()

    def cause(self, key: ObjectKey) -> None:
        """Have the next reconcile look at the server for what no cache shows."""
        self._caused[key] = True

    def __call__(self, key: ObjectKey) -> RequeueAfter | None:
        with self._refusals.coming_again(key):
            return self._reconcile(key)

    def _reconcile(self, key: ObjectKey) -> RequeueAfter | None:
        seen = self._caches.backups.get(key)
        if seen is None:
            # Its children go by their owner references.
            self._verified.pop(key, None)
            self._caused.pop(key, None)
            self._settled.pop(key, None)
            self._busy.forget(key)
            self._failures.pop(key, None)
            return None
        if seen.deleted_at is not None:
            return self._deletions.reconcile(seen, lambda: self._keep(seen))
        # Before anything is written: what that changes is seen in the next reconcile.
        all_seen = self._all_seen(seen)
        if self._is_settled(seen, all_seen):
            return None
        self._settled.pop(key, None)
        try:
            self._deletions.hold(seen)
            made = self._make(seen)
        except RetriableError as error:
            # Passing, mostly: then the status stays as it is.
            self._failures[key] = self._failures.get(key, 0) + 1
            if self._failures[key] >= _TELL_AFTER_FAILURES:
                with contextlib.suppress(BackupError):
                    self._report(seen, error=error)
            raise
        except Exception as error:
            self._failures.pop(key, None)
            self._report_failure(seen, error)
            raise
        self._failures.pop(key, None)
        self._report(seen, made=made)
        if not seen.deletes_data:
            self._deletions.drop(seen)
        if made.held_back:
            return RequeueAfter(made.held_back.look_again_s)
        self._settled[key] = all_seen
        return None

    def _all_seen(self, seen: SeenBackup) -> tuple[object, ...]:
        """All that a reconcile of this object reads of the caches: values that never change."""
        storage_class = self._caches.classes.get(ObjectKey("", seen.class_name))
        references = storage_class.secret_refs if storage_class else ()
        names = sorted({self._settings.pull_secret, *(one.name for one in references)})
        return (
            seen,
            storage_class,
            *(self._caches.secrets.get(ObjectKey(self._namespace, name)) for name in names),
            *self._children_seen(seen),
            *self._caches.pods_of(seen.key),
        )

    def _is_settled(self, seen: SeenBackup, all_seen: tuple[object, ...]) -> bool:
        """Whether nothing changed since a reconcile that left nothing to do.

        Most of a resync: building a runner's children takes a millisecond, and this a hundredth.
        """
        before, verified = self._settled.get(seen.key, ()), self._verified.get(seen.key)
        return (
            verified is not None
            and verified.is_believed(seen.uid, self._term(), self._now())
            and seen.key not in self._caused
            and len(before) == len(all_seen)
            and all(map(operator.is_, before, all_seen))
        )

    def _keep(self, seen: SeenBackup) -> None:
        """Keep the runner of an object that is being deleted; whether that works holds nobody up.

        What is missing or wrong is told: the runner that is there may do without.
        """
        try:
            self._report(seen, made=self._make(seen))
        except BackupError as error:
            log.warning("runner not kept", extra=kv(reason=error.reason, error=str(error)))
            with contextlib.suppress(BackupError):
                self._report(seen, error=error)

    def _make(self, seen: SeenBackup) -> _Made:
        """Make all children as desired; what became of the Deployment."""
        if isinstance(seen.backup, InvalidSpec):
            raise seen.backup.anew()
        desired = build_desired(
            seen.backup,
            self._storage_class(seen),
            raw_backup=seen.raw(),
            secrets=lambda reference: self._caches.secret(self._namespace, reference),
            settings=self._settings,
        )
        is_caused = self._caused.pop(seen.key, False)
        term, known = self._term(), self._verified.pop(seen.key, None)
        if is_caused or (known and not known.is_believed(seen.uid, term, self._now())):
            known = None
        digests: dict[tuple[Resource, str], bytes] = {}
        runner = _AS_DESIRED
        is_new = not any(self._children_seen(seen))
        for child in desired.children:
            identity = (child.resource, child.manifest["metadata"]["name"])
            if child.resource not in self._caches.children:
                digests[identity] = _digest(child.manifest)
                if known and known.digests.get(identity) == digests[identity]:
                    continue
            made = self._make_child(seen, child, is_new=is_new)
            if child.resource is DEPLOYMENTS:
                runner = made
        self._remove_others(seen, desired.children)
        until_mono = known.until_mono if known else self._now() + self._verify_after_s()
        self._verified[seen.key] = _Verified(seen.uid, digests, until_mono, term)
        return runner

    def _storage_class(self, seen: SeenBackup) -> DatabaseBackupStorageClass:
        name = seen.class_name
        found = self._caches.classes.get(ObjectKey("", name))
        if found is None:
            raise DependencyMissing(
                f"spec.backupStorageClass: there is no DatabaseBackupStorageClass {name};"
                " create it or name another one"
            )
        if isinstance(found.storage_class, InvalidSpec):
            raise InvalidSpec(
                Problem(f"DatabaseBackupStorageClass {name}: {one.path}", one.message)
                for one in found.storage_class.problems
            )
        return found.storage_class

    def _children_seen(self, seen: SeenBackup) -> Iterator[SeenChild]:
        for cache in self._caches.children.values():
            yield from cache.by_index(BY_OWNER, seen.uid)

    def _make_child(self, seen: SeenBackup, child: Child, *, is_new: bool) -> _Made:
        """Make one child as desired, or say why that has to wait."""
        actual = self._actual(child, is_new=is_new)
        if actual is None:
            # What is there then a cache is behind of, or does not show as it is somebody else's.
            actual = self._applier.create(child.resource, child.manifest)
            if actual is None:
                if child.resource is DEPLOYMENTS:
                    name = _name(child)
                    self._tell(seen, "Normal", "RunnerCreated", f"created Deployment {name}")
                return _AS_DESIRED
        changed = self._applier.changes(child.resource, child.manifest, actual)
        if not changed:
            return _AS_DESIRED
        is_roll = any(path.startswith("spec.template") for path in changed)
        if child.resource is DEPLOYMENTS and is_roll:
            if held_back := self._hold_back(seen, _name(child)):
                return _Made(held_back)
            self._tell(seen, "Normal", "RunnerReplaced", f"changed Deployment {_name(child)}")
        uid = actual["metadata"]["uid"]
        written = self._applier.write(child.resource, child.manifest, changed, uid=uid)
        return _Made(rollout=rollout_of(written)) if child.resource is DEPLOYMENTS else _AS_DESIRED

    def _actual(self, child: Child, *, is_new: bool) -> Raw | None:
        """The child as far as is known; None: try to create it.

        Args:
            is_new: no child was seen of its owner: none is looked for, either.
        """
        cache = self._caches.children.get(child.resource)
        namespace, name = child.manifest["metadata"]["namespace"], _name(child)
        if cache is None:
            return None if is_new else self._applier.read(child.resource, namespace, name)
        found = cache.get(ObjectKey(namespace, name))
        return found.raw() if found else None

    def _hold_back(self, seen: SeenBackup, name: str) -> HeldBack | None:
        def busy_until() -> datetime | None:
            lease = self._applier.read(LEASES, seen.key.namespace, name)
            return self._busy.busy_until(seen.key, lease)

        rollout = self._caches.rollout(seen.key)
        is_up = rollout is None or rollout.is_available
        return self._rollouts.hold_back(seen.key, busy_until=busy_until, is_up=is_up)

    def _remove_others(self, seen: SeenBackup, children: tuple[Child, ...]) -> None:
        """Delete what this object owns and does not want any more."""
        wanted = {(child.resource, _name(child)) for child in children}
        for resource, cache in self._caches.children.items():
            for other in cache.by_index(BY_OWNER, seen.uid):
                if (resource, other.key.name) not in wanted:
                    self._applier.remove(resource, other.key.namespace, other.key.name, other.uid)

    def _report_failure(self, seen: SeenBackup, error: Exception) -> None:
        try:
            self._report(seen, error=error)
        except RetriableError as unreported:
            # Else the status would be that of before until somebody changes the object.
            raise unreported from error
        except BackupError as unreported:
            error.add_note(f"and the status could not be written: {unreported}")

    def _report(
        self, seen: SeenBackup, *, error: Exception | None = None, made: _Made = _AS_DESIRED
    ) -> None:
        rollout = made.rollout or self._caches.rollout(seen.key)
        if rollout is None and error is None:
            # Just made: no cache has seen it yet.
            rollout = Rollout(is_available=False, is_complete=False)
        found = Found(
            runner=child_name(seen.key.namespace, seen.key.name),
            rollout=rollout,
            trouble=trouble_of(self._caches.pods_of(seen.key)),
            error=error,
            held_back=made.held_back.why if made.held_back else "",
        )
        status = backup_status(
            seen.status, found, generation=seen.generation, now=self._clock.now()
        )
        if status == seen.status:
            return
        applied = applied_backup_status(seen.key, seen.uid, status)
        if not self._applier.write_status(DATABASE_BACKUPS, applied):
            return
        is_new = not seen.status.conditions and rollout is not None and not rollout.is_available
        if (made.rollout or is_new) and not (found.trouble or error):
            return  # its runner was replaced or made just now, and that is told
        for changed in news(seen.status, status, found.trouble):
            is_well = changed.type == READY and changed.status is ConditionStatus.TRUE
            self._tell(seen, "Normal" if is_well else "Warning", changed.reason, changed.message)

    def _tell(self, seen: SeenBackup, kind: Any, reason: str, message: str) -> None:
        regarding = about(DatabaseBackup.KIND, seen.key, seen.uid)
        self._events.record(regarding, kind, reason, message)

    def _now(self) -> float:
        return self._clock.monotonic()

    def _verify_after_s(self) -> float:
        """Spread: after a start all are looked at in one minute, and a day later not again so."""
        return _VERIFY_EVERY_S * (0.5 + self._jitter() / 2)


def _name(child: Child) -> str:
    name: str = child.manifest["metadata"]["name"]
    return name


def _digest(manifest: Raw) -> bytes:
    """To see whether a manifest is the same; of secrets, so that only their hash is kept."""
    return hashlib.sha256(orjson.dumps(manifest, option=orjson.OPT_SORT_KEYS)).digest()
