"""A reflector as it runs: counts, interrupts, waits."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from controller.api.errors import ApiUnavailable
from controller.cache.reflector import Ending
from tests.unit.cache.a_reflector import REFUSED, World, names


def test_counts_start_with_zeros_for_everything(world: World) -> None:
    counts = world.reflector.counts()

    assert (counts.lists, counts.watches) == (0, 0)
    assert counts.endings == dict.fromkeys(Ending, 0)
    assert counts.events == {"ADDED": 0, "MODIFIED": 0, "DELETED": 0, "BOOKMARK": 0}


def running(world: World) -> threading.Thread:
    thread = threading.Thread(
        target=world.reflector.run, args=(world.stop,), name="reflector-things", daemon=True
    )
    thread.start()
    return thread


def seconds_to_interrupt(world: World) -> float:
    thread = running(world)
    assert world.kind.reading.wait(5)

    world.stop.set()
    began = time.monotonic()
    world.reflector.interrupt()
    thread.join(5)

    assert not thread.is_alive()
    assert sum(world.reflector.counts().endings.values()) == 0
    return time.monotonic() - began


def test_interrupt_ends_a_blocked_read_within_100_ms() -> None:
    """The quickest of three: it is not the machine's load that is asked for."""
    assert min(seconds_to_interrupt(World()) for _ in range(3)) < 0.1


def test_a_stop_during_the_opening_of_a_watch_is_seen(world: World) -> None:
    """`interrupt` came before there was a stream to interrupt."""
    opened = world.kind.watch

    def watch_late(version: str, /) -> Any:
        world.stop.set()
        world.reflector.interrupt()
        return opened(version)

    world.kind.watch = watch_late  # type: ignore[method-assign]
    thread = running(world)
    thread.join(5)

    assert not thread.is_alive()


def test_what_an_interrupted_read_raises_is_no_failure(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.stop.set()

    delay_s = world.fail(ApiUnavailable("the socket was shut"))

    assert delay_s == 0
    assert not caplog.records
    assert sum(world.reflector.counts().endings.values()) == 0


def test_interrupt_without_a_stream_does_nothing(world: World) -> None:
    world.reflector.interrupt()

    assert world.step() == 0


def test_run_waits_between_steps_and_a_stop_ends_the_wait(world: World) -> None:
    world.kind.fail_list(REFUSED)
    thread = running(world)
    world.clock.wait_for_waiters(1)
    assert world.lists == 0

    world.kind.fail_watch(REFUSED)
    world.clock.advance(0.8)
    world.clock.wait_for_waiters(1)
    assert world.lists == 1
    world.stop.set()
    thread.join(5)

    assert not thread.is_alive()


def test_run_follows_a_live_watch(world: World) -> None:
    seen = threading.Event()
    put = world.store.put

    def put_and_tell(object_raw: Any) -> Any:
        change = put(object_raw)
        seen.set()
        return change

    world.store.put = put_and_tell  # type: ignore[method-assign]
    thread = running(world)
    assert world.kind.reading.wait(5)

    world.kind.put("new")

    assert seen.wait(5)
    assert names(world) == {"new"}
    world.stop.set()
    world.reflector.interrupt()
    thread.join(5)
