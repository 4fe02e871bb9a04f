"""Asking locations at once: real folders, some of which are slow."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from controller.api.errors import BackupError, StorageUnavailable
from runner.jobs.request import JobRequest
from runner.locations import Location, ask_each
from runner.outcome import JobKind
from tests.unit.jobs.environment import Surroundings

NOW = datetime(2026, 11, 23, 10, tzinfo=UTC)


@pytest.fixture
def world(tmp_path: Path) -> Surroundings:
    return Surroundings(tmp_path, now=NOW)


def test_a_location_that_answers_its_requests_may_take_longer_than_the_limit(
    world: Surroundings,
) -> None:
    progress: list[int] = []

    def ask(location: Location) -> str:
        for number in range(8):
            time.sleep(0.4)  # a slow store, not a wait of the test
            location.storage.put(f"object-{number}", b"data")
        return "all"

    with world.job(JobRequest(kind=JobKind.INSPECT)).locations() as locations:
        answers = ask_each(locations.opened, ask, limit_s=1.5, on_progress=progress.append)

    assert answers == {"one": "all", "two": "all"}
    assert progress == sorted(progress) != []


def test_a_location_that_is_silent_for_the_limit_has_failed_and_the_others_have_not(
    world: Surroundings,
) -> None:
    hang = threading.Event()

    def ask(location: Location) -> str:
        location.storage.put("object", b"data")
        if location.name == "two":
            hang.wait(60)
        return "all"

    with world.job(JobRequest(kind=JobKind.INSPECT)).locations() as locations:
        started_mono = time.monotonic()
        answers = ask_each(locations.opened, ask, limit_s=0.5)
        seconds = time.monotonic() - started_mono
        hang.set()

    assert answers["one"] == "all"
    assert isinstance(answers["two"], StorageUnavailable)
    assert 0.5 <= seconds < 30


def test_errors_are_answers_and_defects_are_raised(world: Surroundings) -> None:
    denied = BackupError("no")

    def refuse(_: Location) -> str:
        raise denied

    def stumble(_: Location) -> str:
        raise ZeroDivisionError

    with world.job(JobRequest(kind=JobKind.INSPECT)).locations() as locations:
        assert ask_each(locations.opened, refuse, limit_s=30) == {"one": denied, "two": denied}
        with pytest.raises(ZeroDivisionError):
            ask_each(locations.opened, stumble, limit_s=30)
