"""Single flight: at most one job runs, and everybody may listen to it."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path

from attrs import frozen

from controller.api.errors import BackupError, BeingDeleted, BusyError
from controller.process.clock import Clock
from controller.process.logging import kv
from runner.jobs.events import Event
from runner.jobs.process import JOB_COMMAND, JobLimits, JobProcess, JobResult, lost_result
from runner.jobs.request import JobRequest
from runner.outcome import JobKind
from runner.pipeline.pipe import Pipe
from runner.ports import Confirm
from runner.wording import age_text

log = logging.getLogger(__name__)

#: Events a listener may lag behind; then it is dropped, the job never waits for it.
_LISTENER_EVENTS = 1000
#: What a schedule starts, and is not late with if a person's job goes first.
_CAN_WAIT = frozenset({JobKind.BACKUP, JobKind.VERIFY})


@frozen(kw_only=True, eq=False)
class RunningJob:
    """The job that runs now."""

    request: JobRequest
    started_at: datetime
    process: JobProcess

    def describe(self, now: datetime) -> str:
        who = "scheduled " if self.request.scheduled else ""
        return f"a {who}{self.request.kind.value} runs since {age_text(now - self.started_at)}"


class JobSlot:
    """Runs jobs one at a time, each in a thread that watches its process.

    Args:
        limits: of a kind of job, asked at its start.
        confirm: the fence's, called before each job; what it raises, `start` does.
        on_start, on_event, on_end: called in the job's threads while no other
            job can start. on_free: after them, when one can again.
        command: what a job's process is.
    Threads: any may call; `_lock` guards `_running`, `_listeners`, `_last`,
    `_thread`, `_closed`, `_reserved` and `_in_line`; no callback is called under it.
    """

    def __init__(
        self,
        config: Path,
        clock: Clock,
        limits: Callable[[JobKind], JobLimits],
        *,
        on_start: Callable[[JobRequest, datetime], None],
        on_event: Callable[[Event], None],
        on_end: Callable[[JobRequest, JobResult], None],
        on_free: Callable[[JobRequest, JobResult], None] = lambda *_: None,
        confirm: Confirm = lambda: True,
        command: Sequence[str] = JOB_COMMAND,
        scratch: Path | None = None,
    ) -> None:
        self._config = config
        self._clock = clock
        self._limits = limits
        self._on_start = on_start
        self._on_event = on_event
        self._on_end = on_end
        self._on_free = on_free
        self._confirm = confirm
        self._command = command
        self._scratch = scratch
        self._lock = threading.Lock()
        self._running: RunningJob | None = None
        self._listeners: list[Pipe[Event]] = []
        self._last: Event | None = None
        self._thread: threading.Thread | None = None
        self._closed = False
        # The one kind that may start, and why.
        self._reserved: tuple[JobKind, str] | None = None
        # How many wait to start theirs.
        self._in_line = 0

    @property
    def running(self) -> RunningJob | None:
        with self._lock:
            return self._running

    @property
    def progress(self) -> Event | None:
        """The running job's last event."""
        with self._lock:
            return self._last if self._running else None

    def runs(self, kind: JobKind) -> bool:
        """Whether a job of that kind runs."""
        running = self.running
        return running is not None and running.request.kind is kind

    def start(self, request: JobRequest, listener: Pipe[Event] | None = None) -> None:
        """Start a job; `listener` gets every event of it and is closed after its end.

        Raises: BusyError, which names the job that runs; BeingDeleted; Overtaken.
        """
        self._confirm()
        job = RunningJob(
            request=request,
            started_at=self._clock.now(),
            process=JobProcess(
                request,
                self._config,
                self._limits(request.kind),
                on_event=self._spread,
                clock=self._clock,
                command=self._command,
                scratch=self._scratch,
            ),
        )
        with self._lock:
            if self._closed:
                raise BusyError("the runner is shutting down: ask its successor")
            if self._reserved and request.kind is not self._reserved[0]:
                raise BeingDeleted(self._reserved[1])
            if self._running is not None:
                busy = self._running.describe(self._clock.now())
                raise BusyError(f"{busy}; `runner cancel` ends it")
            if self._in_line and request.scheduled and request.kind in _CAN_WAIT:
                raise BusyError("somebody's job waits for its turn, and goes first")
            thread = threading.Thread(
                target=self._run, args=(job,), name=f"job-{request.kind.value}"
            )
            thread.start()  # under the lock: `join` must not meet a thread that has not started
            self._running, self._thread = job, thread
            self._last = None
            self._listeners = [listener] if listener else []

    @contextlib.contextmanager
    def in_line(self) -> Iterator[None]:
        """In the block a person's job waits to start: before the schedule's next one.

        Where backups take as long as their interval it would wait for ever.
        """
        with self._lock:
            self._in_line += 1
        try:
            yield
        finally:
            with self._lock:
                self._in_line -= 1

    def try_start(self, request: JobRequest) -> bool:
        """Start a job that can as well begin later; False: it cannot now."""
        try:
            self.start(request)
        except (BeingDeleted, BusyError) as error:
            log.info("job left for later", extra=kv(kind=request.kind.value, error=str(error)))
            return False
        return True

    def cancel(self, cause: BackupError | None = None) -> bool:
        """End the running job; False if there is none."""
        running = self.running
        if running is None:
            return False
        running.process.cancel(cause)
        return True

    @property
    def closed(self) -> bool:
        with self._lock:
            return self._closed

    def reserve(self, kind: JobKind, why: str) -> None:
        """Start nothing but jobs of one kind any more; the job that runs goes on."""
        with self._lock:
            self._reserved = kind, why

    def close(self) -> None:
        """Start nothing any more."""
        with self._lock:
            self._closed = True

    def join(self, timeout_s: float | None = None) -> bool:
        """Wait until no job runs; False after the timeout."""
        with self._lock:
            thread = self._thread
        if thread is None or thread is threading.current_thread():
            return True
        thread.join(timeout_s)
        return not thread.is_alive()

    def _run(self, job: RunningJob) -> None:
        result = self._result(job)
        log.log(
            logging.INFO if result.outcome.success else logging.ERROR,
            "job finished",
            extra=kv(
                kind=job.request.kind.value,
                backup_id=result.outcome.backup_id,
                duration_s=round(result.outcome.duration_s, 3),
                reason=result.outcome.reason,
                error=result.outcome.message,
                exit_status=result.exit_code,
            ),
        )
        self._call(self._on_end, job, result)
        with self._lock:
            listeners, self._listeners = self._listeners, []
            self._running = None
        self._call(self._on_free, job, result)
        for listener in listeners:
            _end(listener, result.event())

    def _result(self, job: RunningJob) -> JobResult:
        try:
            self._on_start(job.request, job.started_at)
            return job.process.run()
        except Exception as error:
            # Thread top: whatever it is, no memory for a process say, the slot must be free again.
            log.exception("job not run", extra=kv(kind=job.request.kind.value))
            cause = BackupError(f"the job could not be run: {type(error).__name__}: {error}")
            return lost_result(job.request, job.started_at, self._clock.now(), cause)

    def _call(
        self, tell: Callable[[JobRequest, JobResult], None], job: RunningJob, result: JobResult
    ) -> None:
        try:
            tell(job.request, result)
        except Exception:
            # Thread top, as above: listeners wait for the end, and so does the next job.
            log.exception("end of a job not noted", extra=kv(kind=job.request.kind.value))

    def _spread(self, event: Event) -> None:
        self._on_event(event)
        with self._lock:
            self._last = event
            listeners = list(self._listeners)
        for listener in listeners:
            if not _tell(listener, event):
                with self._lock:
                    self._listeners.remove(listener)


def new_listener() -> Pipe[Event]:
    return Pipe(_LISTENER_EVENTS)


def _tell(listener: Pipe[Event], event: Event) -> bool:
    """Hand on an event; False if nobody listens any more, or not fast enough."""
    try:
        if listener.put(event, timeout_s=0):
            return True
    except BackupError:
        return False
    listener.abort(BusyError("too many events waited to be read; see `runner status`"))
    return False


def _end(listener: Pipe[Event], event: Event) -> None:
    if _tell(listener, event):
        listener.close()
