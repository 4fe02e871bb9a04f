"""The end of an object whose backups go with it: what runs is ended, then all is deleted.

It is tried until nothing is left, later each time, for the controller sees to it
that an object is not held for ever. What was asked for once is never undone: an
object that is being deleted goes, be its policy changed meanwhile. So nothing
else begins any more, whatever becomes of the order.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from controller.api.conditions import ConditionStatus, Verdict
from controller.api.errors import Cancelled, DataRetained
from controller.process.clock import Clock
from runner.jobs.events import Event
from runner.jobs.request import JobRequest
from runner.jobs.slot import JobSlot, RunningJob
from runner.outcome import JobKind, JobOutcome
from runner.ports import DeletionOrder

log = logging.getLogger(__name__)

#: How often the order is looked at, and how far the job is told.
_LOOK_S = 20.0
_FIRST_RETRY_S = 10.0
_LAST_RETRY_S = 120.0
_WHY = (
    "the object is being deleted, and its backups with it (spec.deletionPolicy: Delete): nothing"
    " else begins any more"
)


class Deletion:
    """Carries the order out.

    Args:
        report: takes the condition, whenever it becomes another.

    Threads: `step` is called by one; `finished` by a job's, while that job still has the slot.
        `_is_over`, `_failures` and `_due_mono` are read by the one only when no job has.
        `_lock` guards `_has_ended`, and that nothing is reported of a job after its end;
        `report`, which never blocks, is called under it.
    """

    def __init__(
        self,
        order: DeletionOrder,
        slot: JobSlot,
        report: Callable[[Verdict], None],
        clock: Clock,
    ) -> None:
        self._order = order
        self._slot = slot
        self._report = report
        self._clock = clock
        self._lock = threading.Lock()
        self._has_ended = False
        self._is_begun = False
        self._is_over = False
        self._failures = 0
        self._due_mono = float("-inf")

    @property
    def is_begun(self) -> bool:
        return self._is_begun

    def step(self) -> float | None:
        """Do what is due.

        Returns: seconds until the next step; None while nobody deletes the object.
        """
        is_ordered = self._order.is_given()
        if not self._is_begun:
            if not is_ordered:
                return None
            self._is_begun = True
            log.warning("the object is being deleted, and its backups with it")
            self._slot.reserve(JobKind.DELETE, _WHY)
        running = self._slot.running
        if running is not None:
            self._attend(running, is_ordered=is_ordered)
        elif is_ordered and not self._is_over and self._wait_s() <= 0:
            with self._lock:
                self._has_ended = False
            self._tell_progress("Deleting", "it begins")
            self._slot.try_start(JobRequest(kind=JobKind.DELETE, scheduled=True))
        wait_s = self._wait_s()
        return wait_s if 0 < wait_s < _LOOK_S else _LOOK_S

    def finished(self, request: JobRequest, outcome: JobOutcome) -> None:
        """Take how a job ended."""
        if request.kind is not JobKind.DELETE:
            return
        where = "; ".join(
            f"{fate.name}: {fate.message if fate.ok else f'{fate.reason}: {fate.message}'}"
            for fate in outcome.fates
        )
        self._is_over = outcome.success or outcome.reason == DataRetained.reason
        if outcome.success:
            verdict = Verdict(ConditionStatus.TRUE, "Deleted", where)
        elif self._is_over:
            verdict = Verdict(ConditionStatus.FALSE, outcome.reason, where)
        else:
            delay_s = min(_FIRST_RETRY_S * 2**self._failures, _LAST_RETRY_S)
            self._failures = min(self._failures + 1, 16)
            self._due_mono = self._clock.monotonic() + delay_s
            again = f"{where or outcome.message}; tried again in {delay_s:.0f} s"
            verdict = Verdict(ConditionStatus.FALSE, outcome.reason, again)
        with self._lock:
            self._has_ended = True
            self._report(verdict)

    def _wait_s(self) -> float:
        return self._due_mono - self._clock.monotonic()

    def _attend(self, running: RunningJob, *, is_ordered: bool) -> None:
        """End what would only make, or look at, what is to be deleted; a restore may need it."""
        if running.request.kind is JobKind.DELETE:
            if not is_ordered:
                running.process.cancel(Cancelled("the order to delete was taken back"))
            elif progress := self._slot.progress:
                self._tell_progress("Deleting", _words(progress))
        elif running.request.kind is JobKind.RESTORE:
            self._tell_progress("RestoreRuns", "it begins when a restore has ended")
        else:
            running.process.cancel(Cancelled("the object is being deleted"))

    def _tell_progress(self, reason: str, message: str) -> None:
        with self._lock:
            if not self._has_ended:
                self._report(Verdict(ConditionStatus.FALSE, reason, message))


def _words(progress: Event) -> str:
    """How far a job is, by its last event."""
    total = progress.get("total")
    if not total:
        return "it has begun"
    return f"{progress['stage']}: {progress['done']} of {total} {progress['unit']}"
