"""Running a job for a person: through the runner if one listens, else here."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from controller.api.errors import Cancelled
from controller.process.clock import SystemClock
from controller.process.signals import signals_to
from runner.cli.context import CliContext
from runner.cli.turn import fence_for, take_turn
from runner.cli.view import job_view
from runner.control import RunnerNotRunning
from runner.jobs.events import Event
from runner.jobs.process import JobLimits, JobProcess
from runner.jobs.request import JobRequest, look_after
from runner.outcome import JobOutcome
from runner.pipeline.pipe import Pipe


def run_job(
    context: CliContext,
    request: JobRequest,
    *,
    as_json: bool,
    detach: bool = False,
    wait: bool = True,
) -> int:
    """Run one job, show what it tells, and return its own exit code.

    A client that is lost or interrupted never ends a job in the runner.
    """
    view = job_view(as_json=as_json, dry_run=request.is_dry_run, detach=detach)
    exit_code, is_accepted = 70, False
    with view:
        try:
            for event in _events(context, request, detach=detach, wait=wait):
                view.show(event)
                if event["event"] == "outcome":
                    exit_code = int(event["exitCode"])
                elif event["event"] == "accepted":
                    is_accepted = True
                    exit_code = 0 if detach else exit_code
        except KeyboardInterrupt:
            view.interrupted(goes_on=is_accepted)
            return 130
    return exit_code


def _events(
    context: CliContext, request: JobRequest, *, detach: bool, wait: bool
) -> Iterator[Event]:
    control = context.control()
    if not control.is_answered():
        if detach:
            raise RunnerNotRunning(
                "no runner listens: start one with `runner run`, or leave out --detach to run it "
                "here"
            )
        context.load()  # nobody waits for a turn only to hear that the configuration is wrong
        if request.is_dry_run:
            yield from _run_here(context, request)
            return
        fence = fence_for(context, f"a {request.kind.value}")
        try:
            if (yield from take_turn(fence, control, wait=wait)):
                yield from _run_here(context, request)
                return
        finally:
            fence.release()
    yield from control.start(request, detach=detach, wait=wait)


def _run_here(context: CliContext, request: JobRequest) -> Iterator[Event]:
    """The job as a child of this process; Ctrl-C ends it, and it says how that went."""
    config = context.load()
    events: Pipe[Event] = Pipe(10_000)
    limits = JobLimits(
        deadline_s=config.backup.spec.timeout.total_seconds(),
        stall_s=config.backup.spec.stall_timeout.total_seconds(),
    )

    def listen(event: Event) -> None:
        events.put(event)

    # What the job says comes as events; its log would only stand amid them.
    environ = {"LOG_LEVEL": "ERROR", **context.environ}
    process = JobProcess(
        request, context.config, limits, on_event=listen, clock=SystemClock(), environ=environ
    )

    def work() -> None:
        try:
            result = process.run()
            if result.lost:
                _clean_up(context, limits, result.outcome, environ)
            events.put(result.event())
        finally:
            events.close()

    thread = threading.Thread(target=work, name="job")
    thread.start()
    try:
        with _ended_by_ctrl_c(process):
            while (event := events.get()) is not None:
                yield event
    except GeneratorExit:
        process.cancel()
        raise
    finally:
        thread.join()


@contextmanager
def _ended_by_ctrl_c(process: JobProcess) -> Iterator[None]:
    """In the block Ctrl-C interrupts nothing but the job, whose outcome is still to come."""

    def end(_: int) -> None:
        os.write(2, b"ending the job ...\n")  # a stream may be in the middle of another line
        process.cancel(Cancelled("ended by Ctrl-C"))

    with signals_to(end, signal.SIGINT):
        yield


def _clean_up(
    context: CliContext, limits: JobLimits, lost: JobOutcome, environ: Mapping[str, str]
) -> None:
    """Take back what a job that was killed left at the locations, as the runner would."""
    JobProcess(look_after(lost), context.config, limits, clock=SystemClock(), environ=environ).run()
