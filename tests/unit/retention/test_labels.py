"""Labels at birth: who gets one, and for how long it holds a backup."""

from __future__ import annotations

from datetime import timedelta

import pytest

from runner.retention.policy import (
    DEFAULT_LABEL_HOLDS,
    BirthLabel,
    Candidate,
    Policy,
    decide,
    labels_at_birth,
)
from tests.unit.retention.histories import (
    BERLIN,
    DAY,
    HOUR,
    NOW,
    born,
    born_in_two,
    dropped,
    kept,
    reasons,
    rules,
    utc,
)


def test_a_label_goes_to_the_first_backup_of_its_period() -> None:
    policy = Policy(rules={"%Y-%m": 31 * DAY, "%Y-%m-%d": 7 * DAY})

    first, second, third = born([NOW, NOW + HOUR, NOW + DAY], policy)

    assert first.labels == (
        BirthLabel("%Y-%m", "2026-11", 31 * DAY),
        BirthLabel("%Y-%m-%d", "2026-11-23", 7 * DAY),
    )
    assert second.labels == ()
    assert third.labels == (BirthLabel("%Y-%m-%d", "2026-11-24", 7 * DAY),)


def test_a_location_that_missed_the_first_of_a_month_keeps_a_backup_of_that_month() -> None:
    starts_at = [utc("2026-01-01T02:00") + number * DAY for number in range(120)]
    missed = [{1} if start.day == 1 else set() for start in starts_at]

    full, lame = born_in_two(starts_at, missed, Policy(rules=DEFAULT_LABEL_HOLDS))

    for location, day in ((full, 1), (lame, 2)):
        firsts = {one.started_at.month for one in location if one.started_at.day == day}
        assert firsts == {1, 2, 3, 4}


def test_a_label_that_every_location_carries_is_not_given_again() -> None:
    policy = Policy(rules={"%Y-%m": 31 * DAY, "%Y-%m-%d": 7 * DAY})
    (month, day) = labels_at_birth(NOW, [], policy) or ()
    both = Candidate(id="both", started_at=NOW, labels=(month, day))
    one = Candidate(id="one", started_at=NOW, labels=(month,))

    assert labels_at_birth(NOW + HOUR, [[both], [both]], policy) == ()
    assert labels_at_birth(NOW + HOUR, [[both], [one]], policy) == (day,)
    assert labels_at_birth(NOW + HOUR, [[both], []], policy) == (month, day)


def test_period_rules_give_no_labels() -> None:
    assert labels_at_birth(NOW, [], rules(keep_last=1)) is None


def test_label_names_are_in_the_zone_of_the_object() -> None:
    policy = Policy(rules={"%Y-%m-%d": DAY}, zone=BERLIN)

    labels_ = labels_at_birth(utc("2026-11-22T23:30"), [], policy)

    assert labels_ == (BirthLabel("%Y-%m-%d", "2026-11-23", DAY),)


@pytest.mark.parametrize(
    ("label_format", "start", "name"),
    [
        ("%Y-w%V", "2027-01-01", "2026-w53"),
        ("%Y-w%V", "2024-12-30", "2025-w01"),
        ("%G-w%V", "2024-12-30", "2025-w01"),
        ("%Y", "2024-12-30", "2024"),
        ("%%Y-%V", "2024-12-30", "%Y-01"),
        ("%Y%%V", "2024-12-30", "2024%V"),
        ("%Y %G-%V", "2024-12-30", "2024 2025-01"),
    ],
)
def test_a_week_is_named_with_its_own_year(label_format: str, start: str, name: str) -> None:
    (label,) = labels_at_birth(utc(start), [], Policy(rules={label_format: DAY})) or ()

    assert (label.format, label.name) == (label_format, name)


def test_a_hold_counts_from_the_start_of_the_backup_and_includes_its_end() -> None:
    history = born(
        [NOW - DAY, *(NOW + n * HOUR for n in range(3))], Policy(rules={"%Y-%m-%d": DAY})
    )
    policy = Policy(rules={"%Y-%m-%d": DAY}, minimum_keep=1)

    on_time = decide(history, policy, NOW)
    late = decide([*history[:1], history[1]], policy, NOW + timedelta(seconds=1))

    assert reasons(on_time, "11-22T12") == (
        "label %Y-%m-%d 2026-11-22 holds until 2026-11-23T12:00:00+00:00",
    )
    assert reasons(late, "11-22T12") == (
        "label %Y-%m-%d 2026-11-22 held until 2026-11-23T12:00:00+00:00",
    )
    assert dropped(late) == {"11-22T12"}


def test_a_format_that_is_still_configured_holds_for_what_is_configured_now() -> None:
    history = born([NOW - 10 * DAY, NOW - HOUR], Policy(rules={"%Y-%m-%d": 7 * DAY}))

    longer = decide(history, Policy(rules={"%Y-%m-%d": 30 * DAY}, minimum_keep=1), NOW)
    gone = decide(history, Policy(rules={"%Y": 30 * DAY}, minimum_keep=1), NOW)

    assert dropped(longer) == set()
    assert dropped(gone) == {"11-13T12"}


def test_backups_made_before_labels_were_in_use_are_labelled_by_their_start() -> None:
    """Else a switch from `retention` to `retentionConfig` would drop nearly everything."""
    history = [
        Candidate(id=f"{day}-{hour}", started_at=utc(f"2026-11-{day}T{hour}:00"))
        for day in (20, 21, 22)
        for hour in ("06", "18")
    ]

    decision = decide(history, Policy(rules={"%Y-%m-%d": 7 * DAY}, minimum_keep=1), NOW)

    assert kept(decision) == {"20-06", "21-06", "22-06", "22-18"}
    again = labels_at_birth(utc("2026-11-22T20:00"), [history], Policy(rules={"%Y-%m-%d": DAY}))
    assert again == ()


def test_a_hold_without_end_does_not_overflow() -> None:
    history = born([NOW - DAY, NOW], Policy(rules={"%Y-%m-%d": timedelta.max}))

    decision = decide(history, Policy(rules={"%Y-%m-%d": timedelta.max}, minimum_keep=1), NOW)

    assert decision.drop == ()
