"""Makes the children of an object be as desired: writes what differs, and nothing else.

It decides what is ours. An object of a child's name that we did not make is
left alone and reported, whatever is desired: names have a hash in them, so it
did not come there by chance.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping
from typing import Any, Protocol

from controller.api.errors import (
    ApiConflict,
    ApiRefused,
    ObjectExists,
    ObjectNotFound,
    WaitingError,
)
from controller.api.keys import ObjectKey
from controller.difference import differences, owned_fields
from controller.kube.client import Raw
from controller.kube.resource import Resource
from controller.process.logging import kv

log = logging.getLogger(__name__)

#: Of all that the controller applies; a constant, for owned fields are found by it.
FIELD_MANAGER = "db-backup-controller"
_MANAGED_BY = "app.kubernetes.io/managed-by"
#: Etcd's very first revision. An apply that carries an object's resourceVersion is refused as a
#: conflict unless the object has that one; where there is none it makes the object, which no
#: documentation promises.
_OF_NO_OBJECT = "1"
#: The garbage collector is asynchronous, and mostly faster.
_GARBAGE_WAIT_S = 5.0


class Writer(Protocol):
    """What this needs of a client."""

    def get(self, resource: Resource, name: str, *, namespace: str | None = None) -> Raw: ...
    def apply(
        self, resource: Resource, raw: Raw, *, field_manager: str, force: bool = False
    ) -> Raw: ...
    def apply_status(
        self, resource: Resource, raw: Raw, *, field_manager: str, force: bool = False
    ) -> Raw: ...
    def patch(
        self,
        resource: Resource,
        name: str,
        raw: Raw,
        *,
        namespace: str | None = None,
        field_manager: str = "",
    ) -> Raw: ...
    def delete(
        self, resource: Resource, name: str, *, namespace: str | None = None, uid: str = ""
    ) -> None: ...


class Applier:
    """Writes children.

    Threads: any; two that work on one child at once would be two reconciles of
        one key, which the queue rules out.
    """

    def __init__(self, client: Writer) -> None:
        self._client = client

    def read(self, resource: Resource, namespace: str, name: str) -> Raw | None:
        """The object as it is on the server; None: there is none.

        Args:
            namespace: empty for kinds that are in none.
        """
        try:
            return self._client.get(resource, name, namespace=namespace or None)
        except ObjectNotFound:
            return None

    def changes(self, resource: Resource, desired: Raw, actual: Raw) -> tuple[str, ...]:
        """Paths at which an existing child differs; empty: nothing to write.

        Raises:
            ObjectExists: it is not ours.
            WaitingError: it belongs to an earlier object of the same name, and goes.
        """
        check_ours(resource, desired, actual)
        return differences(desired, actual, field_manager=FIELD_MANAGER)

    def create(self, resource: Resource, desired: Raw) -> Raw | None:
        """Apply a child that is not there.

        Returns: what is there of its name, which is left alone; None: the child is made.
        """
        metadata = desired["metadata"]
        versioned = desired | {"metadata": metadata | {"resourceVersion": _OF_NO_OBJECT}}
        try:
            self._client.apply(resource, versioned, field_manager=FIELD_MANAGER, force=True)
        except ApiConflict:
            actual = self.read(resource, metadata["namespace"], metadata["name"])
            if actual is not None:
                return actual
            # It went just now; or that server takes a version for one of an object that has to be
            # there. Not forced: of what comes in this moment no field is taken from anybody.
            self._client.apply(resource, desired, field_manager=FIELD_MANAGER)
        log.info("child created", extra=kv(operation=resource.kind, object_key=_name(desired)))
        return None

    def write(
        self, resource: Resource, desired: Raw, changed: tuple[str, ...] = (), *, uid: str = ""
    ) -> Raw:
        """Apply the whole of a child.

        Args:
            changed: the paths that made it necessary, for the log.
            uid: of the object that was compared; empty: of whichever is there.
        Raises:
            ApiConflict: another one has taken its place since; it may be somebody else's.
        """
        if uid:
            desired = desired | {"metadata": desired["metadata"] | {"uid": uid}}
        try:
            written = self._client.apply(resource, desired, field_manager=FIELD_MANAGER, force=True)
        except ApiRefused as error:
            # A server has two ways to say that the uid is another one; the other is a conflict.
            if uid and "metadata.uid:" in str(error):
                raise ApiConflict(str(error)) from error
            raise
        log.info(
            "child changed",
            extra=kv(operation=resource.kind, object_key=_name(desired), reasons=changed[:10]),
        )
        return written

    def write_status(
        self, resource: Resource, raw: Raw, *, field_manager: str = FIELD_MANAGER
    ) -> bool:
        """Apply the controller's part of a status; False: the object is gone, and has none.

        Args:
            field_manager: another one for what is not of the whole that is applied else.
        Raises:
            ApiConflict: somebody wrote at the same moment, or it is another object of its name.
        """
        try:
            written = self._client.apply_status(
                resource, raw, field_manager=field_manager, force=True
            )
        except ObjectNotFound:
            return False
        # Of a custom resource's status a server does not check the uid that it is sent.
        if written["metadata"].get("uid") != raw["metadata"]["uid"]:
            raise ApiConflict(f"{resource.kind} {_name(raw)}: another one of its name came since")
        log.info("status changed", extra=kv(operation=resource.kind))
        return True

    def add_finalizer(self, resource: Resource, key: ObjectKey, uid: str, finalizer: str) -> None:
        """Put a finalizer on that very object; on one that is being deleted none can be put."""
        actual = self._very_object(resource, key, uid)
        if actual is None or "deletionTimestamp" in actual["metadata"]:
            return
        finalizers = actual["metadata"].get("finalizers") or []
        if finalizer not in finalizers:
            self._set_finalizers(resource, actual, [*finalizers, finalizer])
            log.info("finalizer added", extra=kv(operation=resource.kind, reason=finalizer))

    def drop_finalizer(self, resource: Resource, key: ObjectKey, uid: str, finalizer: str) -> None:
        """Take one finalizer off that very object, and leave the others."""
        actual = self._very_object(resource, key, uid)
        finalizers = (actual["metadata"].get("finalizers") or []) if actual else []
        if actual is not None and finalizer in finalizers:
            rest = [one for one in finalizers if one != finalizer]
            self._set_finalizers(resource, actual, rest)
            log.info("finalizer dropped", extra=kv(operation=resource.kind, reason=finalizer))

    def annotate(self, resource: Resource, actual: Raw, annotations: Mapping[str, str]) -> None:
        """Put annotations on an object that no apply of ours has; they stay when it is applied."""
        with contextlib.suppress(ObjectNotFound):
            self._client.patch(
                resource,
                actual["metadata"]["name"],
                {"metadata": {"annotations": dict(annotations)}},
                namespace=actual["metadata"].get("namespace"),
                field_manager=FIELD_MANAGER,
            )
            log.info("child annotated", extra=kv(operation=resource.kind, object_key=_name(actual)))

    def _very_object(self, resource: Resource, key: ObjectKey, uid: str) -> Raw | None:
        actual = self.read(resource, key.namespace, key.name)
        return actual if actual is not None and actual["metadata"]["uid"] == uid else None

    def _set_finalizers(self, resource: Resource, actual: Raw, finalizers: list[str]) -> None:
        """Write the whole list, if nobody wrote since it was read.

        No apply: of the Go original's finalizer we would not be the owner and could not
        take it away, and an apply would make an object that is gone.
        """
        metadata = actual["metadata"]
        version = {"resourceVersion": metadata["resourceVersion"]}
        with contextlib.suppress(ObjectNotFound):
            self._client.patch(
                resource,
                metadata["name"],
                {"metadata": {"finalizers": finalizers} | version},
                namespace=metadata.get("namespace"),
                field_manager=FIELD_MANAGER,
            )

    def remove(self, resource: Resource, namespace: str, name: str, uid: str) -> bool:
        """Delete a child that is not desired any more; False: that very one is gone."""
        try:
            self._client.delete(resource, name, namespace=namespace, uid=uid)
        except (ObjectNotFound, ApiConflict):
            return False  # gone, or another one of its name: not ours to judge
        log.info("child removed", extra=kv(operation=resource.kind, object_key=name))
        return True


def check_ours(resource: Resource, desired: Raw, actual: Raw) -> None:
    """Raise unless `actual` is the child that we made, of the same owner.

    The owner's uid proves it. Where somebody took the owner reference away, our
    labels together with fields that we applied do.

    Raises: as `Applier.changes`.
    """
    owner = desired["metadata"]["ownerReferences"][0]
    references = actual["metadata"].get("ownerReferences") or ()
    if any(reference.get("uid") == owner["uid"] for reference in references):
        return
    where = f"{resource.kind} {_name(actual)}"
    if not _is_labelled(desired, actual):
        raise ObjectExists(
            f"{where}: there is one that this object does not own; look whose it is, and rename"
            " or delete it"
        )
    if any(_is_same_name(reference, owner) for reference in references):
        raise WaitingError(
            f"{where}: belongs to an earlier {owner['kind']} of this name; the garbage collector"
            " removes it",
            retry_after_s=_GARBAGE_WAIT_S,
        )
    if references or not owned_fields(actual, FIELD_MANAGER):
        raise ObjectExists(
            f"{where}: has our labels and another owner; delete it, and it is made again"
        )


def _is_labelled(desired: Raw, actual: Raw) -> bool:
    wanted: Mapping[str, Any] = desired["metadata"].get("labels") or {}
    labels: Mapping[str, Any] = actual["metadata"].get("labels") or {}
    identifying = [key for key in wanted if key.startswith("db-backup.nect.com/src-")]
    return all(labels.get(key) == wanted.get(key) for key in (_MANAGED_BY, *identifying))


def _is_same_name(reference: Raw, owner: Raw) -> bool:
    return all(reference.get(key) == owner[key] for key in ("kind", "name"))


def _name(raw: Raw) -> str:
    return f"{raw['metadata'].get('namespace', '')}/{raw['metadata']['name']}"
