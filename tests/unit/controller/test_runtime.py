"""Whether a controller says that it is ready. How it starts and ends is in integration."""

from __future__ import annotations

import threading
from typing import Any

from controller.api.errors import AccessDenied
from controller.cache.informer import Informer
from controller.cache.store import Store
from controller.config import read
from controller.kube.client import Client
from controller.kube.endpoint import Endpoint
from controller.kube.resource import DEPLOYMENTS
from controller.metrics import ControllerMetrics
from controller.runtime import Runtime
from tests.fakes.clock import FakeClock
from tests.fakes.listwatch import Cut, FakeKind


def test_a_cache_that_is_not_current_any_more_is_not_ready_and_named() -> None:
    clock, stop = FakeClock(), threading.Event()
    kind = FakeKind(clock)
    informer = Informer("deployments", kind, Store[dict[str, Any]](dict), clock=clock)
    nowhere = Client(Endpoint(server="https://127.0.0.1:1"))
    runtime = Runtime(
        read({"IMAGE_PREFIX": "registry.example.com/runner"}, is_in_cluster=True),
        nowhere,
        nowhere,
        namespace="system",
        metrics=ControllerMetrics(version="1"),
        clock=clock,
    )
    runtime._informers[DEPLOYMENTS], runtime._obstacle = informer, ""
    assert runtime.readiness()[1]["waiting_for"] == ["deployments"]
    kind.cut_watch(Cut(lasts_s=60))
    informer.list_and_watch_once(stop)
    assert runtime.readiness()[0]

    kind.fail_watch(AccessDenied("the right to watch was taken away"))
    informer.list_and_watch_once(stop)
    clock.advance(299)
    assert runtime.readiness()[0]
    clock.advance(2)

    is_ready, why = runtime.readiness()
    assert not is_ready
    assert why["stale"] == ["deployments"]
    assert runtime.health()[0], "a restart would not help"
