"""Says in a storage class's status whether it can be used, who uses it, and how that goes."""

from __future__ import annotations

from controller.api.errors import BackupError, DependencyMissing, InvalidSpec
from controller.api.keys import ObjectKey
from controller.api.v1 import DatabaseBackupStorageClass
from controller.apply import Applier
from controller.caches import Caches
from controller.kube.resource import DATABASE_BACKUP_STORAGE_CLASSES
from controller.process.clock import Clock
from controller.projections import BY_CLASS, SeenClass
from controller.status import applied_class_status, class_status, gather
from controller.worker import Refusals


class ClassReconciler:
    """Reconciles DatabaseBackupStorageClasses: they have a status, and no children.

    Threads: any number, with different keys.
    """

    def __init__(self, caches: Caches, applier: Applier, *, namespace: str, clock: Clock) -> None:
        self._caches = caches
        self._applier = applier
        self._namespace = namespace
        self._clock = clock
        self._refusals = Refusals()

    def __call__(self, key: ObjectKey) -> None:
        with self._refusals.coming_again(key):
            self._reconcile(key)

    def _reconcile(self, key: ObjectKey) -> None:
        seen = self._caches.classes.get(key)
        if seen is None or seen.is_deleting:
            return
        users = self._caches.backups.by_index(BY_CLASS, key.name)
        error = self._error(seen)
        names: tuple[str, ...] = ()
        if isinstance(seen.storage_class, DatabaseBackupStorageClass):
            spec = seen.storage_class.spec
            names = tuple(one.name for one in spec.backup_locations)
            # Who is refused is not counted, nor quoted where all can read it.
            users = tuple(one for one in users if spec.allows(one.key.namespace))
        status = class_status(
            seen.status,
            error=error,
            used_by=len(users),
            locations=gather(names, (user.locations for user in users)),
            generation=seen.generation,
            now=self._clock.now(),
        )
        if status != seen.status:
            self._applier.write_status(
                DATABASE_BACKUP_STORAGE_CLASSES, applied_class_status(key, seen.uid, status)
            )
        if error is not None:
            raise error

    def _error(self, seen: SeenClass) -> BackupError | None:
        if isinstance(seen.storage_class, InvalidSpec):
            return seen.storage_class.anew()
        missing = []
        for reference in sorted(seen.secret_refs, key=str):
            try:
                self._caches.secret(self._namespace, reference)
            except DependencyMissing as error:
                missing.append(str(error))
        return DependencyMissing("; ".join(missing)) if missing else None
