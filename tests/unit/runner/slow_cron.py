"""Schedules for tests, and a cron by the book to hold them against."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

from controller.api.v1 import DatabaseBackup, DatabaseBackupSpec, ObjectMeta, PostgresSpec
from runner.schedule import Schedule, schedule_of

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
