"""Turns what jobs tell into the object's status; pure state, behind a lock."""

from __future__ import annotations

import threading
from datetime import datetime

from attrs import evolve

from controller.api.conditions import Verdict
from controller.api.status import (
    AttemptSummary,
    BackupSummary,
    DatabaseBackupStatus,
    LocationStatus,
    RestoreSummary,
    VerificationSummary,
)
from controller.process.clock import Clock
from runner.conditions import Basis, assess, own_part
from runner.inspection import Inspection
from runner.jobs.request import JobRequest
from runner.metrics import RunnerMetrics
from runner.outcome import JobKind, JobOutcome, LocationState, Result
from runner.past import ended
from runner.ports import StatusSink


class Reports:
    """Keeps the runner's part of the status, and hands each change on.

    Threads: any may call. `_lock` guards `_status`, `_basis`, `_deletion`, `_known` and
    `_complete`; the metrics are called outside of it. The sink is told under `_telling`, so that
    the last status that it hears of is the newest one; it never blocks.
    """

    def __init__(self, sink: StatusSink, metrics: RunnerMetrics, clock: Clock) -> None:
        self._sink = sink
        self._metrics = metrics
        self._clock = clock
        self._telling = threading.Lock()
        self._lock = threading.Lock()
        self._basis = Basis()
        self._deletion: Verdict | None = None
        self._status = DatabaseBackupStatus()
        # The last state of each location that ever answered.
        self._known: dict[str, LocationState] = {}
        self._complete: BackupSummary | None = None

    @property
    def status(self) -> DatabaseBackupStatus:
        with self._lock:
            return self._status

    def resume(self, former: DatabaseBackupStatus) -> None:
        """Go on from what a former runner reported; it is not told to the sink, which knows it."""
        now = self._clock.now()
        with self._lock:
            self._status = ended(own_part(former), now)
            self._known = {one.name: _state(one, now) for one in former.locations}
            self._complete = former.last_backup

    def job_started(self, request: JobRequest, started_at: datetime, *, database: str) -> None:
        """Say that a job runs.

        Args:
            database: the one that is backed up.
        """
        restore = request.restore
        if request.kind is JobKind.BACKUP:
            self._change(last_attempt=AttemptSummary(started_at=started_at))
        elif restore and not restore.dry_run:
            self._change(
                last_restore=RestoreSummary(
                    backup_id=restore.name,
                    database=restore.target(database),
                    started_at=started_at,
                )
            )

    def job_finished(self, request: JobRequest, outcome: JobOutcome) -> None:
        if outcome.kind is JobKind.BACKUP:
            self._change(last_attempt=_attempt(outcome))
        elif outcome.kind is JobKind.RESTORE and request.restore and not request.restore.dry_run:
            # A job that was lost says less than what was known when it began.
            begun = self.status.last_restore
            self._change(
                last_restore=RestoreSummary(
                    backup_id=outcome.backup_id or (begun.backup_id if begun else ""),
                    database=outcome.database or (begun.database if begun else ""),
                    started_at=outcome.started_at,
                    finished_at=outcome.finished_at,
                    succeeded=outcome.success,
                    message=outcome.message,
                )
            )
        elif outcome.kind is JobKind.VERIFY and outcome.result is not Result.CANCELLED:
            self._change(last_verification=_verification(outcome))

    def inspected(self, inspection: Inspection) -> None:
        """Success comes from the bucket: what is stored is what was backed up."""
        states = self._with_last_known(inspection.states)
        for state in states:
            self._metrics.set_location(state)
        last = self._last_backup(inspection)
        stored = self._stored_backups(inspection)
        if stored is not None:
            self._metrics.set_stored(count=stored, newest_at=last.started_at if last else None)
        if last is not None and last == inspection.complete and inspection.complete_plain_bytes:
            self._metrics.set_plain_bytes(inspection.complete_plain_bytes)
        oldest = [one.oldest_restorable_at for one in states if one.oldest_restorable_at]
        latest = [one.newest_restorable_at for one in states if one.newest_restorable_at]
        remembered = {outcome.kind: outcome for outcome in inspection.last}
        changes: dict[str, object] = {
            "last_backup": last,
            "stored_backups": stored,
            "oldest_backup_at": min(oldest, default=None),
            "recoverable_from": min(oldest, default=None),
            "recoverable_until": max(latest, default=None),
            "locations": tuple(_location(state) for state in states),
        }
        status = self.status
        attempt, verification = status.last_attempt, status.last_verification
        if (backup := remembered.get(JobKind.BACKUP)) and (
            attempt is None or (attempt.finished_at and backup.started_at > attempt.started_at)
        ):
            changes["last_attempt"] = _attempt(backup)
        if (verify := remembered.get(JobKind.VERIFY)) and (
            verification is None or verify.finished_at > verification.finished_at
        ):
            changes["last_verification"] = _verification(verify)
        self._change(**changes)

    def judge_by(self, basis: Basis) -> None:
        """Take what the configuration asks for; the next report is the first to be judged by it.

        Before any other report: a suspended or overdue object that was said to be well in
        between would have lost since when it is not.
        """
        with self._lock:
            self._basis = basis

    def schedule(self, next_at: datetime | None) -> None:
        self._change(next_backup_at=next_at)

    def deletion(self, verdict: Verdict) -> None:
        """Take how far the deletion of everything that is stored is."""
        with self._lock:
            self._deletion = verdict
        self._change()

    def _with_last_known(self, states: tuple[LocationState, ...]) -> tuple[LocationState, ...]:
        """Of a location that cannot be listed now, what was known stays, and its problem is new."""
        with self._lock:
            merged = []
            for state in states:
                known = self._known.get(state.name)
                if not state.answered and known is not None:
                    state = evolve(  # noqa: PLW2901 - the same location
                        known,
                        healthy=False,
                        answered=False,
                        reason=state.reason,
                        message=state.message,
                        checked_at=state.checked_at,
                        vanished_backups=0,
                    )
                merged.append(state)
            self._known = {
                state.name: state for state in merged if state.answered or state.name in self._known
            }
        return tuple(merged)

    def _last_backup(self, inspection: Inspection) -> BackupSummary | None:
        """The newest successful one; while a location is silent, not older than the known one."""
        found = inspection.complete
        with self._lock:
            known = self._complete
            if known is not None and not _all_answered(inspection):
                found = max(known, found or known, key=lambda one: one.started_at)
            self._complete = found
        return found

    def _stored_backups(self, inspection: Inspection) -> int | None:
        """How many there are, or at least are; None while no location ever answered."""
        if _all_answered(inspection):
            return inspection.stored_backups
        with self._lock:
            known = [state.stored_backups for state in self._known.values()]
        return max(inspection.stored_backups, *known) if known else None

    def _change(self, **changes: object) -> None:
        with self._telling:
            now = self._clock.now()
            with self._lock:
                changed = evolve(self._status, **changes)  # type: ignore[arg-type]  # by name
                status = evolve(
                    changed, conditions=assess(changed, self._basis, now, self._deletion)
                )
                if status == self._status:
                    return
                self._status = status
            self._sink.report(status)


def _all_answered(inspection: Inspection) -> bool:
    return all(state.answered for state in inspection.states)


def _attempt(outcome: JobOutcome) -> AttemptSummary:
    return AttemptSummary(
        started_at=outcome.started_at,
        finished_at=outcome.finished_at,
        succeeded=outcome.success,
        reason=outcome.reason,
        message=outcome.message,
    )


def _verification(outcome: JobOutcome) -> VerificationSummary:
    doubts = [fate for fate in outcome.fates if fate.ok is None]
    return VerificationSummary(
        backup_id=outcome.backup_id,
        finished_at=outcome.finished_at,
        succeeded=None if outcome.success and doubts else outcome.success,
        reason=outcome.reason or next((fate.reason for fate in doubts), ""),
        message=outcome.message or "; ".join(f"{fate.name}: {fate.message}" for fate in doubts),
    )


def _state(status: LocationStatus, now: datetime) -> LocationState:
    """What is known of a location from a former runner's status."""
    return LocationState(
        name=status.name,
        healthy=status.healthy,
        reason=status.reason,
        message=status.message,
        checked_at=now,
        stored_backups=status.stored_backups,
        oldest_restorable_at=status.oldest_backup_at,
        last_backup_at=status.newest_backup_at,
        last_verified_at=status.last_verified_at,
    )


def _location(state: LocationState) -> LocationStatus:
    return LocationStatus(
        name=state.name,
        healthy=state.healthy,
        reason=state.reason,
        message=state.message,
        stored_backups=state.stored_backups,
        oldest_backup_at=state.oldest_restorable_at,
        newest_backup_at=state.last_backup_at,
        last_verified_at=state.last_verified_at,
    )
