from __future__ import annotations

import io
import os
import threading
import time
from datetime import UTC, datetime

import orjson
import pytest

from controller.api import codec
from controller.api.status import BackupSummary
from controller.process.logging import Redactor
from engines.interface import Progress
from runner.inspection import Inspection
from runner.jobs.events import Event, EventWriter, parse_event
from runner.outcome import JobKind, JobOutcome, LocationFate, LocationState

NOW = datetime(2026, 11, 23, 10, tzinfo=UTC)


class _Lines:
    """A writer, and the events that it wrote."""

    def __init__(self) -> None:
        self._stream = io.BytesIO()
        self.writer = EventWriter(self._stream)

    @property
    def events(self) -> list[Event]:
        return [orjson.loads(line) for line in self._stream.getvalue().splitlines()]


def test_every_event_is_one_line_that_is_read_again() -> None:
    lines = _Lines()
    lines.writer.started("backup", backupId="x")
    lines.writer.warning("two\nlines")
    lines.writer.report("plan", [{"what": "a", "value": 1}])

    assert [event["event"] for event in lines.events] == ["started", "warning", "report"]
    assert lines.events[0]["backupId"] == "x"
    assert lines.events[1]["message"] == "two\nlines"
    assert lines.events[2]["rows"] == [{"what": "a", "value": 1}]


def test_no_message_tells_a_secret() -> None:
    lines = _Lines()
    lines.writer.redact_with(Redactor(lambda: ["hunter-two"]))
    fate = LocationFate(name="a", ok=False, message="refused: hunter-two")
    outcome = JobOutcome(
        kind=JobKind.BACKUP,
        started_at=NOW,
        finished_at=NOW,
        success=False,
        message="unexpected ValueError: hunter-two",
        fates=(fate,),
    )
    state = LocationState(name="a", healthy=False, message="hunter-two?", checked_at=NOW)

    lines.writer.warning("location a: hunter-two")
    lines.writer.inspection(Inspection(at=NOW, states=(state,)))
    lines.writer.outcome(outcome, 70)

    assert [event["event"] for event in lines.events] == ["warning", "inspection", "outcome"]
    assert "hunter" not in str(lines.events)
    assert str(lines.events).count("<redacted>") == 4


def test_an_outcome_arrives_as_it_was() -> None:
    lines = _Lines()
    outcome = JobOutcome(
        kind=JobKind.BACKUP,
        started_at=NOW,
        finished_at=NOW,
        success=False,
        reason="LocationsFailed",
        fates=(LocationFate(name="a", ok=True, stored_bytes=7),),
    )

    lines.writer.outcome(outcome, 75)

    (event,) = lines.events
    assert event["exitCode"] == 75
    assert codec.decode(JobOutcome, event["outcome"]) == outcome


def test_an_inspection_arrives_as_it_was() -> None:
    lines = _Lines()
    inspection = Inspection(
        at=NOW,
        states=(LocationState(name="a", healthy=True, checked_at=NOW, stored_backups=3),),
        stored_backups=3,
        newest_at=NOW,
        complete=BackupSummary(id="x", started_at=NOW, locations=("a",)),
    )

    lines.writer.inspection(inspection)

    (event,) = lines.events
    assert codec.decode(Inspection, event["inspection"]) == inspection


def test_progress_is_thinned_out_and_a_new_stage_is_told_at_once() -> None:
    lines = _Lines()

    for done in range(1000):
        lines.writer.progress(Progress(stage="dump", done=done))
    lines.writer.progress(Progress(stage="index", done=1))

    stages = [event["stage"] for event in lines.events]
    assert stages[0] == "dump"
    assert stages[-1] == "index"
    assert len(stages) < 20


def test_a_tick_tells_the_latest_even_if_it_was_thinned_out() -> None:
    lines = _Lines()
    lines.writer.progress(Progress(stage="dump", done=1))
    lines.writer.progress(Progress(stage="dump", done=2, total=9, unit="objects", detail="a table"))

    lines.writer.tick()

    assert lines.events[-1] == {
        "event": "progress",
        "stage": "dump",
        "done": 2,
        "total": 9,
        "unit": "objects",
        "detail": "a table",
        "signs": 0,
        "counters": {},
    }


def test_counters_are_asked_for_with_each_line() -> None:
    lines = _Lines()
    count = 0
    lines.writer.count(lambda: {"plainBytes": count})
    count = 7
    lines.writer.tick()

    assert [event["counters"]["plainBytes"] for event in lines.events] == [0, 7]


def test_the_ticker_shows_life_until_it_is_stopped() -> None:
    lines = _Lines()
    stop = threading.Event()
    thread = threading.Thread(target=lines.writer.run_ticker, args=(stop,))
    thread.start()
    while not lines.events:
        time.sleep(0.01)

    stop.set()
    thread.join()

    assert lines.events[0]["stage"] == "starting"


def test_lines_of_many_threads_do_not_mix() -> None:
    lines = _Lines()

    def tell() -> None:
        for _ in range(100):
            lines.writer.warning("x" * 1000)

    threads = [threading.Thread(target=tell) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(lines.events) == 400


def test_a_parent_that_is_gone_is_no_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb", buffering=0) as stream:
        EventWriter(stream).warning("nobody hears it")


@pytest.mark.parametrize("line", [b"", b"x", b"[]", b"{}", b'{"event": 1}', b"null", b"\xff"])
def test_what_is_no_event_is_none(line: bytes) -> None:
    assert parse_event(line) is None


def test_an_event_is_one_whatever_else_it_holds() -> None:
    assert parse_event(b'{"event": "new", "x": 1}\n') == {"event": "new", "x": 1}
