"""One job as a child process: started, listened to, timed, ended.

The job gets a session of its own and dies with the thread that started it. A
job that is killed, by the kernel too, still has an outcome: the survivor
writes it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import attrs
from attrs import frozen

from controller.api import codec
from controller.api.errors import BackupError, Cancelled, JobLost, JobTimedOut
from controller.process.clock import Clock, SystemClock
from controller.process.logging import kv
from runner.jobs.begun import read_begun
from runner.jobs.events import Event, parse_event
from runner.jobs.request import JobRequest, encode_request
from runner.outcome import JobOutcome
from runner.repository.layout import BackupId
from runner.rundir import own_directory

log = logging.getLogger(__name__)

#: What a job's process is; it gets the descriptor for its events as an argument.
JOB_COMMAND = (sys.executable, "-m", "runner.jobs.child")
#: From SIGTERM, after which a job takes back what it began, to SIGKILL.
TERMINATION_S = 30.0
_POLL_S = 0.25
#: Parts of 8 MiB go back to the kernel when they are sent, instead of staying in
#: the heap of the thread that made them.
_ALLOCATOR = {"MALLOC_ARENA_MAX": "2", "MALLOC_MMAP_THRESHOLD_": str(2 * 1024**2)}
#: What is killed may have started something between the look and the signal.
_KILL_PASSES = 5


@frozen(kw_only=True)
class JobLimits:
    """How long a job may take.

    Args:
        deadline_s: in all. stall_s: without any progress.
    """

    deadline_s: float
    stall_s: float


@frozen(kw_only=True)
class JobResult:
    """A finished job; `lost` if it died without a word."""

    outcome: JobOutcome
    exit_code: int
    lost: bool = False

    def event(self) -> Event:
        """The last event of the job, as its listeners get it."""
        return {
            "event": "outcome",
            "exitCode": self.exit_code,
            "outcome": codec.encode(self.outcome),
        }


class JobProcess:
    """Runs one job to its end.

    Args:
        scratch: where the job's own directory is made; by default that for
            temporary files.
    Threads: `run` is called once, by one thread that outlives the job;
    `cancel` by any. `_lock` guards `_cause`, `_activity` and `_alive_mono`.
    """

    def __init__(
        self,
        request: JobRequest,
        config: Path,
        limits: JobLimits,
        *,
        on_event: Callable[[Event], None] = lambda _: None,
        clock: Clock | None = None,
        environ: Mapping[str, str] | None = None,
        command: Sequence[str] = JOB_COMMAND,
        scratch: Path | None = None,
    ) -> None:
        self.request = request
        self._scratch = scratch
        self._command = command
        self._config = config
        self._limits = limits
        self._on_event = on_event
        self._clock = clock or SystemClock()
        self._environ = dict(os.environ if environ is None else environ)
        self._lock = threading.Lock()
        self._cause: BackupError | None = None
        self._activity: object = None
        self._alive_mono = self._clock.monotonic()
        self._outcome: JobOutcome | None = None
        # Which backup the job said it was about.
        self._backup_id = ""
        self._exit_code: int | None = None

    def cancel(self, cause: BackupError | None = None) -> None:
        """Ask the job to end; `run` returns once it did. The first cause counts."""
        with self._lock:
            self._cause = self._cause or cause or Cancelled("cancelled")

    def run(self) -> JobResult:
        started_at = self._clock.now()
        if self._scratch is not None:
            own_directory(self._scratch)
        scratch = Path(tempfile.mkdtemp(prefix="job-", dir=self._scratch))
        try:
            status = self._run_child(scratch)
            begun = read_begun(scratch)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        return self._result(status, started_at, begun)

    def _run_child(self, scratch: Path) -> int:
        reading, writing = os.pipe()
        with os.fdopen(reading, "rb") as events:
            try:
                child = subprocess.Popen(
                    [*self._command, str(writing)],
                    stdin=subprocess.PIPE,
                    pass_fds=(writing,),
                    start_new_session=True,
                    env={
                        **self._environ,
                        **_ALLOCATOR,
                        "CONFIG_DIR": str(self._config),
                        "RUNNER_JOB_SCRATCH": str(scratch),
                        "RUNNER_JOB_PARENT": str(os.getpid()),
                    },
                )
            finally:
                os.close(writing)
            listener = threading.Thread(target=self._listen, args=(events,), name="job-events")
            listener.start()
            try:
                self._hand_over(child)
                self._watch(child)
            finally:
                _kill_session(child.pid)
                child.wait()
                listener.join()
        return child.returncode

    def _hand_over(self, child: subprocess.Popen[bytes]) -> None:
        assert child.stdin is not None  # noqa: S101 - Popen was asked for it
        try:
            with child.stdin as stdin:
                stdin.write(encode_request(self.request))
        except BrokenPipeError:
            return  # it died at once; its exit status says so

    def _watch(self, child: subprocess.Popen[bytes]) -> None:
        """Wait for the child; end it at its deadline, when it stalls or is cancelled."""
        deadline_mono = self._clock.monotonic() + self._limits.deadline_s
        killed_at_mono: float | None = None
        while True:
            try:
                child.wait(_POLL_S)
            except subprocess.TimeoutExpired:
                pass
            else:
                return
            now_mono = self._clock.monotonic()
            if killed_at_mono is not None:
                if now_mono > killed_at_mono:
                    return
                continue
            self._check_time(now_mono, deadline_mono)
            with self._lock:
                cause = self._cause
            if cause is not None:
                child.send_signal(signal.SIGTERM)
                killed_at_mono = now_mono + TERMINATION_S

    def _check_time(self, now_mono: float, deadline_mono: float) -> None:
        with self._lock:
            silent_s = now_mono - self._alive_mono
        if now_mono > deadline_mono:
            self.cancel(
                JobTimedOut(
                    f"the job was ended after {self._limits.deadline_s:.0f} s: "
                    "raise spec.timeout if it really needs longer"
                )
            )
        elif silent_s > self._limits.stall_s:
            self.cancel(
                JobTimedOut(
                    f"the job made no progress for {self._limits.stall_s:.0f} s and was ended: "
                    "is the database waiting for a lock, its disk full, or the network cut?"
                )
            )

    def _listen(self, events: Any) -> None:
        for line in events:
            event = parse_event(line)
            if event is None:
                log.warning("job wrote a line that is no event")
                continue
            self._note_activity(event)
            try:
                self._take(event)
            except Exception:
                # Thread top: without a listener the job would block in its next line.
                log.exception("event not taken", extra=kv(kind=str(event["event"])))

    def _take(self, event: Event) -> None:
        if event["event"] == "outcome":
            self._outcome = codec.decode(JobOutcome, event["outcome"])
            self._exit_code = int(event["exitCode"])
            return
        if event["event"] == "started":
            self._backup_id = str(event.get("backupId", ""))
        self._on_event(event)

    def _note_activity(self, event: Event) -> None:
        """Anything that changed is progress; the same line again is only a heartbeat."""
        with self._lock:
            if event != self._activity:
                self._activity = event
                self._alive_mono = self._clock.monotonic()

    def _result(self, status: int, started_at: datetime, begun: BackupId | None) -> JobResult:
        with self._lock:
            cause = self._cause
        if self._outcome is not None:
            outcome = self._outcome
            exit_code = self._exit_code if self._exit_code is not None else status
            if cause is not None and not outcome.success:
                # The job says that it was ended; who ended it knows why.
                outcome = _blame(outcome, cause)
                exit_code = cause.exit_code
            return JobResult(outcome=outcome, exit_code=exit_code)
        error = cause or JobLost(_last_words(status))
        lost = lost_result(self.request, started_at, self._clock.now(), error)
        backup_id = begun or self._backup_id
        return attrs.evolve(lost, outcome=attrs.evolve(lost.outcome, backup_id=backup_id))


def lost_result(
    request: JobRequest, started_at: datetime, finished_at: datetime, error: BackupError
) -> JobResult:
    """The result of a job that said none."""
    outcome = JobOutcome(
        kind=request.kind,
        started_at=started_at,
        finished_at=finished_at,
        success=False,
        reason=error.reason,
        message=str(error),
    )
    return JobResult(outcome=outcome, exit_code=error.exit_code, lost=True)


def _blame(outcome: JobOutcome, cause: BackupError) -> JobOutcome:
    return attrs.evolve(outcome, reason=cause.reason, message=str(cause))


def _last_words(status: int) -> str:
    if status == -signal.SIGKILL:
        return (
            "the job's process was killed (SIGKILL), most likely by the kernel because memory "
            "ran out: raise the runner's memory limit"
        )
    if status < 0:
        return f"the job's process was ended by {signal.Signals(-status).name}"
    return f"the job's process exited with {status} and no result; its log has the cause"


def _kill_session(session: int) -> None:
    """End whatever the job left in its session, the job included.

    By the session, not by the process group: engines give each tool a group of
    its own, and a tool's workers outlive it when the job is killed.
    """
    for _ in range(_KILL_PASSES):
        members = list(_members(session))
        if not members:
            return
        for pid in members:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _members(session: int) -> Iterator[int]:
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            # pid (name) state ppid group session ...; the name may hold anything
            state, _, _, of, *_ = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(of) == session and state != "Z":
                yield int(folder.name)
