"""The calendar against a slow model that looks at every minute, and what is owed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, example, given, settings, strategies as st

from controller.api.errors import InvalidSpec
from controller.api.v1 import (
    DatabaseBackup,
    DatabaseBackupSpec,
    ObjectMeta,
    PostgresSpec,
    Verification,
)
from runner.outcome import JobKind
from runner.schedule import Schedule, expected_interval, jitter_of, next_tick, schedule_of
from runner.scheduler import Scheduler

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"]
NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def a_backup(name: str = "shop", namespace: str = "db", **spec: Any) -> DatabaseBackup:
    if not {"backup_cron", "backup_interval_hours"} & spec.keys():
        spec["backup_cron"] = "0 1 * * *"
    return DatabaseBackup(
        metadata=ObjectMeta(name=name, namespace=namespace),
        spec=DatabaseBackupSpec(
            database_type="postgres",
            backup_storage_class="s",
            postgres=PostgresSpec(database="shop", host="shop-db", user="backup"),
            **spec,
        ),
    )


def a_schedule(**spec: Any) -> Schedule:
    return schedule_of(a_backup(**spec))


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


# -- the calendar -----------------------------------------------------------------


def expand(field: str, low: int, high: int) -> set[int]:
    """What one field of a cron matches; the forms that the strategies below make."""
    values: set[int] = set()
    for term in field.split(","):
        span, _, step = term.partition("/")
        if span == "*":
            first, last = low, high
        elif "-" in span:
            first, last = map(int, span.split("-"))
        else:
            first, last = int(span), high if step else int(span)
        values.update(range(first, last + 1, int(step or 1)))
    return values


class SlowCron:
    """A cron by the book: every minute is looked at."""

    def __init__(self, text: str) -> None:
        minute, hour, day, month, weekday = text.split()
        self.minutes, self.hours = expand(minute, 0, 59), expand(hour, 0, 23)
        self.days, self.months = expand(day, 1, 31), expand(month, 1, 12)
        self.weekdays = {number % 7 for number in expand(weekday, 0, 6)}
        self.either_day = day not in ("*", "*/1") and weekday not in ("*", "*/1")
        self.by_wall = minute.startswith("*") or hour.startswith("*")

    def matches(self, local: datetime) -> bool:
        by_day = local.day in self.days
        by_weekday = local.isoweekday() % 7 in self.weekdays
        day = (by_day or by_weekday) if self.either_day else (by_day and by_weekday)
        return (
            day
            and local.month in self.months
            and local.hour in self.hours
            and local.minute in self.minutes
        )

    def ticks(self, zone: ZoneInfo, after: datetime, until: datetime) -> list[datetime]:
        if self.by_wall:
            minute = after.replace(second=0, microsecond=0)
            found = {
                minute + n * MINUTE
                for n in range((until - minute) // MINUTE + 1)
                if self.matches((minute + n * MINUTE).astimezone(zone))
            }
        else:
            found = set()
            wall = (after.astimezone(zone) - DAY).replace(second=0, microsecond=0, tzinfo=None)
            for n in range((until - after + 2 * DAY) // MINUTE):
                shown = wall + n * MINUTE
                if self.matches(shown):
                    found.add(self._first_moment(shown, zone))
        return sorted(tick for tick in found if after < tick <= until)

    @staticmethod
    def _first_moment(shown: datetime, zone: ZoneInfo) -> datetime:
        """When clocks first show this, or the first thing after it that they ever show."""
        while True:
            moment = shown.replace(tzinfo=zone, fold=0).astimezone(UTC)
            if moment.astimezone(zone).replace(tzinfo=None) == shown:
                return moment
            shown += MINUTE


def _field(low: int, high: int) -> st.SearchStrategy[str]:
    number = st.integers(low, high)
    span = st.tuples(number, number).map(lambda pair: f"{min(pair)}-{max(pair)}")
    step = st.tuples(st.one_of(st.just("*"), span), st.integers(1, 20))
    term = st.one_of(number.map(str), span, step.map(lambda pair: f"{pair[0]}/{pair[1]}"))
    return st.one_of(st.just("*"), term, st.lists(number.map(str), min_size=2).map(",".join))


crons = st.tuples(
    _field(0, 59),
    _field(0, 23),
    st.one_of(st.just("*"), _field(1, 31)),
    st.one_of(st.just("*"), _field(1, 12)),
    st.one_of(st.just("*"), _field(0, 6)),
).map(" ".join)

#: Moments around which calendars go wrong, in UTC.
EDGES = [
    "2026-03-29T00:30",  # Berlin loses an hour
    "2026-10-25T00:30",  # Berlin repeats one
    "2026-03-08T06:30",  # New York
    "2026-11-01T05:30",
    "2026-04-04T14:30",  # Lord Howe repeats half an hour
    "2026-10-03T15:15",  # and loses it
    "2028-02-28T22:00",  # a leap day
    "2026-12-31T20:00",  # the end of a year and of its 53rd week
    "2026-01-31T23:59",
]
moments = st.builds(
    lambda edge, offset: utc(edge) + timedelta(seconds=offset),
    st.sampled_from(EDGES),
    st.integers(-2 * 86400, 2 * 86400),
)


@settings(max_examples=80, deadline=None)
@given(cron=crons, zone=st.sampled_from(ZONES), after=moments)
@example("30 2 * * *", "Europe/Berlin", utc("2026-10-25T01:15"))
@example("0,30 2 * * *", "Europe/Berlin", utc("2026-03-28T12:00"))
@example("*/30 2 * * *", "Europe/Berlin", utc("2026-10-25T00:15"))
@example("0 0 */2 * 1", "UTC", utc("2026-11-01T00:00"))
@example("15 2 * * *", "Australia/Lord_Howe", utc("2026-10-03T12:00"))
@example("* 7-7/2 * * *", "UTC", utc("2026-11-01T00:00"))
def test_ticks_are_those_of_the_slow_model(cron: str, zone: str, after: datetime) -> None:
    model = SlowCron(cron)
    # Where clocks move by half an hour, cronsim leaves out half of the next starred hour.
    assume(not (model.by_wall and zone == "Australia/Lord_Howe"))
    until = after + 2 * DAY
    expected = model.ticks(ZoneInfo(zone), after, until)
    try:
        schedule = a_schedule(backup_cron=cron, time_zone=zone)
    except InvalidSpec:  # no date matches it: refused rather than silent for ever
        assert expected == []
        return

    ticks: list[datetime] = []
    tick = next_tick(schedule, after)
    while tick is not None and tick <= until and len(ticks) < 150:
        ticks.append(tick)
        tick = next_tick(schedule, tick)

    assert ticks == expected[:150]


@given(hours=st.integers(1, 200), after=moments, jitter=st.integers(0, 7200))
def test_intervals_are_aligned_to_the_epoch(hours: int, after: datetime, jitter: int) -> None:
    schedule = a_schedule(backup_interval_hours=hours, jitter_seconds=jitter, time_zone=ZONES[1])

    tick = next_tick(schedule, after)

    assert tick is not None
    assert after < tick <= after + hours * HOUR
    assert (tick - schedule.jitter).timestamp() % (hours * 3600) == 0


def test_two_hours_are_the_even_hours_of_utc() -> None:
    schedule = a_schedule(backup_interval_hours=2, time_zone="Asia/Kolkata")

    assert utc("2026-11-23T14:00") == next_tick(schedule, utc("2026-11-23T12:00"))


@given(after=moments, jitter=st.integers(1, 3600))
def test_jitter_moves_every_tick_by_the_same_span(after: datetime, jitter: int) -> None:
    schedule = a_schedule(backup_cron="*/7 * * * *", jitter_seconds=jitter)
    plain = a_schedule(backup_cron="*/7 * * * *")

    tick = next_tick(plain, after)

    assert tick is not None
    assert tick + schedule.jitter == next_tick(schedule, after + schedule.jitter)


def test_jitter_is_stable_in_its_bounds_and_spread() -> None:
    delays = [jitter_of("db", f"shop-{number}", 600) for number in range(500)]

    assert delays == [jitter_of("db", f"shop-{number}", 600) for number in range(500)]
    assert all(timedelta() <= delay <= timedelta(seconds=600) for delay in delays)
    assert len(set(delays)) > 250
    assert jitter_of("a-b", "c", 10**6) != jitter_of("a", "b-c", 10**6)
    assert timedelta() == jitter_of("db", "shop", 0)


def test_the_cron_wins_over_the_interval() -> None:
    schedule = a_schedule(backup_cron="0 1 * * *", backup_interval_hours=2)

    assert next_tick(schedule, NOON) == utc("2026-11-24T01:00")


def test_a_suspended_object_needs_no_schedule() -> None:
    schedule = a_schedule(backup_cron="", suspend=True)

    assert next_tick(schedule, NOON) is None


@pytest.mark.parametrize(
    ("cron", "expected"),
    [
        ("* * * * *", MINUTE),
        ("0 1 * * *", DAY),
        ("0 1 * * 1-5", 3 * DAY),
        ("*/5 8-18 * * 1-5", 2 * DAY + 13 * HOUR + 5 * MINUTE),
        ("0 3 1 * *", 31 * DAY),
        ("* * 1-15 * *", 16 * DAY + MINUTE),
        ("0 0 1 1 *", 366 * DAY),
    ],
)
def test_the_expected_interval_is_the_longest_pause(cron: str, expected: timedelta) -> None:
    assert expected == expected_interval(a_schedule(backup_cron=cron), utc("2027-06-10T10:00"))


def test_the_expected_interval_of_a_night_with_an_hour_more() -> None:
    schedule = a_schedule(backup_cron="0 1 * * *", time_zone="Europe/Berlin")

    assert expected_interval(schedule, NOON) == 25 * HOUR


def test_the_expected_interval_of_an_interval_or_of_nothing() -> None:
    assert expected_interval(a_schedule(backup_interval_hours=6), NOON) == 6 * HOUR
    assert expected_interval(a_schedule(suspend=True), NOON) is None


@settings(max_examples=30, deadline=None)
@given(
    hours=st.sets(st.integers(0, 23), min_size=1, max_size=3),
    days=st.one_of(st.just("*"), _field(1, 28)),
    weekdays=st.one_of(st.just("*"), _field(0, 6)),
    zone=st.sampled_from(ZONES),
    at=moments,
)
def test_the_expected_interval_is_found_by_looking_at_every_tick(
    hours: set[int], days: str, weekdays: str, zone: str, at: datetime
) -> None:
    cron = f"10 {','.join(map(str, sorted(hours)))} {days} * {weekdays}"
    schedule = a_schedule(backup_cron=cron, time_zone=zone)
    longest, previous = timedelta(), next_tick(schedule, at)
    assert previous is not None
    while previous < at + 400 * DAY:
        tick = next_tick(schedule, previous)
        assert tick is not None
        longest, previous = max(longest, tick - previous), tick

    found = expected_interval(schedule, at)

    assert found is not None
    # A pause within a day that a clock change stretches by an hour is not looked for.
    assert longest - HOUR <= found <= longest


# -- what is owed -----------------------------------------------------------------


def a_scheduler(now: datetime = NOON, *, ran: datetime | None = None, **spec: Any) -> Scheduler:
    return Scheduler(a_schedule(**spec), now=now, last_attempt_at=ran, has_backup=ran is not None)


def test_a_new_object_is_backed_up_at_once() -> None:
    scheduler = a_scheduler(backup_cron="0 0 1 1 *")

    assert JobKind.BACKUP is scheduler.due(NOON)
    assert scheduler.next_backup_at(NOON) == NOON


def test_a_new_object_waits_for_its_jitter() -> None:
    scheduler = a_scheduler(jitter_seconds=3600)
    start = NOON + scheduler.schedule.jitter
    assert start > NOON

    assert scheduler.due(start - timedelta(seconds=1)) is None
    assert JobKind.BACKUP is scheduler.due(start)


def test_a_suspended_object_is_never_due_and_has_no_next_time() -> None:
    scheduler = a_scheduler(suspend=True, verification=Verification(every=DAY))

    assert all(scheduler.due(NOON + n * HOUR) is None for n in range(100))
    assert scheduler.next_at(NOON) is None
    assert scheduler.next_backup_at(NOON) is None


def test_resuming_catches_up_once() -> None:
    ran = utc("2026-11-23T01:00")
    scheduler = a_scheduler(ran=ran, suspend=True)

    scheduler.reload(a_schedule(), utc("2026-11-26T09:00"))

    assert JobKind.BACKUP is scheduler.due(utc("2026-11-26T09:00"))
    run(scheduler, JobKind.BACKUP, utc("2026-11-26T09:00"))
    assert scheduler.due(utc("2026-11-27T00:59")) is None


def run(scheduler: Scheduler, kind: JobKind, start: datetime, *, success: bool = True) -> None:
    scheduler.started(kind, start)
    scheduler.finished(success=success)


def test_a_tick_missed_while_down_runs_once_after_the_start() -> None:
    scheduler = a_scheduler(utc("2026-11-23T09:00"), ran=utc("2026-11-20T01:00"))

    assert JobKind.BACKUP is scheduler.due(utc("2026-11-23T09:00"))
    run(scheduler, JobKind.BACKUP, utc("2026-11-23T09:00"))
    assert scheduler.due(utc("2026-11-23T23:00")) is None
    assert utc("2026-11-24T01:00") == scheduler.next_at(utc("2026-11-23T23:00"))


def test_a_tick_missed_for_longer_than_the_deadline_is_not_made_up() -> None:
    ran, now = utc("2026-11-22T01:00"), utc("2026-11-23T02:00")

    late = a_scheduler(now, ran=ran, starting_deadline_seconds=3599)
    in_time = a_scheduler(now, ran=ran, starting_deadline_seconds=3600)

    assert late.due(now) is None
    assert JobKind.BACKUP is in_time.due(now)


def test_a_deadline_of_zero_does_not_miss_every_tick() -> None:
    scheduler = a_scheduler(ran=utc("2026-11-23T01:00"), starting_deadline_seconds=0)

    assert JobKind.BACKUP is scheduler.due(utc("2026-11-24T01:00:30"))


def test_ticks_that_meet_a_running_job_wait_and_collapse_to_one() -> None:
    scheduler = a_scheduler(ran=utc("2026-11-23T11:00"), backup_interval_hours=1)
    scheduler.started(JobKind.RESTORE, utc("2026-11-23T11:30"))

    assert scheduler.due(utc("2026-11-23T14:30")) is None
    scheduler.finished(success=True)
    assert JobKind.BACKUP is scheduler.due(utc("2026-11-23T14:31"))
    run(scheduler, JobKind.BACKUP, utc("2026-11-23T14:31"))
    assert scheduler.due(utc("2026-11-23T14:59")) is None
    assert JobKind.BACKUP is scheduler.due(utc("2026-11-23T15:00"))


def test_a_failed_backup_is_not_repeated_before_the_next_tick() -> None:
    scheduler = a_scheduler(backup_interval_hours=1)
    run(scheduler, JobKind.BACKUP, NOON, success=False)

    assert scheduler.due(NOON + 59 * MINUTE) is None
    assert JobKind.BACKUP is scheduler.due(NOON + HOUR)


def test_a_second_job_is_refused_while_one_runs() -> None:
    scheduler = a_scheduler()
    scheduler.started(JobKind.BACKUP, NOON)

    with pytest.raises(RuntimeError, match="backup still runs"):
        scheduler.started(JobKind.VERIFY, NOON)


def test_a_changed_schedule_counts_from_its_change() -> None:
    now = utc("2026-11-23T15:00")
    scheduler = a_scheduler(now, ran=utc("2026-11-23T01:00"))

    scheduler.reload(a_schedule(backup_cron="0 2 * * *"), now)

    assert scheduler.due(now) is None
    assert utc("2026-11-24T02:00") == scheduler.next_at(now)


def test_a_tick_owed_by_the_old_schedule_survives_the_change() -> None:
    now = utc("2026-11-24T03:00")
    scheduler = a_scheduler(now, ran=utc("2026-11-23T01:00"))

    scheduler.reload(a_schedule(backup_cron="0 12 * * *"), now)

    assert JobKind.BACKUP is scheduler.due(now)
    run(scheduler, JobKind.BACKUP, now)
    assert scheduler.due(now + MINUTE) is None


def test_a_reload_that_changes_no_tick_forgets_nothing() -> None:
    now = utc("2026-11-24T03:00")
    scheduler = a_scheduler(now, ran=utc("2026-11-23T01:00"))

    scheduler.reload(a_schedule(starting_deadline_seconds=7200), now)

    assert JobKind.BACKUP is scheduler.due(now)


def test_a_first_backup_stays_due_when_the_schedule_changes() -> None:
    scheduler = a_scheduler(backup_cron="0 1 * * *")

    scheduler.reload(a_schedule(backup_cron="0 2 * * *"), NOON)

    assert JobKind.BACKUP is scheduler.due(NOON)


def test_a_clock_that_was_years_ahead_does_not_stop_the_schedule() -> None:
    scheduler = a_scheduler(
        ran=utc("2031-01-01T00:00"), backup_interval_hours=1, verification=Verification(every=DAY)
    )
    scheduler.due(NOON)

    assert JobKind.BACKUP is scheduler.due(NOON + HOUR)


def test_a_clock_set_back_a_moment_does_not_repeat_a_tick() -> None:
    scheduler = a_scheduler(ran=utc("2026-11-23T11:00"), backup_interval_hours=1)
    run(scheduler, JobKind.BACKUP, utc("2026-11-23T12:00:00.2"))

    assert scheduler.due(utc("2026-11-23T11:59:59.5")) is None
    assert scheduler.due(utc("2026-11-23T12:00:01")) is None


def test_verification_follows_the_first_backup_and_then_its_own_pace() -> None:
    scheduler = a_scheduler(verification=Verification(every=2 * DAY))
    run(scheduler, JobKind.BACKUP, NOON, success=False)
    assert scheduler.due(NOON + HOUR) is None

    run(scheduler, JobKind.BACKUP, NOON + HOUR)
    assert JobKind.VERIFY is scheduler.due(NOON + 2 * HOUR)
    run(scheduler, JobKind.VERIFY, NOON + 2 * HOUR, success=False)

    assert scheduler.due(NOON + 3 * HOUR) is None
    run(scheduler, JobKind.BACKUP, NOON + 40 * HOUR)
    assert scheduler.next_at(NOON + 41 * HOUR) == NOON + 50 * HOUR
    assert JobKind.VERIFY is scheduler.due(NOON + 50 * HOUR)


def test_a_backup_goes_before_a_verification() -> None:
    scheduler = a_scheduler(
        ran=NOON - 2 * DAY, backup_interval_hours=1, verification=Verification(every=HOUR)
    )

    assert JobKind.BACKUP is scheduler.due(NOON)
    run(scheduler, JobKind.BACKUP, NOON)
    assert JobKind.VERIFY is scheduler.due(NOON)


@settings(max_examples=12, deadline=None)
@given(
    cron=st.sampled_from(["*/15 * * * *", "0 * * * *", "30 2 * * *", "5 1-4 * * *"]),
    zone=st.sampled_from(ZONES[:4]),
    begin=moments,
    minutes=st.lists(st.integers(1, 240), min_size=1, max_size=12),
    deadline=st.sampled_from([600, 3600, 86400]),
)
def test_starts_are_those_of_the_slow_model(
    cron: str, zone: str, begin: datetime, minutes: list[int], deadline: int
) -> None:
    """Walk minute by minute through jobs of varying length, as the parent would.

    The model: when idle, start if some tick after the last start is not too old.
    """
    begin = begin.replace(second=0)
    end = begin + DAY
    ticks = SlowCron(cron).ticks(ZoneInfo(zone), begin, end)
    scheduler = a_scheduler(
        begin, ran=begin, backup_cron=cron, time_zone=zone, starting_deadline_seconds=deadline
    )
    durations = iter(minutes)
    last_start, busy_until = begin, begin
    for now in (begin + n * MINUTE for n in range(24 * 60)):
        if now < busy_until:
            assert scheduler.due(now) is None
            continue
        if busy_until > begin and now == busy_until:
            scheduler.finished(success=True)
        oldest = now - timedelta(seconds=deadline)
        owed = [tick for tick in ticks if last_start < tick <= now and tick >= oldest]

        next_at = scheduler.next_at(now)

        assert scheduler.due(now) is (JobKind.BACKUP if owed else None)
        assert next_at is not None
        assert (next_at <= now) == bool(owed)
        if owed:
            scheduler.started(JobKind.BACKUP, now)
            last_start, busy_until = now, now + next(durations, 1) * MINUTE
