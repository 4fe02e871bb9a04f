"""A job's process in a few lines of Python, so that a test says what it does and nothing else."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from controller.process.clock import Clock
from runner.jobs.events import Event
from runner.jobs.process import JobLimits, JobProcess, JobResult
from runner.jobs.request import JobRequest
from runner.jobs.slot import JobSlot
from runner.outcome import JobKind
from runner.ports import Confirm
from tests.fakes.clock import START, FakeClock

#: Far more than any test takes.
AMPLE = JobLimits(deadline_s=300, stall_s=300)
BACKUP = JobRequest(kind=JobKind.BACKUP)

# What a stand-in may use: `request`, `say(event)`, `progress(done)`, `end(...)`, `wait()`.
_PRELUDE = """
import json, os, signal, subprocess, sys, time
stream = os.fdopen(int(sys.argv[1]), "wb", buffering=0)
request = json.loads(sys.stdin.buffer.read())
def write(line): stream.write(line + b"\\n")
def say(event): write(json.dumps(event).encode())
def progress(done, **fields):
    say({"event": "progress", "stage": "dump", "done": done, "total": None, "unit": "bytes",
         "detail": "", "counters": {}, **fields})
def end(exit_code=0, **fields):
    say({"event": "outcome", "exitCode": exit_code, "outcome": {
        "kind": request["kind"], "startedAt": "2026-11-23T10:00:00Z",
        "finishedAt": "2026-11-23T10:00:05Z", "success": exit_code == 0, **fields}})
    sys.exit(exit_code)
def wait():
    while True: time.sleep(60)
"""


def command(body: str) -> tuple[str, ...]:
    """The command line of a job that does `body`."""
    return (sys.executable, "-I", "-S", "-c", _PRELUDE + body)


def job(
    body: str,
    *,
    request: JobRequest = BACKUP,
    limits: JobLimits = AMPLE,
    on_event: Callable[[Event], None] = lambda _: None,
    clock: Clock | None = None,
) -> JobProcess:
    return JobProcess(
        request,
        Path("/etc/db-backup"),
        limits,
        on_event=on_event,
        clock=clock or FakeClock(),
        command=command(body),
    )


class Told:
    """A slot for stand-ins, and what it told."""

    def __init__(
        self, body: str, *, clock: Clock | None = None, confirm: Confirm = lambda: True
    ) -> None:
        self.started: list[tuple[JobRequest, datetime]] = []
        self.events: list[Event] = []
        self.ended: list[tuple[JobRequest, JobResult]] = []
        self.slot = JobSlot(
            Path("/etc/db-backup"),
            clock or FakeClock(START),
            lambda _: AMPLE,
            on_start=lambda request, at: self.started.append((request, at)),
            on_event=self.events.append,
            on_end=lambda request, result: self.ended.append((request, result)),
            confirm=confirm,
            command=command(body),
        )

    def finish(self) -> JobResult:
        """Wait for the running job; its result."""
        assert self.slot.join(30)
        return self.ended[-1][1]
