from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given, strategies as st

from controller.api.durations import format_duration, from_nanoseconds, parse_duration
from controller.api.errors import InvalidSpec


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("8928h0m0s", timedelta(days=372)),
        ("1h30m", timedelta(minutes=90)),
        ("1.5h", timedelta(minutes=90)),
        (".5s", timedelta(milliseconds=500)),
        ("7d", timedelta(days=7)),
        ("1w2d", timedelta(days=9)),
        ("250ms", timedelta(milliseconds=250)),
        ("1us", timedelta(microseconds=1)),
        ("1µs", timedelta(microseconds=1)),
        ("1999ns", timedelta(microseconds=1)),
        ("0", timedelta(0)),
    ],
)
def test_durations_are_read_as_go_reads_them_with_days_and_weeks(
    text: str, expected: timedelta
) -> None:
    assert expected == parse_duration(text)


@pytest.mark.parametrize(
    "text", ["", "7", "d", "7 d", " 7d", "7d\n", "-7d", "+1h", "1e3s", "7D", "1h-", "..1s", "٣h"]
)
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(InvalidSpec):
        parse_duration(text)


def test_what_does_not_fit_64_bits_of_nanoseconds_is_refused() -> None:
    assert timedelta(microseconds=(2**63 - 1) // 1000) == from_nanoseconds(2**63 - 1)
    for count in (-1, 2**63):
        with pytest.raises(InvalidSpec):
            from_nanoseconds(count)
    with pytest.raises(InvalidSpec):
        parse_duration("107000d")


@given(st.timedeltas(timedelta(0), timedelta(days=100_000)))
def test_written_durations_read_back(duration: timedelta) -> None:
    assert duration == parse_duration(format_duration(duration))


def test_durations_are_written_for_people() -> None:
    assert [
        format_duration(duration)
        for duration in (
            timedelta(0),
            timedelta(days=7),
            timedelta(minutes=90),
            timedelta(minutes=10),
            timedelta(seconds=1.5),
            timedelta(microseconds=2),
        )
    ] == ["0s", "168h", "1h30m", "10m", "1s500ms", "2us"]
