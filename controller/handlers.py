"""Which keys have to be looked at after a change: computed from values, and added.

An object's key after a change of itself; the keys of all that depend on what
changed, before and after. A resync delivers the same value twice, and concerns
the object itself alone: what depends on it has a resync of its own.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen

from controller.api.keys import ObjectKey
from controller.availability import SeenPod
from controller.cache.store import Change, Lister
from controller.projections import (
    BY_CLASS,
    BY_SECRET,
    SeenBackup,
    SeenChild,
    SeenClass,
    SeenSecret,
)
from controller.queue.workqueue import WorkQueue

#: A reconcile's own writes come back as events: one look when all of them are seen.
_CHILDREN_SETTLE_S = 0.5
#: A class is told by each of its objects: one look for many of them.
_USERS_SETTLE_S = 1.0


@frozen(kw_only=True)
class Handlers:
    """Handlers of all informers.

    Args:
        deployments: of the runners.
        pull_secret: name of the Secret that all runners have a copy of; empty: none.
        cause: told of objects whose next reconcile has a reason to ask the
            server for what no cache shows.
    """

    backup_queue: WorkQueue[ObjectKey]
    class_queue: WorkQueue[ObjectKey]
    backups: Lister[SeenBackup]
    classes: Lister[SeenClass]
    deployments: Lister[SeenChild]
    pull_secret: str
    cause: Callable[[ObjectKey], None]

    def on_backup(self, change: Change[SeenBackup]) -> None:
        old, new = change.old, change.new
        if old is None or new is None or old.spec_json != new.spec_json:
            self.cause(change.key)
        self.backup_queue.add(change.key)
        was = (old.uid, old.class_name, old.locations) if old else None
        now = (new.uid, new.class_name, new.locations) if new else None
        if was == now:
            return
        for name in {one.class_name for one in (old, new) if one and one.class_name}:
            self.class_queue.add_after(ObjectKey("", name), _USERS_SETTLE_S)

    def on_class(self, change: Change[SeenClass]) -> None:
        self.class_queue.add(change.key)
        old, new = change.old, change.new
        if old is None or new is None or (old.uid, old.spec_json) != (new.uid, new.spec_json):
            self._wake_users(change.key.name)

    def on_secret(self, change: Change[SeenSecret]) -> None:
        if change.old is change.new:
            return
        for key in self.classes.index_keys(BY_SECRET, change.key.name):
            self.class_queue.add(key)
            self._wake_users(key.name)
        if change.key.name == self.pull_secret:
            # No cause to look at anything else: a copy that has to change is seen by its digest.
            for seen in self.backups.values():
                self.backup_queue.add(seen.key)

    def on_child(self, change: Change[SeenChild]) -> None:
        if change.old is change.new:
            return
        owners = {name for one in (change.old, change.new) if one for _, name in one.owners}
        for name in owners:
            key = ObjectKey(change.key.namespace, name)
            if change.old is not None:
                self.cause(key)
            self.backup_queue.add_after(key, _CHILDREN_SETTLE_S)

    def on_pod(self, change: Change[SeenPod]) -> None:
        if change.old is change.new:
            return
        for runner in {one.runner for one in (change.old, change.new) if one and one.runner}:
            # One that is not there yet comes with a change of its own.
            deployment = self.deployments.get(runner)
            for _, name in deployment.owners if deployment else ():
                self.backup_queue.add_after(ObjectKey(runner.namespace, name), _CHILDREN_SETTLE_S)

    def _wake_users(self, class_name: str) -> None:
        for key in self.backups.index_keys(BY_CLASS, class_name):
            self.cause(key)
            self.backup_queue.add(key)
