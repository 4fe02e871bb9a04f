"""The process of one job: `python -m runner.jobs.child <fd for events>`.

Everything between the request on standard input and the outcome, its last
event. SIGTERM asks it to take back what it began and end.
"""

from __future__ import annotations

import ctypes
import logging
import os
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from attrs import evolve

from controller.api.errors import AccessDenied, BackupError, Cancelled
from controller.process.clock import SystemClock
from controller.process.logging import Redactor, configure, kv
from controller.process.signals import signals_to
from engines.interface import JobContext
from runner import config as runner_config
from runner.jobs.backup import run_backup
from runner.jobs.delete import run_delete
from runner.jobs.environment import JobEnvironment, JobFailure, log_for
from runner.jobs.events import EventWriter
from runner.jobs.inspect import run_inspect
from runner.jobs.prune import run_prune
from runner.jobs.record import record_outcome
from runner.jobs.request import JobRequest, decode_request
from runner.jobs.restore import run_restore
from runner.jobs.verify import run_verify
from runner.locations import open_locations
from runner.outcome import JobKind, JobOutcome

log = logging.getLogger(__name__)

_RUN: Mapping[JobKind, Callable[[JobEnvironment], JobOutcome]] = {
    JobKind.BACKUP: run_backup,
    JobKind.RESTORE: run_restore,
    JobKind.VERIFY: run_verify,
    JobKind.PRUNE: run_prune,
    JobKind.INSPECT: run_inspect,
    JobKind.DELETE: run_delete,
}
#: What is worth knowing after a restart.
_RECORDED = frozenset({JobKind.BACKUP, JobKind.RESTORE, JobKind.VERIFY})


def main() -> int:
    _die_with_parent()
    configure()
    cancelled = threading.Event()
    with (
        signals_to(lambda _: cancelled.set(), signal.SIGTERM),
        os.fdopen(int(sys.argv[1]), "wb", buffering=0) as stream,
    ):
        events = EventWriter(stream)
        context = JobContext(
            cancelled=cancelled,
            report=events.progress,
            scratch=Path(os.environ["RUNNER_JOB_SCRATCH"]),
            warn=events.warning,
        )
        request = decode_request(sys.stdin.buffer.read())
        stop = threading.Event()
        ticker = threading.Thread(target=events.run_ticker, args=(stop,), name="ticker")
        ticker.start()
        try:
            outcome, exit_code = _run(request, context, events)
        finally:
            stop.set()
            ticker.join()
        events.outcome(outcome, exit_code)
    return exit_code


def _run(request: JobRequest, context: JobContext, events: EventWriter) -> tuple[JobOutcome, int]:
    clock = SystemClock()
    started_at = clock.now()
    outcome = JobOutcome(
        kind=request.kind, started_at=started_at, finished_at=started_at, success=False
    )
    config = None
    error: BaseException
    try:
        config = _load(events)
        job = _job(request, config, context, events)
        outcome = evolve(outcome, database=job.target())
        try:
            outcome = _RUN[request.kind](job)
        except AccessDenied as denied:
            # A password that was rotated meanwhile: look once more before giving up.
            again = _load(events)
            if again.fingerprint == config.fingerprint:
                raise
            log.warning(
                "login failed, trying the changed configuration", extra=kv(error=str(denied))
            )
            config = again
            outcome = _RUN[request.kind](_job(request, config, context, events))
    except JobFailure as failure:
        error, outcome = failure.error, failure.outcome
    except Exception as caught:  # noqa: BLE001 - process top: whatever it is becomes the outcome
        error = caught
    else:
        _record(request, config, events.redacted(outcome), context)
        return outcome, 0
    for note in _notes(error):
        events.warning(note)
    if context.cancelled.is_set():
        error = Cancelled("the job was ended before it was done")
    if not isinstance(error, BackupError):
        log.error("unexpected error", exc_info=error)
        error = BackupError(f"unexpected {type(error).__name__}: {error}")
    outcome = evolve(
        outcome,
        success=False,
        reason=error.reason,
        message=str(error),
        finished_at=clock.now(),
    )
    _record(request, config, events.redacted(outcome), context)
    return outcome, error.exit_code


def _notes(error: BaseException) -> Iterator[str]:
    """What was noted on an error and its causes, such as what could not be taken back."""
    cause: BaseException | None = error
    while cause is not None:
        yield from getattr(cause, "__notes__", ())
        cause = cause.__cause__


def _load(events: EventWriter) -> runner_config.RunnerConfig:
    config = runner_config.load(Path(os.environ["CONFIG_DIR"]))
    log_for(config)
    events.redact_with(Redactor(config.redactions))
    return config


def _job(
    request: JobRequest,
    config: runner_config.RunnerConfig,
    context: JobContext,
    events: EventWriter,
) -> JobEnvironment:
    return JobEnvironment(
        request=request, config=config, context=context, events=events, clock=SystemClock()
    )


def _record(
    request: JobRequest,
    config: runner_config.RunnerConfig | None,
    outcome: JobOutcome,
    context: JobContext,
) -> None:
    if config is None or not config.cluster_id:
        return
    if request.kind is JobKind.INSPECT and request.lost:
        outcome = request.lost
    elif request.kind not in _RECORDED or request.is_dry_run:
        return
    try:
        with open_locations(config, context.cancelled) as locations:
            record_outcome(locations.opened, outcome, config.cluster_id, named=bool(request.name))
    except Exception:
        # Process top, as above: a note that cannot be written must not cost the outcome itself.
        log.exception("outcome not recorded")


def _die_with_parent() -> None:
    """Ask the kernel for SIGTERM when the parent ends, and look whether it has already."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM, 0, 0, 0)
    parent = os.environ.get("RUNNER_JOB_PARENT")
    if parent and os.getppid() != int(parent):
        sys.exit(Cancelled.exit_code)


if __name__ == "__main__":
    code = main()
    # The parent does this too; if it was killed, nobody else would.
    shutil.rmtree(os.environ["RUNNER_JOB_SCRATCH"], ignore_errors=True)
    sys.stdout.flush()
    sys.stderr.flush()
    # Threads that hang in the socket of a dead location must not keep the process.
    os._exit(code)
