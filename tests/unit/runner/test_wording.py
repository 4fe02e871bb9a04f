from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, strategies as st

from runner.wording import age_text, bytes_text, count_text, time_text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0 s"),
        (0, "0 s"),
        (0.9, "0 s"),
        (59.99, "59 s"),
        (60, "1 min 0 s"),
        (312, "5 min 12 s"),
        (3600, "1 h 0 min"),
        (3599, "59 min 59 s"),
        (86400, "1 d 0 h"),
        (3 * 86400 + 4 * 3600 + 59, "3 d 4 h"),
        (4000 * 86400, "4000 d 0 h"),
    ],
)
def test_a_span_is_said_in_its_two_largest_units(seconds: float, text: str) -> None:
    assert age_text(timedelta(seconds=seconds)) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (1024**2, "1.0 MiB"),
        (1.4 * 1024**3, "1.4 GiB"),
        (1024**5, "1.0 PiB"),
        (5000 * 1024**5, "5000.0 PiB"),
    ],
)
def test_a_size_is_said_in_its_binary_unit(count: float, text: str) -> None:
    assert bytes_text(count) == text


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (datetime(2026, 11, 23, 2, 26, 17, tzinfo=UTC), "2026-11-23T02:26:17Z"),
        (datetime(2026, 11, 23, 2, 26, 17, 5000, tzinfo=UTC), "2026-11-23T02:26:17.005000Z"),
        (
            datetime(2026, 11, 23, 1, 0, tzinfo=timezone(timedelta(hours=2))),
            "2026-11-22T23:00:00Z",
        ),
    ],
)
def test_a_time_is_said_in_utc(moment: datetime, text: str) -> None:
    assert time_text(moment) == text


@given(st.datetimes(timezones=st.just(UTC)))
def test_a_time_that_is_said_can_be_asked_for(moment: datetime) -> None:
    assert datetime.fromisoformat(time_text(moment)) == moment


@pytest.mark.parametrize(("count", "text"), [(0, "0 backups"), (1, "1 backup"), (2, "2 backups")])
def test_one_is_no_plural(count: int, text: str) -> None:
    assert count_text(count, "backup") == text
