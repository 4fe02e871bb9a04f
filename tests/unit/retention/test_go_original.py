"""Retention beside the Go original's rule, on one history."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from hypothesis import given, strategies as st

from runner.retention.policy import (
    Policy,
    decide,
)
from tests.unit.retention.histories import DAY, HOUR, NOW, at, born, born_in_two, kept, utc


def go_original_kept(
    starts_at: list[datetime], config: Mapping[str, timedelta], now: datetime
) -> set[str]:
    """Its rule: the first with a new label holds it from its period's start."""
    periods = {
        "%Y-%m": lambda t: t.replace(day=1, hour=0, minute=0),
        "%Y-%m-%d": lambda t: t.replace(hour=0, minute=0),
        "%Y-%m-%dT%H": lambda t: t.replace(minute=0),
    }
    taken: set[str] = set()
    stay: set[str] = set()
    for start in starts_at:
        for label_format, hold in config.items():
            name = start.strftime(label_format)
            if name not in taken:
                taken.add(name)
                if periods[label_format](start) + hold >= now:
                    stay.add(f"{start:%m-%dT%H}")
    return stay


GOLDEN_CONFIG = {"%Y-%m": 31 * DAY, "%Y-%m-%d": 7 * DAY, "%Y-%m-%dT%H": 24 * HOUR}
#: start of the backup, kept by the Go original, kept by us (at 2026-11-23T12:00Z)
GOLDEN = [
    ("2026-10-20T18:00", False, False),  # October's: 31 days are over for both
    ("2026-10-31T18:00", False, False),  # its day is over
    ("2026-11-02T18:00", True, True),  # November's
    ("2026-11-15T18:00", False, False),
    ("2026-11-16T09:00", False, False),  # seven days and three hours old
    ("2026-11-16T18:00", False, False),  # not the first of its day
    ("2026-11-17T18:00", True, True),
    ("2026-11-18T18:00", True, True),
    ("2026-11-22T03:00", True, True),  # first of its day
    ("2026-11-22T11:00", False, False),  # its hour's label is older than 24 h
    ("2026-11-22T18:00", True, True),
    ("2026-11-23T11:00", True, True),
]


def test_the_golden_table_of_ours_and_the_original() -> None:
    starts_at = [utc(start) for start, _, _ in GOLDEN]
    policy = Policy(rules=GOLDEN_CONFIG, minimum_keep=1)

    original = go_original_kept(starts_at, GOLDEN_CONFIG, NOW)
    ours = kept(decide(born(starts_at, policy), policy, NOW))

    table = [
        (start, f"{utc(start):%m-%dT%H}" in original, f"{utc(start):%m-%dT%H}" in ours)
        for start, _, _ in GOLDEN
    ]
    assert table == GOLDEN


def test_where_the_original_deletes_a_fresh_backup_we_keep_it() -> None:
    """A monthly label held 31 days, made on the last day of a month: gone at once."""
    config = {"%Y-%m": 29 * DAY}
    start = utc("2026-10-31T18:00")
    policy = Policy(rules=config, minimum_keep=1)
    history = [*born([start], policy), *at("2026-11-23T11:00")]

    assert go_original_kept([start], config, start + HOUR) == set()
    assert "10-31T18" in kept(decide(history, policy, NOW))


@given(
    gaps=st.lists(st.integers(1, 60), min_size=1, max_size=60),
    later=st.integers(0, 24 * 60),
    minimum_keep=st.integers(1, 3),
)
def test_we_keep_at_least_as_long_as_the_original(
    gaps: list[int], later: int, minimum_keep: int
) -> None:
    starts_at = [utc("2026-09-28T00:00")]
    for gap in gaps:
        starts_at.append(starts_at[-1] + gap * HOUR)
    now = starts_at[-1] + later * HOUR
    policy = Policy(rules=GOLDEN_CONFIG, minimum_keep=minimum_keep)

    ours = kept(decide(born(starts_at, policy, prune=True), policy, now))

    assert ours >= go_original_kept(starts_at, GOLDEN_CONFIG, now)


@given(
    gaps=st.lists(st.integers(1, 60), min_size=1, max_size=60),
    later=st.integers(0, 24 * 60),
    data=st.data(),
)
def test_each_location_keeps_what_it_would_keep_alone(
    gaps: list[int], later: int, data: st.DataObject
) -> None:
    """By the original's rule, on the backups that this location took."""
    starts_at = [utc("2026-09-28T00:00")]
    for gap in gaps:
        starts_at.append(starts_at[-1] + gap * HOUR)
    outages = st.sampled_from([set[int](), {0}, {1}])
    missed = data.draw(st.lists(outages, min_size=len(starts_at), max_size=len(starts_at)))
    now = starts_at[-1] + later * HOUR
    policy = Policy(rules=GOLDEN_CONFIG, minimum_keep=1)

    held = born_in_two(starts_at, missed, policy)

    for number in (0, 1):
        taken = [s for s, away in zip(starts_at, missed, strict=True) if number not in away]
        ours = kept(decide(held[number], policy, now))
        assert ours >= go_original_kept(taken, GOLDEN_CONFIG, now)
