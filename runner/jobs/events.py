"""What a job tells while it runs: one JSON object a line, over a pipe.

The last line is the outcome. A client of the control socket gets the same
lines, so this is also what ``--json`` prints.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, BinaryIO

import orjson
from attrs import evolve

from controller.api import codec
from engines.interface import Progress
from runner.inspection import Inspection
from runner.outcome import JobOutcome

Event = Mapping[str, Any]

#: Between two progress lines; more would only fill the pipe.
_INTERVAL_S = 0.5


class EventWriter:
    """Writes a job's events; progress is thinned out, everything else is sent at once.

    Args:
        counters: bytes by name, asked for with each progress line; their
            growth is a sign of life beside what the engine reports.
    Threads: `_lock` guards the stream and what progress was last.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        self._progress = Progress(stage="starting", done=0)
        self._counters: Callable[[], Mapping[str, int]] = dict
        self._due_mono = 0.0
        self._redact: Callable[[str], str] = str

    def redact_with(self, redact: Callable[[str], str]) -> None:
        """Take secrets out of every message from now on: an error may quote anything."""
        self._redact = redact

    def redacted(self, outcome: JobOutcome) -> JobOutcome:
        """An outcome as others may read it."""
        fates = (evolve(fate, message=self._redact(fate.message)) for fate in outcome.fates)
        return evolve(outcome, message=self._redact(outcome.message), fates=tuple(fates))

    def count(self, counters: Callable[[], Mapping[str, int]]) -> None:
        """Take `counters` from now on."""
        self._counters = counters
        self.tick()

    def progress(self, progress: Progress) -> None:
        """What the engine is doing; callable from any thread, cheap."""
        with self._lock:
            changed = progress.stage != self._progress.stage
            self._progress = progress
            due = changed or time.monotonic() >= self._due_mono
        if due:
            self.tick()

    def stage(self, stage: str, *, done: int = 0, total: int | None = None) -> None:
        self.progress(Progress(stage=stage, done=done, total=total))

    def tick(self) -> None:
        """Send where things stand."""
        with self._lock:
            self._due_mono = time.monotonic() + _INTERVAL_S
            progress = self._progress
        self._send(
            {
                "event": "progress",
                "stage": progress.stage,
                "done": progress.done,
                "total": progress.total,
                "unit": progress.unit,
                "detail": progress.detail,
                "signs": progress.signs,
                "counters": self._counters(),
            }
        )

    def run_ticker(self, stop: threading.Event) -> None:
        """Send a progress line now and then until `stop`, also while the engine is silent."""
        while not stop.wait(_INTERVAL_S):
            self.tick()

    def started(self, kind: str, **facts: object) -> None:
        self._send({"event": "started", "kind": kind, **facts})

    def warning(self, message: str) -> None:
        self._send({"event": "warning", "message": self._redact(message)})

    def report(self, title: str, rows: Sequence[Mapping[str, object]]) -> None:
        """A table for people, for example what a prune would delete and why."""
        self._send({"event": "report", "title": title, "rows": list(rows)})

    def inspection(self, inspection: Inspection) -> None:
        """What the locations hold now; for the parent, not for people."""
        states = (evolve(one, message=self._redact(one.message)) for one in inspection.states)
        clean = evolve(inspection, states=tuple(states))
        self._send({"event": "inspection", "inspection": codec.encode(clean)})

    def outcome(self, outcome: JobOutcome, exit_code: int) -> None:
        self._send(
            {
                "event": "outcome",
                "exitCode": exit_code,
                "outcome": codec.encode(self.redacted(outcome)),
            }
        )

    def _send(self, event: Event) -> None:
        line = orjson.dumps(event, default=str, option=orjson.OPT_UTC_Z) + b"\n"
        with self._lock:
            try:
                self._stream.write(line)
                self._stream.flush()
            except (BrokenPipeError, ValueError):
                # The parent is gone; its end sends us SIGTERM, nothing is to be done here.
                return


def parse_event(line: bytes) -> dict[str, Any] | None:
    """One line of a job; None for what is not an event."""
    try:
        event = orjson.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) and isinstance(event.get("event"), str) else None
