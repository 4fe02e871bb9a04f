"""Which scheduled job is due: a small state around the object's calendar.

Nothing here waits, starts jobs or asks for the time. The parent calls
`Scheduler.due(now)` at least once a minute (the wall clock may jump) and at
`next_at(now)`.

- Ticks missed for whatever reason - the runner was down, another job ran,
  suspended - run once, if one of them is not older than
  `startingDeadlineSeconds`.
- An object that never made a backup is due at once (after its jitter): a new
  database must not wait a month for its first protection.
- A changed schedule counts from its change: a tick of the new one that lies
  before is not a missed one.
- `suspend` stops scheduled jobs of every kind; resuming catches up.
- A verification that was cancelled, or was of one location or one backup, is
  none that was scheduled.
- Only an attempt that ended counts. A runner that is killed with its job
  makes it again.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from runner.jobs.request import JobRequest
from runner.outcome import JobKind, Result
from runner.schedule import Schedule, expected_interval, has_same_ticks, next_tick

#: A tick is noticed some moments late even by an idle parent.
_SHORTEST_DEADLINE = timedelta(seconds=60)
#: A clock that is set back by less is waited out.
_CLOCK_STEP = timedelta(seconds=60)
#: Who cancels a verification wants to be rid of it for a while.
_AFTER_CANCEL = timedelta(hours=1)


class Scheduler:
    """What is due now. One per runner; not thread-safe: the parent's loop owns it.

    Args:
        now: when the runner started.
        last_attempt_at: start of the last backup attempt that ended, or of the
            newest stored backup, whichever is later; None: there was neither.
        has_backup: something is stored that a verification could read.
        last_verified_at: when the newest backup of every location was last
            verified, or tried to be; None (never, or the record is lost) makes
            one due.
    """

    def __init__(
        self,
        schedule: Schedule,
        *,
        now: datetime,
        last_attempt_at: datetime | None = None,
        has_backup: bool = False,
        last_verified_at: datetime | None = None,
    ) -> None:
        self._schedule = schedule
        # Ticks after this are owed; a running backup has paid for those before its start.
        self._since = last_attempt_at or now
        # Due date of the very first backup; None once there was an attempt.
        self._first_at = None if last_attempt_at else now + schedule.jitter
        # A tick of a former schedule that was still owed when it changed.
        self._owed: datetime | None = None
        self._has_backup = has_backup
        self._last_verified_at = last_verified_at
        # A verification that was cancelled is still owed, but not at once.
        self._verify_not_before: datetime | None = None
        self._running: tuple[JobKind, datetime] | None = None
        self._expected: tuple[Schedule, object, timedelta | None] | None = None

    @property
    def schedule(self) -> Schedule:
        return self._schedule

    def due(self, now: datetime) -> JobKind | None:
        """Name the scheduled job to start now; None while one runs or nothing is owed."""
        self._heed_clock(now)
        if self._running or self._schedule.suspend:
            return None
        if self._owed_tick(now):
            return JobKind.BACKUP
        verify_at = self._verify_at(now)
        return JobKind.VERIFY if verify_at and verify_at <= now else None

    def next_backup_at(self, now: datetime) -> datetime | None:
        """Give the next tick, or an owed one that lies before `now`; None while suspended."""
        self._heed_clock(now)
        if self._schedule.suspend:
            return None
        return self._owed_tick(now) or self._first_at or next_tick(self._schedule, now)

    def next_at(self, now: datetime) -> datetime | None:
        """Give when `due` has to be asked next; not after `now` if it would name a job."""
        if self._schedule.suspend:
            return None
        coming = (self.next_backup_at(now), self._verify_at(now))
        return min((moment for moment in coming if moment), default=None)

    def expected_interval(self, now: datetime) -> timedelta | None:
        """`expected_interval` of the schedule, worked out once a day."""
        key = (self._schedule, now.date())
        if self._expected is None or self._expected[:2] != key:
            self._expected = (*key, expected_interval(self._schedule, now))
        return self._expected[2]

    def started(self, kind: JobKind, now: datetime) -> None:
        """Note that a job runs, scheduled or asked for by a person.

        Raises: RuntimeError: another one runs; the parent's single flight failed.
        """
        if self._running:
            raise RuntimeError(f"{self._running[0].value} still runs")
        self._running = (kind, now)
        if kind is JobKind.BACKUP:
            self._since, self._first_at, self._owed = now, None, None

    def finished(self, request: JobRequest, result: Result) -> None:
        """Note that the running job ended, however it did.

        What a person had verified counts as the scheduled verification only if
        it was as much: the newest backup of every location.
        """
        if self._running is None:
            raise RuntimeError("no job runs")
        kind, started_at = self._running
        self._running = None
        if kind is JobKind.BACKUP:
            self._has_backup = self._has_backup or result is Result.SUCCESS
        elif kind is JobKind.VERIFY and not request.name and not request.location:
            if result is Result.CANCELLED:
                self._verify_not_before = started_at + _AFTER_CANCEL
            else:
                self._last_verified_at = started_at

    def reload(self, schedule: Schedule, now: datetime) -> None:
        """Take a new schedule; ticks that the old one still owes are not forgotten."""
        if not has_same_ticks(schedule, self._schedule):
            if self._first_at is None:
                self._owed = self._owed_tick(now)
            else:
                self._first_at += schedule.jitter - self._schedule.jitter
            self._since = now
        self._schedule = schedule

    def _owed_tick(self, now: datetime) -> datetime | None:
        if self._first_at is not None:
            return self._first_at if self._first_at <= now else None
        oldest = now - max(self._schedule.starting_deadline, _SHORTEST_DEADLINE)
        if self._owed is not None and self._owed >= oldest:
            return self._owed
        tick = next_tick(self._schedule, max(self._since, oldest - timedelta.resolution))
        return tick if tick is not None and tick <= now else None

    def _verify_at(self, now: datetime) -> datetime | None:
        if self._schedule.verify_every is None or not self._has_backup:
            return None
        due_at = now
        if self._last_verified_at is not None:
            due_at = self._last_verified_at + self._schedule.verify_every
        return max(due_at, self._verify_not_before or due_at)

    def _heed_clock(self, now: datetime) -> None:
        """Forget moments that a wrong clock put into the future: nothing would ever be due.

        A small step back is waited out instead, or a tick would run twice.
        """
        if self._since - now > _CLOCK_STEP:
            self._since = now
        if (
            self._first_at is not None
            and self._first_at - self._schedule.jitter - now > _CLOCK_STEP
        ):
            self._first_at = now + self._schedule.jitter
        if self._last_verified_at is not None and self._last_verified_at - now > _CLOCK_STEP:
            self._last_verified_at = now
        if self._verify_not_before is not None and self._verify_not_before - now > _AFTER_CANCEL:
            self._verify_not_before = None
