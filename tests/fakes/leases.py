"""One Lease on an API server that can be out of reach, or lose its answers."""

from __future__ import annotations

import copy
from typing import Any

from controller.api.errors import ApiConflict, ApiUnavailable, ObjectExists, ObjectNotFound
from controller.kube.resource import Resource


class FakeLeases:
    """A `controller.leader.Leases` that keeps one object and its resource version."""

    def __init__(self) -> None:
        self.lease: dict[str, Any] | None = None
        self.version = 0
        self.is_reachable = True
        #: The next write takes effect, and its sender never hears of it.
        self.loses_answer = False

    @property
    def spec(self) -> dict[str, Any]:
        assert self.lease is not None
        return self.lease["spec"]

    def get(self, resource: Resource, name: str, *, namespace: str | None = None) -> dict[str, Any]:
        self._reach()
        if self.lease is None:
            raise ObjectNotFound(name)
        return copy.deepcopy(self.lease)

    def create(self, resource: Resource, raw: dict[str, Any]) -> dict[str, Any]:
        self._reach()
        if self.lease is not None:
            raise ObjectExists("there is one")
        return self._write(raw)

    def replace(self, resource: Resource, raw: dict[str, Any]) -> dict[str, Any]:
        self._reach()
        if self.lease is None:
            raise ObjectNotFound("gone")
        if raw["metadata"]["resourceVersion"] != str(self.version):
            raise ApiConflict("written since")
        return self._write(raw)

    def _reach(self) -> None:
        if not self.is_reachable:
            raise ApiUnavailable("cut off")

    def _write(self, raw: dict[str, Any]) -> dict[str, Any]:
        self.version += 1
        self.lease = copy.deepcopy(raw)
        self.lease["metadata"]["resourceVersion"] = str(self.version)
        if self.loses_answer:
            self.loses_answer = False
            raise ApiUnavailable("no answer")
        return copy.deepcopy(self.lease)
