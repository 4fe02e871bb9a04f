"""Where the real CockroachDB of the tests comes from, and what is said when there is none."""

from __future__ import annotations

import pytest

from tests.servers.cockroach import real
from tests.servers.provider import ServerMissing


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without a container engine, on which nothing is named."""
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    monkeypatch.delenv(real.PROGRAM_VARIABLE, raising=False)
    monkeypatch.delenv(real.IMAGE_VARIABLE, raising=False)


def start() -> None:
    with real.running():
        pass


def test_without_a_container_engine_there_is_none() -> None:
    with pytest.raises(ServerMissing, match="no container engine answers"):
        start()
    assert not real.is_asked_for()


@pytest.mark.parametrize("variable", [real.PROGRAM_VARIABLE, real.IMAGE_VARIABLE])
def test_what_is_named_is_asked_for(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    """Then its absence is a failure: hosted CI must not pass for want of a server."""
    monkeypatch.setenv(variable, "/nowhere/cockroach")

    assert real.is_asked_for()
    with pytest.raises(ServerMissing):
        start()
