"""Fixtures: the stand-in as several versions, and the real server."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from tests.servers.cockroach import real, server
from tests.servers.cockroach.server import CockroachServer
from tests.servers.cockroach.standin import StandIn
from tests.servers.provider import ServerMissing

#: The oldest; one without BACKUP TO; one that has an index, names increments after their start, may
#: show backups by their ids, and lets nobody see its insides.
VERSIONS = [(23, 1), (24, 3), (26, 2)]


@pytest.fixture(scope="session")
def real_cockroach() -> Iterator[CockroachServer]:
    """A real one; skipped without it, also where servers are required, unless it was asked for."""
    with contextlib.ExitStack() as stack:
        try:
            found = stack.enter_context(real.running())
        except ServerMissing as missing:
            message = f"{missing}; to get it: {real.HOW_TO_GET}"
            if real.is_asked_for():
                pytest.fail(message)
            pytest.skip(message)
        yield found


@pytest.fixture(params=["stand-in", "real"])
def cockroach(request: pytest.FixtureRequest) -> Iterator[CockroachServer]:
    """Every test with it runs on the newest stand-in and on the real server.

    What differs between versions is the engine's, which tests/contract runs on each.
    """
    if request.param == "real":
        yield request.getfixturevalue("real_cockroach")
        return
    with server.standing_in(version=VERSIONS[-1], shows_by_id="on") as found:
        yield found


@pytest.fixture
def stand_in() -> Iterator[CockroachServer]:
    """A stand-in of the newest version, for what can be done to no real server."""
    with server.standing_in() as found:
        yield found


def of(found: CockroachServer) -> StandIn:
    """What a test does to the stand-in."""
    assert found.stand_in is not None
    return found.stand_in
