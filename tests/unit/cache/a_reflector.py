"""A reflector of an API server in memory."""

from __future__ import annotations

import threading
from typing import Any

from controller.api.errors import ApiUnavailable
from controller.cache.reflector import Reflector
from controller.cache.store import Store
from tests.fakes.clock import FakeClock
from tests.fakes.listwatch import Cut, FakeKind

REFUSED = ApiUnavailable("connection refused")
SILENT = ApiUnavailable("nothing came for 40 s")


class World:
    """An API server in memory, a reflector of it, and the store it fills."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.kind = FakeKind(self.clock)
        self.store = Store[dict[str, Any]](dict)
        self.stop = threading.Event()
        self.reflector = Reflector(
            "things", self.kind, self.store, clock=self.clock, jitter=lambda: 0.0
        )

    def step(self, cut: Cut | None = None) -> float:
        """One step whose watch delivers everything, lasts a minute and ends in order."""
        self.kind.cut_watch(cut or Cut(lasts_s=60))
        return self.reflector.list_and_watch_once(self.stop)

    def fail(self, error: Exception) -> float:
        """One step whose watch is refused."""
        self.kind.fail_watch(error)
        return self.reflector.list_and_watch_once(self.stop)

    @property
    def lists(self) -> int:
        return self.reflector.counts().lists

    def is_in_step(self) -> bool:
        return {key: self.store.get(key) for key in self.store.keys()} == self.kind.objects()  # noqa: SIM118 - a store is no dict


def names(world: World) -> set[str]:
    return {key.name for key in world.store.keys()}  # noqa: SIM118 - a store is no dict
