from __future__ import annotations

import pytest

from tests.fakes.threads import no_thread_survives
from tests.unit.cache.a_reflector import World

__all__ = ["no_thread_survives"]


@pytest.fixture
def world() -> World:
    return World()
