"""Objects on an API server that applies what it is sent, and can be told to refuse."""

from __future__ import annotations

import copy
from collections import defaultdict, deque
from typing import Any

from attrs import frozen

from controller.api.errors import ApiConflict, BackupError, ObjectNotFound
from controller.kube.resource import Resource

_Raw = dict[str, Any]


@frozen
class Write:
    """One write that was asked for."""

    verb: str
    resource: Resource
    name: str


class FakeObjects:
    """A `controller.apply.Writer`: what is applied replaces what that manager applied before.

    It fills in no defaults and knows no schema: for that there is a real API server.
    """

    def __init__(self) -> None:
        self.objects: dict[tuple[Resource, str, str], _Raw] = {}
        self.writes: list[Write] = []
        #: Whether an apply with a resourceVersion makes the object that is not there.
        self.creates_with_version = True
        #: Statuses by kind and name, as they were applied last.
        self.statuses: dict[tuple[Resource, str], _Raw] = {}
        # What the next requests with a verb get instead of an answer.
        self._errors: dict[str, deque[BackupError]] = defaultdict(deque)

    def fail_next(self, verb: str, *errors: BackupError) -> None:
        self._errors[verb].extend(errors)

    def written(self, verb: str, resource: Resource) -> int:
        return sum((one.verb, one.resource) == (verb, resource) for one in self.writes)

    def get(self, resource: Resource, name: str, *, namespace: str | None = None) -> _Raw:
        self._fail("get")
        try:
            return copy.deepcopy(self.objects[resource, namespace or "", name])
        except KeyError:
            raise ObjectNotFound(name) from None

    def apply(
        self, resource: Resource, raw: _Raw, *, field_manager: str, force: bool = False
    ) -> _Raw:
        name = self._note("apply", resource, raw)
        namespace = raw["metadata"].get("namespace", "")
        before = self.objects.get((resource, namespace, name), {})
        uid = before.get("metadata", {}).get("uid")
        if raw["metadata"].get("uid", uid) != uid:
            raise ApiConflict(f"{name} has another uid, or is not there")
        stored = copy.deepcopy(raw)
        # No object has one here, so a given one fits none.
        is_versioned = stored["metadata"].pop("resourceVersion", None) is not None
        if is_versioned and (before or not self.creates_with_version):
            raise ApiConflict(name)
        if before and not force:
            raise ApiConflict(f"{name}: its fields are somebody else's")
        stored["metadata"] |= {
            "uid": uid or f"{resource.plural}-{name}",
            "generation": before.get("metadata", {}).get("generation", 0) + 1,
            "managedFields": [
                {
                    "manager": field_manager,
                    "operation": "Apply",
                    "fieldsV1": _fields(raw),
                }
            ],
        }
        self.objects[resource, namespace, name] = before | stored
        return copy.deepcopy(self.objects[resource, namespace, name])

    def apply_status(
        self, resource: Resource, raw: _Raw, *, field_manager: str, force: bool = False
    ) -> _Raw:
        name = self._note("status", resource, raw)
        self.statuses[resource, name] = copy.deepcopy(raw["status"])
        return raw

    def patch(
        self,
        resource: Resource,
        name: str,
        raw: _Raw,
        *,
        namespace: str | None = None,
        field_manager: str = "",
    ) -> _Raw:
        self._fail("patch")
        self.writes.append(Write("patch", resource, name))
        return raw

    def delete(
        self, resource: Resource, name: str, *, namespace: str | None = None, uid: str = ""
    ) -> None:
        self._fail("delete")
        self.writes.append(Write("delete", resource, name))
        if self.objects.pop((resource, namespace or "", name), None) is None:
            raise ObjectNotFound(name)

    def _note(self, verb: str, resource: Resource, raw: _Raw) -> str:
        self._fail(verb)
        name: str = raw["metadata"]["name"]
        self.writes.append(Write(verb, resource, name))
        return name

    def _fail(self, verb: str) -> None:
        if self._errors[verb]:
            raise self._errors[verb].popleft()


#: Nobody owns these.
_IDENTITY = {"apiVersion", "kind", "name", "namespace", "uid", "resourceVersion"}


def _fields(value: Any) -> _Raw:
    """What of it is owned: each field of a map, a list as a whole."""
    if not isinstance(value, dict):
        return {}
    return {f"f:{key}": _fields(below) for key, below in value.items() if key not in _IDENTITY}
