"""Takes over from the Go original: removes its children where a runner of ours does their work.

All of it is here, around a reconcile that knows nothing of it, so that it goes
as a whole one day: with this module its line in `runtime`, and the two kinds in
deploy/rbac. Where there is nothing of the original nothing is asked or written.

The original's children have our labels and no owner, are named otherwise and
stand in its controller's namespace. Labels say whose they are; names say
nothing, as two objects may share one.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import Any

from attrs import frozen

from controller.api.keys import ObjectKey
from controller.api.v1 import DatabaseBackup
from controller.apply import Applier
from controller.cache.store import Change, Lister, Store
from controller.caches import Caches
from controller.events import EventRecorder, about
from controller.kube.client import Selection
from controller.kube.resource import (
    DATABASE_BACKUPS,
    SECRETS,
    SERVICES,
    STATEFUL_SETS,
    Resource,
)
from controller.process.logging import kv
from controller.projections import SeenBackup
from controller.queue.workqueue import WorkQueue
from controller.resources.labels import MANAGED_BY, SRC_NAME, SRC_NAMESPACE
from controller.worker import Reconcile, Refusals, RequeueAfter

log = logging.getLogger(__name__)

_LABELS = {
    "app.kubernetes.io/component": "runner",
    "app.kubernetes.io/managed-by": MANAGED_BY,
    "app.kubernetes.io/name": "db-backup",
}
_SOURCE = (SRC_NAMESPACE, SRC_NAME)
#: What the API server is asked for: objects with these labels, whatever object they are of.
SELECTION = Selection(
    labels=",".join([*(f"{key}={value}" for key, value in _LABELS.items()), *_SOURCE])
)
#: In the order of removal. Both have the name of the Secret, which may not be listed: the last
#: one goes when there is nothing left to find.
KINDS = (SERVICES, STATEFUL_SETS)

_BY_SOURCE = "source"


@frozen(kw_only=True)
class OldChild:
    """An object that has the labels of the original's children.

    Args:
        source: the DatabaseBackup that it was made for; None: it is somebody
            else's, or is going already.
    """

    key: ObjectKey
    uid: str
    source: ObjectKey | None


def new_stores() -> dict[Resource, Store[OldChild]]:
    """What the caches have to keep of the original."""
    return {one: Store(project_old_child, indexers={_BY_SOURCE: _sources_of}) for one in KINDS}


def project_old_child(raw: Mapping[str, Any]) -> OldChild:
    metadata = raw["metadata"]
    labels = metadata.get("labels") or {}
    source = ObjectKey(*(labels.get(key, "") for key in _SOURCE))
    is_old = (
        all(labels.get(key) == value for key, value in _LABELS.items())
        and all((source.namespace, source.name))
        # Children of ours have one, and so has what another controller made.
        and not metadata.get("ownerReferences")
        and "deletionTimestamp" not in metadata
    )
    return OldChild(
        key=ObjectKey.of(raw), uid=metadata.get("uid", ""), source=source if is_old else None
    )


def _sources_of(seen: OldChild) -> tuple[ObjectKey, ...]:
    return (seen.source,) if seen.source else ()


class Takeover:
    """Reconciles DatabaseBackups, and then removes what the original made for them.

    Of an object: when its own runner is up and has made a backup, or is to make
    none. Before that nobody knows whether it reaches database and buckets from
    where it is, and the old one does. Of an object that is gone: at once; the
    original did that by its finalizer, which is not waited for any more.

    Args:
        reconcile: what this is wrapped around; raises where there is no runner.
        queue: of the keys of DatabaseBackups.

    Threads: any number, with different keys.
    """

    def __init__(
        self,
        reconcile: Reconcile,
        caches: Caches,
        old: Mapping[Resource, Lister[OldChild]],
        applier: Applier,
        events: EventRecorder,
        *,
        queue: WorkQueue[ObjectKey],
    ) -> None:
        self._reconcile = reconcile
        self._caches = caches
        self._old = old
        self._applier = applier
        self._events = events
        self._queue = queue
        self._refusals = Refusals()

    def on_old_child(self, change: Change[OldChild]) -> None:
        """Have the object looked at whose old child came, changed or went."""
        for source in {one.source for one in (change.old, change.new) if one and one.source}:
            self._queue.add(source)

    def __call__(self, key: ObjectKey) -> RequeueAfter | None:
        wish = self._reconcile(key)
        if any(lister.index_keys(_BY_SOURCE, key) for lister in self._old.values()):
            with self._refusals.coming_again(key):
                self._take_over(key)
        return wish

    def _take_over(self, key: ObjectKey) -> None:
        if not self._is_time(key):
            return
        removed = tuple(self._remove(key))
        if not removed:
            return
        log.info("taken over from the Go original", extra=kv(reasons=removed))
        if seen := self._caches.backups.get(key):
            had = ", ".join(removed)
            words = f"the new runner took over; removed what the Go original had: {had}"
            regarding = about(DatabaseBackup.KIND, key, seen.uid)
            self._events.record(regarding, "Normal", "TakenOver", words)

    def _is_time(self, key: ObjectKey) -> bool:
        seen = self._caches.backups.get(key)
        if seen is not None:
            rollout = self._caches.rollout(key)
            is_up = rollout is not None and rollout.is_available
            is_proven = seen.has_backup or _is_suspended(seen)
            return seen.deleted_at is None and is_up and is_proven
        # A cache may be late, and an object that is just not seen yet has an old runner to keep.
        return self._applier.read(DATABASE_BACKUPS, key.namespace, key.name) is None

    def _remove(self, source: ObjectKey) -> Iterator[str]:
        """Remove all, and say what; after a death in between the rest is found again."""
        found = [
            (resource, one)
            for resource in KINDS
            for one in self._old[resource].by_index(_BY_SOURCE, source)
        ]
        for where in sorted({one.key for _, one in found}):
            raw = self._applier.read(SECRETS, where.namespace, where.name)
            secret = project_old_child(raw) if raw else None
            if secret is not None and secret.source == source:
                found.insert(0, (SECRETS, secret))
        for resource, one in found:
            if self._applier.remove(resource, one.key.namespace, one.key.name, one.uid):
                yield f"{resource.kind} {one.key}"


def _is_suspended(seen: SeenBackup) -> bool:
    return isinstance(seen.backup, DatabaseBackup) and seen.backup.spec.suspend
