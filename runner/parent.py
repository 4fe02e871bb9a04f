"""The runner's small parent: schedule, control socket, HTTP, fence, reports.

Every job runs in a child process, so the parent loads no driver and no SDK,
stays small and survives whatever happens to a job.
"""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from attrs import frozen

from controller.api import codec
from controller.api.errors import BackupError, Cancelled
from controller.api.status import DatabaseBackupStatus
from controller.api.version import version
from controller.process.clock import Clock
from controller.process.httpd import Endpoints, HttpServer
from controller.process.logging import kv
from runner import config as runner_config
from runner.conditions import Basis
from runner.control import ControlServer
from runner.deletion import Deletion
from runner.inspection import Inspection
from runner.jobs.begun import read_begun
from runner.jobs.events import Event
from runner.jobs.process import JobLimits, JobResult
from runner.jobs.request import JobRequest, look_after
from runner.jobs.slot import JobSlot
from runner.metrics import CONTENT_TYPE, RunnerIdentity, RunnerMetrics
from runner.outcome import JobKind
from runner.past import past_of
from runner.ports import DeletionOrder, Fence, Overtaken, StatusSink
from runner.reports import Reports
from runner.schedule import expected_interval, schedule_of
from runner.scheduler import Scheduler

log = logging.getLogger(__name__)

#: The scheduler is asked at least this often: the wall clock may jump.
_TICK_S = 20.0
#: Between two looks at the locations while nothing else happens.
_INSPECT_EVERY_S = 3600.0
#: A look at the locations is short; a dead location must not hold it longer.
_INSPECT_LIMITS = JobLimits(deadline_s=600.0, stall_s=300.0)
_JOIN_S = 40.0


@frozen(kw_only=True)
class Settings:
    """What the environment says, apart from the configuration.

    Args:
        listen: as LISTEN, for metrics and probes.
        grace_s: how long a running job may go on after SIGTERM; below the
            pod's terminationGracePeriodSeconds.
    """

    config: Path
    listen: str
    control_socket: Path
    grace_s: float


class Parent:
    """One runner.

    Threads: the scheduler's loop is the caller of `run`; jobs, control clients
    and HTTP have their own. `_lock` guards `_scheduler`, `_config` and
    `_inspected_mono`; no callback and no I/O happens under it.
    """

    def __init__(
        self,
        settings: Settings,
        config: runner_config.RunnerConfig,
        clock: Clock,
        fence: Fence,
        status: StatusSink,
        order: DeletionOrder,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._fence = fence
        self._lock = threading.Lock()
        self._config = config
        started_at = clock.now()
        metadata = config.backup.metadata
        self.metrics = RunnerMetrics(
            RunnerIdentity(
                name=metadata.name,
                namespace=metadata.namespace,
                engine=config.backup.spec.database_type,
                version=version(),
            ),
            started_at=started_at,
        )
        self._status = status
        self._reports = Reports(status, self.metrics, clock)
        self._former = DatabaseBackupStatus()
        self._scheduler: Scheduler | None = None
        self._inspected_mono = float("-inf")
        self._problem = ""
        self._scratch = settings.control_socket.with_name("jobs")
        self._abandoned: tuple[str, ...] = ()
        self._slot = JobSlot(
            settings.config,
            clock,
            self._limits,
            on_start=self._job_started,
            on_event=self._job_event,
            on_end=self._job_ended,
            on_free=self._slot_free,
            confirm=fence.confirm,
            scratch=self._scratch,
        )
        self._deletion = Deletion(order, self._slot, self._reports.deletion, clock)
        self._control = ControlServer(settings.control_socket, self._slot, self.status)
        self._http = HttpServer(
            settings.listen,
            Endpoints(
                metrics=self.metrics.render,
                metrics_type=CONTENT_TYPE,
                health=self._health,
                readiness=self._ready,
            ),
        )
        self._wake = threading.Event()
        #: Who acts instead of this runner; set by the fence's thread.
        self._lost: Overtaken | None = None
        # When the last step was done; None while another runner holds the fence.
        self._stepped_mono: float | None = None
        self._show_schedule()

    @property
    def http_address(self) -> tuple[str, int]:
        return self._http.address

    def run(self, stop: threading.Event, now: threading.Event) -> None:
        """Run until `stop`; a running job gets its grace, less once `now` is set.

        Args:
            stop: SIGTERM or Ctrl-C; set here, too, when the fence is lost.
            now: a second signal: end the job at once.
        Raises: Overtaken, after all was ended, if another runner acts instead.
        """
        closing = threading.Event()

        def on_lost(error: Overtaken) -> None:
            self._lost = error
            stop.set()

        self._http.bind()
        threads = [threading.Thread(target=self._http.run, args=(closing,), name="http")]
        threads[0].start()
        try:
            # Probes are answered while another runner still holds the fence; commands are not.
            if self._fence.acquire(stop, on_lost):
                # What a runner that was killed with its job left: certificates, passwords, uploads.
                begun = map(read_begun, self._scratch.glob("*/"))
                self._abandoned = tuple(filter(None, begun))
                shutil.rmtree(self._scratch, ignore_errors=True)
                self._former = self._status.start()
                self._reports.resume(self._former)
                self._control.bind()
                self._try_step()  # the first look at the locations comes before any client's job
                threads.append(
                    threading.Thread(target=self._control.run, args=(closing,), name="control")
                )
                threads[1].start()
                log.info("runner started", extra=kv(address=":".join(map(str, self.http_address))))
                self._loop(stop)
                self._shut_down(now)
        finally:
            closing.set()
            for thread in reversed(threads):
                thread.join(_JOIN_S)
            # Before the fence: what a successor reports must be the last word.
            self._status.stop(flush=self._lost is None)
            self._fence.release()
        log.info("runner stopped")
        if self._lost is not None:
            raise self._lost

    def step(self) -> float:
        """Do what is due; returns the seconds until the next step."""
        self._reload()
        pause_s = self._deletion.step()
        if pause_s is None:
            self._start_due()
            pause_s = self._pause_s()
        self._stepped_mono = self._clock.monotonic()
        return pause_s

    def status(self) -> Mapping[str, object]:
        """What `runner status` prints."""
        running = self._slot.running
        now = self._clock.now()
        with self._lock:
            config = self._config
            next_at = self._scheduler.next_backup_at(now) if self._scheduler else None
        return {
            "namespace": config.backup.metadata.namespace,
            "name": config.backup.metadata.name,
            "version": version(),
            "running": running.describe(now) if running else "",
            "progress": self._slot.progress,
            "nextBackupAt": next_at,
            "problem": self._problem,
            "warnings": list(config.warnings),
            "status": codec.encode(self._reports.status),
        }

    # -- the loop -------------------------------------------------------------

    def _loop(self, stop: threading.Event) -> None:
        waker = threading.Thread(target=self._wake_on, args=(stop,), name="stop-waker")
        waker.start()
        while not stop.is_set():
            pause_s = self._try_step()
            self._wake.wait(pause_s)
            self._wake.clear()
        waker.join()

    def _try_step(self) -> float:
        try:
            return self.step()
        except Exception:
            # A defect in one step must not end a runner that may be needed for a restore; if it
            # stays, the health probe says so.
            log.exception("step failed")
            self._stepped_mono = self._stepped_mono or self._clock.monotonic()
            return _TICK_S

    def _wake_on(self, stop: threading.Event) -> None:
        stop.wait()
        self._wake.set()

    def _shut_down(self, now: threading.Event) -> None:
        """No new job; the running one may finish within its grace, else it is ended cleanly.

        There is no grace once the fence is lost, for somebody else acts already; nor for
        a deletion, for the next runner goes on with it, or somebody took it back.
        """
        self._slot.close()
        deadline_mono = self._clock.monotonic() + self._settings.grace_s
        while not self._slot.join(0.2):
            lost = self._lost
            is_over = now.is_set() or self._clock.monotonic() > deadline_mono
            if lost or is_over or self._slot.runs(JobKind.DELETE):
                self._slot.cancel(Cancelled(str(lost or "the runner is shutting down")))
                self._slot.join()

    def _start_due(self) -> None:
        request = self._due()
        if request and self._slot.try_start(request) and request.kind is JobKind.INSPECT:
            with self._lock:
                self._inspected_mono = self._clock.monotonic()

    def _due(self) -> JobRequest | None:
        if self._slot.running is not None:
            return None
        with self._lock:
            scheduler = self._scheduler
            looked_s_ago = self._clock.monotonic() - self._inspected_mono
            if scheduler is None or looked_s_ago > _INSPECT_EVERY_S:
                return JobRequest(
                    kind=JobKind.INSPECT,
                    scheduled=True,
                    abort_orphans=True,
                    abandoned=self._abandoned if scheduler is None else (),
                )
            kind = scheduler.due(self._clock.now())
        return None if kind is None else JobRequest(kind=kind, scheduled=True)

    def _pause_s(self) -> float:
        with self._lock:
            scheduler = self._scheduler
            now = self._clock.now()
            next_at = scheduler.next_at(now) if scheduler else None
        if next_at is None or self._slot.running is not None:
            return _TICK_S
        return min(_TICK_S, max(0.1, (next_at - now).total_seconds()))

    def _reload(self) -> None:
        """Take a changed configuration; a wrong one is reported, and fails the next job."""
        try:
            config = runner_config.load(self._settings.config)
        except BackupError as error:
            if str(error) != self._problem:
                self._problem = str(error)
                log.error("configuration not usable", extra=kv(error=str(error)))
            return
        self._problem = ""
        now = self._clock.now()
        with self._lock:
            if config.fingerprint == self._config.fingerprint:
                return
            self._config = config
            if self._scheduler is not None:
                self._scheduler.reload(schedule_of(config.backup), now)
        log.info("configuration reloaded")
        self.metrics.keep_locations(one.name for one in config.storage.backup_locations)
        self._show_schedule()

    def _limits(self, kind: JobKind) -> JobLimits:
        if kind is JobKind.INSPECT:
            return _INSPECT_LIMITS
        with self._lock:
            spec = self._config.backup.spec
        return JobLimits(
            deadline_s=spec.timeout.total_seconds(), stall_s=spec.stall_timeout.total_seconds()
        )

    # -- what jobs tell ---------------------------------------------------------

    def _job_started(self, request: JobRequest, started_at: datetime) -> None:
        with self._lock:
            database = self._config.database
            if self._scheduler is not None and request.kind is not JobKind.INSPECT:
                self._scheduler.started(request.kind, started_at)
        self._fence.busy_until(self._limits(request.kind).deadline_s)
        if request.kind is not JobKind.INSPECT:
            self.metrics.job_started(request.kind, started_at)
            self._reports.job_started(request, started_at, database=database)

    def _job_event(self, event: Event) -> None:
        if event["event"] == "inspection":
            self._inspected(codec.decode(Inspection, event["inspection"]))

    def _job_ended(self, request: JobRequest, result: JobResult) -> None:
        self._fence.busy_until(None)
        if request.kind is not JobKind.INSPECT:
            self.metrics.job_finished(result.outcome)
            self._reports.job_finished(request, result.outcome)
            self._deletion.finished(request, result.outcome)
        with self._lock:
            if self._scheduler is None:
                # Not even the first look worked: start from nothing rather than not at all.
                self._scheduler = self._begin(None)
            elif request.kind is not JobKind.INSPECT:
                self._scheduler.finished(request, result.outcome.result)
        self._show_schedule()

    def _slot_free(self, request: JobRequest, result: JobResult) -> None:
        if result.lost and request.kind is not JobKind.INSPECT:
            # It takes back what the killed job left, and records what that could not.
            self._slot.try_start(look_after(result.outcome, scheduled=True))
        self._wake.set()

    def _inspected(self, inspection: Inspection) -> None:
        with self._lock:
            self._inspected_mono = self._clock.monotonic()
            if self._scheduler is None:
                self._scheduler = self._begin(inspection)
        self._reports.inspected(inspection)
        self._show_schedule()

    def _begin(self, inspection: Inspection | None) -> Scheduler:
        """Begin to schedule where the time before ended."""
        past = past_of(inspection, self._former)
        self.metrics.resume(past.last, consecutive_failures=past.consecutive_failures)
        return Scheduler(
            schedule_of(self._config.backup),
            now=self._clock.now(),
            last_attempt_at=past.attempted_at,
            has_backup=past.has_backup,
            last_verified_at=past.verified_at,
        )

    def _show_schedule(self) -> None:
        """Have what is reported be judged by the configuration, also before the first look."""
        now = self._clock.now()
        with self._lock:
            backup, scheduler = self._config.backup, self._scheduler
            next_at = scheduler.next_backup_at(now) if scheduler else None
            schedule = scheduler.schedule if scheduler else schedule_of(backup)
            interval = (
                scheduler.expected_interval(now) if scheduler else expected_interval(schedule, now)
            )
        basis = Basis(
            generation=backup.metadata.generation, suspended=schedule.suspend, interval=interval
        )
        self._reports.judge_by(basis)
        self.metrics.set_timeout(backup.spec.timeout)
        if scheduler is not None:
            self.metrics.set_schedule(
                next_at=next_at,
                interval=interval,
                suspended=schedule.suspend,
                verify_every=None if schedule.suspend else schedule.verify_every,
            )
            self._reports.schedule(next_at)

    # -- probes -----------------------------------------------------------------

    def _health(self) -> tuple[bool, Mapping[str, object]]:
        stepped_mono = self._stepped_mono
        if stepped_mono is None:
            return True, {"waiting": "another runner or command holds the fence"}
        silent_s = self._clock.monotonic() - stepped_mono
        return silent_s < 10 * _TICK_S, {"schedulerSilentSeconds": round(silent_s, 1)}

    def _ready(self) -> tuple[bool, Mapping[str, object]]:
        with self._lock:
            looked = self._scheduler is not None or self._deletion.is_begun
        problem = self._problem or ("" if looked else "the locations were not looked at yet")
        return not problem, {"problem": problem}
