"""A reflector's policies, each by its single step, against an API server in memory."""

from __future__ import annotations

import logging

import pytest

from controller.api.errors import (
    AccessDenied,
    ApiExpired,
    ApiThrottled,
    ApiUnavailable,
    FormatError,
)
from controller.api.keys import ObjectKey
from controller.cache.backoff import Backoff
from controller.cache.reflector import Ending
from controller.kube.watch import Listing, WatchEvent
from tests.fakes.clock import FakeClock
from tests.fakes.listwatch import Cut
from tests.unit.cache.a_reflector import REFUSED, SILENT, World, names


def test_the_first_step_lists_and_watches_on_from_there(world: World) -> None:
    world.kind.put("old")
    listed_at = world.kind.version

    delay_s = world.step()

    assert names(world) == {"old"}
    assert world.kind.watched_from == [listed_at]
    assert delay_s == 0


def test_events_reach_the_store(world: World) -> None:
    world.kind.put("kept")
    world.kind.put("deleted")
    world.step()
    world.kind.put("added")
    world.kind.put("kept", size=2)
    world.kind.delete("deleted")

    world.step()

    assert world.is_in_step()
    assert names(world) == {"kept", "added"}
    assert world.store.get(ObjectKey("db", "kept"))["size"] == 2
    assert world.reflector.counts().events == {
        "ADDED": 1,
        "MODIFIED": 1,
        "DELETED": 1,
        "BOOKMARK": 0,
    }


def test_an_end_of_stream_watches_on_from_the_last_version_without_a_list(world: World) -> None:
    world.step()
    world.kind.put("a")
    world.step()
    seen = world.kind.version

    delay_s = world.step()

    assert world.kind.watched_from[-1] == seen
    assert (world.lists, delay_s) == (1, 0)


def test_a_bookmark_moves_the_version_on(world: World) -> None:
    world.step()
    world.kind.bookmark()
    marked = world.kind.version
    world.step()

    world.step()

    assert world.kind.watched_from[-1] == marked
    assert world.lists == 1


@pytest.mark.parametrize("error", [ApiExpired("gone"), ApiExpired("410")])
def test_full_list_if_expired_when_opening(world: World, error: ApiExpired) -> None:
    world.step()
    delay_s = world.fail(error)
    world.step()

    assert (world.lists, delay_s) == (2, 0)


def test_full_list_if_expired_in_the_stream(world: World) -> None:
    world.step()
    delay_s = world.step(Cut(error=ApiExpired("too old")))
    world.step()

    assert (world.lists, delay_s) == (2, 0)


def test_full_list_after_a_compaction_finds_what_was_missed(world: World) -> None:
    world.kind.put("deleted meanwhile")
    world.step()
    world.kind.delete("deleted meanwhile")
    world.kind.put("created meanwhile")
    world.kind.compact()

    world.step()
    world.step()

    assert world.is_in_step()
    assert names(world) == {"created meanwhile"}


def test_a_version_that_expires_as_soon_as_it_was_listed_is_not_listed_at_once(
    world: World,
) -> None:
    delays = [world.fail(ApiExpired("gone")) for _ in range(3)]

    assert delays == pytest.approx([0.8, 1.6, 3.2])


def test_no_relist_on_too_many_requests(world: World) -> None:
    world.step()

    delay_s = world.fail(ApiThrottled("slow down", retry_after_s=7))
    in_stream_s = world.step(Cut(error=ApiThrottled("slow down", retry_after_s=3)))
    world.step()

    assert (delay_s, in_stream_s) == (7, 3)
    assert world.lists == 1
    assert world.reflector.counts().endings[Ending.THROTTLED] == 2


def test_a_throttled_list_waits_as_long_as_it_is_told(world: World) -> None:
    world.kind.fail_list(ApiThrottled("slow down", retry_after_s=11))

    delay_s = world.reflector.list_and_watch_once(world.stop)
    world.step()

    assert (delay_s, world.lists) == (11, 1)


@pytest.mark.parametrize("error", [REFUSED, SILENT])
def test_no_relist_when_the_server_is_unavailable_but_ever_longer_waits(
    world: World, error: ApiUnavailable
) -> None:
    world.step()

    delays = [world.fail(error) for _ in range(8)]
    world.step()

    assert delays == pytest.approx([0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30, 30])
    assert world.lists == 1


def test_a_failed_list_is_tried_again_after_a_wait(world: World) -> None:
    world.kind.fail_list(REFUSED)

    delay_s = world.reflector.list_and_watch_once(world.stop)
    world.step()

    assert delay_s == pytest.approx(0.8)
    assert (world.lists, len(world.kind.watched_from)) == (1, 1)


def test_an_unavailable_server_may_ask_for_more_time(world: World) -> None:
    assert world.fail(ApiUnavailable("starting", retry_after_s=5)) == 5


def test_a_connection_that_breaks_loses_no_event(world: World) -> None:
    world.step()
    for name in "abc":
        world.kind.put(name)

    delay_s = world.step(Cut(after=2, error=ApiUnavailable("connection reset")))
    after_the_break = names(world)
    world.step()

    assert after_the_break == {"a", "b"}
    assert delay_s == pytest.approx(0.8)
    assert world.is_in_step()
    assert world.lists == 1


def test_a_malformed_line_is_counted_and_leads_to_a_list(world: World) -> None:
    world.kind.put("a")
    world.step()

    delay_s = world.step(Cut(error=FormatError("a line is not JSON")))
    world.step()

    assert delay_s == pytest.approx(0.8)
    assert world.lists == 2
    assert world.reflector.counts().endings[Ending.MALFORMED] == 1


@pytest.mark.parametrize("metadata", [{}, {"resourceVersion": ""}, {"resourceVersion": 7}])
def test_an_object_without_a_version_is_malformed_and_not_taken(
    world: World, metadata: dict[str, object]
) -> None:
    world.step()
    world.kind.tell_raw(WatchEvent("ADDED", {"metadata": {"name": "odd", **metadata}}))

    world.step()

    assert names(world) == set()
    assert world.reflector.counts().endings[Ending.MALFORMED] == 1


def test_a_list_without_a_version_is_malformed_and_not_taken(world: World) -> None:
    world.kind.put("a")
    world.kind.list = lambda: Listing(({"metadata": {"name": "a"}},), "")  # type: ignore[method-assign]

    delay_s = world.step()

    assert (names(world), world.kind.watched_from) == (set(), [])
    assert delay_s == pytest.approx(0.8)


def test_a_watch_that_dies_at_once_for_nothing_backs_off_without_a_list(world: World) -> None:
    delays = [world.step(Cut(lasts_s=0.5)) for _ in range(3)]

    assert delays == pytest.approx([0.8, 1.6, 3.2])
    assert world.lists == 1
    assert world.reflector.counts().endings[Ending.TOO_SHORT] == 3


def test_a_short_watch_with_an_event_is_a_good_one(world: World) -> None:
    world.step()
    world.kind.bookmark()

    delay_s = world.step(Cut(lasts_s=0.5))

    assert delay_s == 0


def test_an_unknown_error_is_told_with_its_stack_and_leads_to_a_list(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.step()

    delay_s = world.fail(ZeroDivisionError("a defect"))
    world.step()

    assert delay_s == pytest.approx(0.8)
    assert world.lists == 2
    (record,) = (r for r in caplog.records if r.levelno == logging.ERROR)
    assert record.exc_info is not None


def test_missing_rights_are_asked_for_again_and_are_no_defect(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.kind.fail_list(AccessDenied("may not list"))

    delay_s = world.reflector.list_and_watch_once(world.stop)

    assert delay_s == pytest.approx(0.8)
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_waits_start_anew_only_after_two_quiet_minutes() -> None:
    clock = FakeClock()
    backoff = Backoff(clock=clock, jitter=lambda: 0.0)
    delays = []
    for pause_s in (0, 0, 119, 121, 0):
        clock.advance(pause_s)
        delays.append(backoff.next_s())

    assert delays == pytest.approx([0.8, 1.6, 3.2, 0.8, 1.6])


def test_waits_are_spread_by_up_to_their_own_length() -> None:
    backoff = Backoff(clock=FakeClock(), jitter=lambda: 1.0)

    delays = [backoff.next_s() for _ in range(8)]

    assert delays[0] == pytest.approx(1.6)
    assert max(delays) == pytest.approx(60)
