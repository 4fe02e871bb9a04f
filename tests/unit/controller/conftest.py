from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fakes.threads import no_thread_survives
from tests.unit.controller.a_reconciler import KEY, Bench

__all__ = ["no_thread_survives"]


@pytest.fixture
def bench() -> Iterator[Bench]:
    """An object whose runner is up; nobody may write to what the caches share."""
    bench = Bench()
    assert bench.reconcile(KEY) is None
    bench.catch_up()
    bench.set_rollout(is_available=True)
    assert bench.reconcile(KEY) is None
    bench.catch_up()
    yield bench
    bench.detector.check()
