"""What is owed, by example and against a slow model that walks through a day."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, strategies as st

from controller.api.v1 import Verification
from runner.jobs.request import JobRequest
from runner.outcome import JobKind, Result
from runner.scheduler import Scheduler
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


def run(
    scheduler: Scheduler,
    kind: JobKind,
    start: datetime,
    *,
    result: Result = Result.SUCCESS,
    **request: Any,
) -> None:
    scheduler.started(kind, start)
    scheduler.finished(JobRequest(kind=kind, **request), result)


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
    scheduler.finished(JobRequest(kind=JobKind.RESTORE), Result.SUCCESS)
    assert JobKind.BACKUP is scheduler.due(utc("2026-11-23T14:31"))
    run(scheduler, JobKind.BACKUP, utc("2026-11-23T14:31"))
    assert scheduler.due(utc("2026-11-23T14:59")) is None
    assert JobKind.BACKUP is scheduler.due(utc("2026-11-23T15:00"))


def test_a_failed_backup_is_not_repeated_before_the_next_tick() -> None:
    scheduler = a_scheduler(backup_interval_hours=1)
    run(scheduler, JobKind.BACKUP, NOON, result=Result.FAILURE)

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
    run(scheduler, JobKind.BACKUP, NOON, result=Result.FAILURE)
    assert scheduler.due(NOON + HOUR) is None

    run(scheduler, JobKind.BACKUP, NOON + HOUR)
    assert JobKind.VERIFY is scheduler.due(NOON + 2 * HOUR)
    run(scheduler, JobKind.VERIFY, NOON + 2 * HOUR, result=Result.FAILURE)

    assert scheduler.due(NOON + 3 * HOUR) is None
    run(scheduler, JobKind.BACKUP, NOON + 40 * HOUR)
    assert scheduler.next_at(NOON + 41 * HOUR) == NOON + 50 * HOUR
    assert JobKind.VERIFY is scheduler.due(NOON + 50 * HOUR)


@pytest.mark.parametrize("part", [{"name": "an-id"}, {"location": "one"}])
def test_a_verification_of_a_part_is_not_the_scheduled_one(part: dict[str, str]) -> None:
    scheduler = a_scheduler(
        ran=NOON, backup_cron="0 0 1 1 *", verification=Verification(every=2 * DAY)
    )

    run(scheduler, JobKind.VERIFY, NOON, **part)
    assert JobKind.VERIFY is scheduler.due(NOON + MINUTE)

    run(scheduler, JobKind.VERIFY, NOON + MINUTE, everything=True)
    assert scheduler.due(NOON + DAY) is None


def test_a_cancelled_verification_is_still_owed_but_not_at_once() -> None:
    scheduler = a_scheduler(
        ran=NOON, backup_cron="0 0 1 1 *", verification=Verification(every=2 * DAY)
    )

    run(scheduler, JobKind.VERIFY, NOON, result=Result.CANCELLED)

    assert scheduler.due(NOON + 59 * MINUTE) is None
    assert scheduler.next_at(NOON + MINUTE) == NOON + HOUR
    assert JobKind.VERIFY is scheduler.due(NOON + HOUR)


def test_a_backup_goes_before_a_verification() -> None:
    scheduler = a_scheduler(
        ran=NOON - 2 * DAY, backup_interval_hours=1, verification=Verification(every=HOUR)
    )

    assert JobKind.BACKUP is scheduler.due(NOON)
    run(scheduler, JobKind.BACKUP, NOON)
    assert JobKind.VERIFY is scheduler.due(NOON)


@fewer(0.2)
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
            scheduler.finished(JobRequest(kind=JobKind.BACKUP), Result.SUCCESS)
        oldest = now - timedelta(seconds=deadline)
        owed = [tick for tick in ticks if last_start < tick <= now and tick >= oldest]

        next_at = scheduler.next_at(now)

        assert scheduler.due(now) is (JobKind.BACKUP if owed else None)
        assert next_at is not None
        assert (next_at <= now) == bool(owed)
        if owed:
            scheduler.started(JobKind.BACKUP, now)
            last_start, busy_until = now, now + next(durations, 1) * MINUTE
