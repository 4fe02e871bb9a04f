"""For how long a reflector may be behind."""

from __future__ import annotations

import threading

import pytest

from controller.api.errors import AccessDenied
from tests.fakes.listwatch import Cut
from tests.unit.cache.a_reflector import SILENT, World


class TestStaleness:
    """For how long what is known may have been overtaken."""

    def test_nothing_is_known_before_the_first_list(self, world: World) -> None:
        world.kind.fail_list(AccessDenied("may not list"))
        world.reflector.list_and_watch_once(world.stop)

        assert world.reflector.stale_s() is None

    def test_it_begins_when_a_watch_ends(self, world: World) -> None:
        world.step(Cut(lasts_s=400))
        assert world.reflector.stale_s() == 0

        world.clock.advance(10)

        assert world.reflector.stale_s() == 10

    def test_there_is_none_while_a_watch_is_open(self, world: World) -> None:
        reader = threading.Thread(target=world.reflector.list_and_watch_once, args=(world.stop,))
        reader.start()
        try:
            assert world.kind.reading.wait(20)
            world.clock.advance(400)

            assert world.reflector.stale_s() == 0
        finally:
            world.stop.set()
            world.reflector.interrupt()
            reader.join(20)

    def test_it_grows_while_nothing_is_let_in_any_more(self, world: World) -> None:
        world.step()

        for _ in range(4):
            world.kind.fail_list(AccessDenied("may not list"))
            world.fail(AccessDenied("may not watch"))
            world.clock.advance(100)

        assert world.reflector.stale_s() == 400
        world.kind.forget_script()
        world.step()
        assert world.reflector.stale_s() == 0

    @pytest.mark.parametrize("cut", [Cut(), Cut(error=SILENT)])
    def test_a_watch_that_tells_nothing_before_it_breaks_is_none(
        self, world: World, cut: Cut
    ) -> None:
        world.step()

        for _ in range(4):
            world.clock.advance(100)
            world.step(cut)

        assert world.reflector.stale_s() == 400

    def test_an_event_is_news_however_the_watch_ends(self, world: World) -> None:
        world.step()
        world.clock.advance(100)
        world.kind.bookmark()

        world.step(Cut(error=SILENT, lasts_s=7))

        assert world.reflector.stale_s() == 7
