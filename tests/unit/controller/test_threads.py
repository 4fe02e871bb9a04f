"""Threads that end, that fail, and that do not end."""

from __future__ import annotations

import logging
import threading

import pytest

from controller.threads import Threads


def test_all_that_end_are_joined() -> None:
    stop, threads = threading.Event(), Threads()
    for name in ("a", "b"):
        threads.start(name, stop.wait)
    assert threads.dead() == []

    stop.set()

    assert threads.join(5)
    assert threads.dead() == ["a", "b"]


def test_one_that_fails_is_logged_and_dead(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise ValueError("a defect")

    threads = Threads()
    threads.start("worker-0", fail)

    assert threads.join(5)
    assert threads.dead() == ["worker-0"]
    (record,) = caplog.records
    assert record.kv == {"thread": "worker-0"}
    assert "a defect" in caplog.text


def test_one_that_does_not_end_is_logged_with_its_stack(caplog: pytest.LogCaptureFixture) -> None:
    stop, threads = threading.Event(), Threads()

    def hang_here() -> None:
        stop.wait()

    threads.start("worker-0", hang_here)

    with caplog.at_level(logging.ERROR):
        assert not threads.join(0.05)
    stop.set()
    assert threads.join(5)
    (record,) = caplog.records
    assert record.kv["thread"] == "worker-0"
    assert "hang_here" in record.kv["stderr"]
