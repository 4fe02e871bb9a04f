"""Informers: what handlers are told, when a cache may be believed, resync."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest

from controller.api.errors import ApiUnavailable
from controller.api.keys import ObjectKey
from controller.cache.informer import RESYNC_SLICES, Informer
from controller.cache.store import Change, Store
from tests.fakes.clock import FakeClock
from tests.fakes.listwatch import Cut, FakeKind

A_MINUTE = Cut(lasts_s=60)


def storage_class(object_raw: Mapping[str, Any]) -> str:
    return str(object_raw.get("storage_class", ""))


class World:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.kind = FakeKind(self.clock)
        self.stop = threading.Event()
        self.store = Store(storage_class)
        self.informer = Informer(
            "backups",
            self.kind,
            self.store,
            clock=self.clock,
            resync_period_s=600,
            jitter=lambda: 0.5,
        )
        self.told: list[Change[str]] = []
        self.informer.add_handler(self.told.append)

    def step(self, cut: Cut = A_MINUTE) -> None:
        self.kind.cut_watch(cut)
        self.informer.list_and_watch_once(self.stop)

    def take_told(self) -> list[Change[str]]:
        told, self.told[:] = self.told[:], []
        return told


@pytest.fixture
def world() -> World:
    return World()


def key(name: str) -> ObjectKey:
    return ObjectKey("db", name)


def test_handlers_are_told_of_all_that_is_there_first(world: World) -> None:
    world.kind.put("a", storage_class="gold")

    world.step()

    assert world.told == [Change(key("a"), None, "gold")]


def test_handlers_get_the_value_before_and_after(world: World) -> None:
    """The class that an object left has to be looked at as well."""
    world.kind.put("a", storage_class="gold")
    world.step()
    world.take_told()
    world.kind.put("a", storage_class="silver")
    world.kind.delete("a")

    world.step()

    assert world.told == [Change(key("a"), "gold", "silver"), Change(key("a"), "silver", None)]


def test_handlers_find_the_store_as_they_were_told(world: World) -> None:
    found: list[str | None] = []
    world.informer.add_handler(lambda change: found.append(world.store.get(change.key)))
    world.kind.put("a", storage_class="gold")
    world.step()
    world.kind.delete("a")

    world.step()

    assert found == ["gold", None]


def test_what_the_projection_does_not_see_wakes_nobody(world: World) -> None:
    world.kind.put("a", storage_class="gold", heartbeat=1)
    world.step()
    world.take_told()
    world.kind.put("a", storage_class="gold", heartbeat=2)

    world.step()

    assert world.told == []


def test_a_delete_missed_while_disconnected_is_told_after_the_list(world: World) -> None:
    world.kind.put("kept", storage_class="gold")
    world.kind.put("deleted", storage_class="gold")
    world.step()
    world.take_told()
    world.kind.delete("deleted")
    world.kind.compact()
    world.step()

    world.step()

    assert world.told == [Change(key("deleted"), "gold", None)]


def test_it_has_synced_once_the_first_list_was_delivered(world: World) -> None:
    before = world.informer.has_synced()
    during: list[bool] = []
    world.informer.add_handler(lambda _: during.append(world.informer.has_synced()))
    world.kind.put("a")
    world.kind.fail_list(ApiUnavailable("refused"))
    world.informer.list_and_watch_once(world.stop)
    after_a_failure = world.informer.has_synced()

    world.step()

    assert (before, after_a_failure, during) == (False, False, [False])
    assert world.informer.has_synced()
    assert world.informer.wait_until_synced()


def test_an_empty_kind_has_synced_too(world: World) -> None:
    world.step()

    assert world.informer.has_synced()


def test_who_waits_for_a_sync_is_told_when_there_will_be_none(world: World) -> None:
    answers: list[bool] = []
    waiter = threading.Thread(target=lambda: answers.append(world.informer.wait_until_synced()))
    waiter.start()

    world.stop.set()
    world.informer.run(world.stop)
    waiter.join(5)

    assert answers == [False]


def test_a_handler_that_fails_costs_the_others_nothing(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_change: Change[str]) -> None:
        raise ZeroDivisionError

    told_too: list[Change[str]] = []
    world.informer.add_handler(broken)
    world.informer.add_handler(told_too.append)
    world.kind.put("a", storage_class="gold")
    world.kind.put("b", storage_class="gold")

    world.step()

    assert [change.key for change in told_too] == [key("a"), key("b")]
    assert world.informer.counts().lists == 1
    assert world.informer.handler_failures == 2
    assert [record.levelno for record in caplog.records] == [logging.ERROR] * 2


def test_resync_delivers_each_object_once_a_period_from_the_cache(world: World) -> None:
    for number in range(150):
        world.kind.put(f"n{number}", storage_class="gold")
    world.step()
    world.take_told()
    slices = []

    for _ in range(RESYNC_SLICES):
        world.informer.resync_slice()
        slices.append(world.take_told())

    told = [change for changes in slices for change in changes]
    assert Counter(change.key for change in told) == Counter(world.store.keys())
    assert {(change.old, change.new) for change in told} == {("gold", "gold")}
    assert max(map(len, slices)) == 3
    assert world.informer.counts().lists == 1


def test_resync_does_not_bring_back_what_was_deleted_meanwhile(world: World) -> None:
    world.kind.put("a")
    world.kind.put("b")
    world.step()
    world.informer.resync_slice()
    world.kind.delete("b")
    world.step()
    world.take_told()

    for _ in range(RESYNC_SLICES - 1):
        world.informer.resync_slice()

    assert world.told == []


def test_resync_goes_round_and_round(world: World) -> None:
    world.kind.put("a")
    world.step()
    world.take_told()

    for _ in range(3 * RESYNC_SLICES):
        world.informer.resync_slice()

    assert len(world.told) == 3


def test_the_resync_loop_delivers_by_the_clock_and_ends_with_stop(world: World) -> None:
    world.kind.put("a")
    world.step()
    world.take_told()
    thread = threading.Thread(target=world.informer.run_resync, args=(world.stop,), daemon=True)
    thread.start()
    world.clock.wait_for_waiters(1)
    assert world.told == []

    world.clock.advance(600 / RESYNC_SLICES)
    world.clock.wait_for_waiters(1)
    world.stop.set()
    thread.join(5)

    assert len(world.told) == 1
    assert not thread.is_alive()


def test_run_follows_the_server_until_it_is_interrupted(world: World) -> None:
    thread = threading.Thread(target=world.informer.run, args=(world.stop,), daemon=True)
    world.kind.put("a", storage_class="gold")
    thread.start()
    assert world.informer.wait_until_synced()
    assert world.kind.reading.wait(5)

    world.stop.set()
    world.informer.interrupt()
    thread.join(5)

    assert not thread.is_alive()
    assert world.store.values() == ("gold",)
