"""The calendar against a slow model that looks at every minute."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, example, given, strategies as st

from controller.api.errors import InvalidSpec
from runner.schedule import expected_interval, jitter_of, next_tick
from tests.profiles import fewer
from tests.unit.runner.slow_cron import (
    DAY,
    HOUR,
    MINUTE,
    NOON,
    ZONES,
    SlowCron,
    a_schedule,
    moments,
    utc,
)


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


@fewer(0.5)
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
