"""An object's calendar: which moments its spec asks for. Pure.

What is owed now, given what ran before, is runner.scheduler's.

A tick is a moment of `backupCron` in `timeZone`, or a multiple of
`backupInterval` since the epoch, plus the object's own jitter. In a zone with
summer time, a cron with a fixed hour and minute runs once a day also when its
moment is skipped (then at the end of the gap) or repeated (then at the first
of the two); one whose hour or minute begins with a star follows the clock on
the wall.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

from attrs import evolve, frozen
from cronsim import CronSim

from controller.api.cron import read_cron
from controller.api.v1 import DatabaseBackup

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: How far `expected_interval` looks: monthly and leaner months, workdays, holidays.
_HORIZON = timedelta(days=400)
_DENSE_DAYS = 3


@frozen(kw_only=True)
class Schedule:
    """When an object wants its jobs; equal values mean the same moments.

    Args:
        cron: five fields, normalised; empty if `interval` counts.
        interval: None if `cron` counts; both empty: no scheduled backups.
        jitter: this object's own delay of every tick.
        starting_deadline: how late a missed tick may still run.
        verify_every: None: no scheduled verification.
    """

    cron: str = ""
    interval: timedelta | None = None
    zone: tzinfo = UTC
    jitter: timedelta = timedelta()
    suspend: bool = False
    starting_deadline: timedelta = timedelta(days=1)
    verify_every: timedelta | None = None


def schedule_of(backup: DatabaseBackup) -> Schedule:
    """Read the schedule of an object; the cron wins over the interval, as in the Go original."""
    spec = backup.spec
    schedule = Schedule(
        zone=UTC if spec.time_zone == "UTC" else ZoneInfo(spec.time_zone),
        jitter=jitter_of(backup.metadata.namespace, backup.metadata.name, spec.jitter_seconds),
        suspend=spec.suspend,
        starting_deadline=timedelta(seconds=spec.starting_deadline_seconds),
        verify_every=spec.verification.every if spec.verification else None,
    )
    if spec.backup_cron:
        cron = read_cron(spec.backup_cron)
        zone = cron.zone or schedule.zone
        return evolve(schedule, cron=cron.expression, interval=cron.every, zone=zone)
    if spec.backup_interval_hours:
        return evolve(schedule, interval=timedelta(hours=spec.backup_interval_hours))
    return schedule


def jitter_of(namespace: str, name: str, jitter_seconds: int) -> timedelta:
    """Delay of one object, 0..jitter_seconds: stable, and spread over the objects."""
    digest = hashlib.sha256(f"{namespace}/{name}".encode()).digest()
    return timedelta(seconds=int.from_bytes(digest[:8]) % (jitter_seconds + 1))


def has_same_ticks(one: Schedule, other: Schedule) -> bool:
    """Whether two schedules differ at most in what is done about their ticks."""
    return (one.cron, one.interval, one.zone, one.jitter) == (
        other.cron,
        other.interval,
        other.zone,
        other.jitter,
    )


def next_tick(schedule: Schedule, after: datetime) -> datetime | None:
    """Give the first tick strictly after `after`, in UTC; None if there is none.

    Suspension is not looked at: it stops jobs, not the calendar.
    """
    for tick in _ticks(schedule, after - schedule.jitter):
        return tick + schedule.jitter
    return None


def expected_interval(schedule: Schedule, at: datetime) -> timedelta | None:
    """Give the longest pause between two ticks of the coming year, for alerts.

    A nightly backup on workdays gives three days: its alert is to sleep over
    the weekend. None when there are no ticks, or while suspended.
    """
    if schedule.suspend:
        return None
    if not schedule.cron:
        return schedule.interval
    longest = timedelta()
    previous: datetime | None = None
    for number, (first, last) in enumerate(_active_days(schedule, at)):
        if previous is not None:
            longest = max(longest, first - previous)
        if number < _DENSE_DAYS:
            longest = max(longest, _longest_pause(schedule, first, last))
        previous = last
    return longest or None


def _ticks(schedule: Schedule, after: datetime) -> Iterator[datetime]:
    """Give the ticks before jitter, strictly after `after`, in UTC and rising."""
    if schedule.cron:
        for local in CronSim(schedule.cron, after.astimezone(schedule.zone)):
            tick = local.astimezone(UTC)
            # Inside of a repeated hour the iterator may first step back by it.
            if tick > after:
                yield tick
                after = tick
    elif schedule.interval is not None:
        tick = _EPOCH + ((after - _EPOCH) // schedule.interval) * schedule.interval
        while True:
            tick += schedule.interval
            yield tick


def _active_days(schedule: Schedule, at: datetime) -> Iterator[tuple[datetime, datetime]]:
    """Give the first and last tick of each day with a tick; at least two such days."""
    cursor, count = at, 0
    while count < 2 or cursor < at + _HORIZON:
        first = next(_ticks(schedule, cursor), None)
        if first is None:
            return
        local = first.astimezone(schedule.zone)
        midnight = datetime.combine(
            local.date() + timedelta(days=1), datetime.min.time(), schedule.zone
        )
        last = next(CronSim(schedule.cron, midnight, reverse=True), midnight).astimezone(UTC)
        yield first, max(first, last)
        cursor, count = midnight.astimezone(UTC) - timedelta.resolution, count + 1


def _longest_pause(schedule: Schedule, first: datetime, last: datetime) -> timedelta:
    longest, previous = timedelta(), first
    for tick in _ticks(schedule, first):
        if tick > last:
            break
        longest, previous = max(longest, tick - previous), tick
    return longest
