"""Retention against a slow model, and beside the Go original's rule on one history."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from attrs import evolve
from hypothesis import given, strategies as st

from controller.api.v1 import DatabaseBackupSpec, PostgresSpec, Retention
from runner.retention.policy import (
    DEFAULT_LABEL_HOLDS,
    BirthLabel,
    Candidate,
    Decision,
    Policy,
    decide,
    labels_at_birth,
    policy_of,
)

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")
ZONES = [UTC, BERLIN, ZoneInfo("America/New_York"), ZoneInfo("Asia/Kolkata")]


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def at(*texts: str) -> list[Candidate]:
    return [Candidate(id=text, started_at=utc(text)) for text in texts]


def kept(decision: Decision) -> set[str]:
    return {verdict.id for verdict in decision.keep}


def dropped(decision: Decision) -> set[str]:
    return {verdict.id for verdict in decision.drop}


def reasons(decision: Decision, id_: str) -> tuple[str, ...]:
    (verdict,) = [one for one in (*decision.keep, *decision.drop) if one.id == id_]
    return verdict.reasons


def rules(zone: Any = UTC, minimum_keep: int = 1, **keep: Any) -> Policy:
    return Policy(rules=Retention(**keep), minimum_keep=minimum_keep, zone=zone)


# -- the slow model ---------------------------------------------------------------

PERIODS = {
    "keep_hourly": lambda t: t.utctimetuple()[:4] if t.utcoffset() else t.timetuple()[:4],
    "keep_daily": lambda t: t.date(),
    "keep_weekly": lambda t: t.isocalendar()[:2],
    "keep_monthly": lambda t: (t.year, t.month),
    "keep_yearly": lambda t: t.year,
}


def slow_kept(candidates: list[Candidate], policy: Policy, now: datetime) -> set[str]:
    """Ask of every backup on its own whether some sentence of the rules keeps it."""
    future = {one.id for one in candidates if one.started_at > now}
    past = [one for one in candidates if one.started_at <= now]
    return future | {one.id for one in past if _stays(one, past, policy, now)}


def _stays(one: Candidate, past: list[Candidate], policy: Policy, now: datetime) -> bool:
    newer = [other for other in past if (other.started_at, other.id) > (one.started_at, one.id)]
    if len(newer) < max(1, policy.minimum_keep):
        return True
    if not isinstance(policy.rules, Retention):
        return any(
            now - one.started_at <= (policy.rules.get(label.format) or label.hold)
            for label in one.labels or ()
        )
    if policy.rules.keep_within and now - one.started_at <= policy.rules.keep_within:
        return True
    if policy.rules.keep_last and len(newer) < policy.rules.keep_last:
        return True
    for rule, period_of in PERIODS.items():
        count = getattr(policy.rules, rule)
        if count:
            mine = period_of(one.started_at.astimezone(policy.zone))
            newer_periods = {period_of(b.started_at.astimezone(policy.zone)) for b in newer}
            if mine not in newer_periods and len(newer_periods) < count:
                return True
    return False


# -- strategies -------------------------------------------------------------------

#: Starts cluster where calendars go wrong, and around now.
starts = st.builds(
    lambda base, minutes: utc(base) + timedelta(minutes=minutes),
    st.sampled_from(
        [
            "2026-11-23T12:00",
            "2026-10-25T01:00",
            "2026-03-29T01:00",
            "2027-01-01T00:00",
            "2024-12-30T00:00",
            "2024-02-29T00:00",
        ]
    ),
    st.one_of(st.integers(-300, 300), st.integers(-60 * 24 * 40, 60 * 24 * 40)),
)
labels = st.lists(
    st.builds(
        BirthLabel,
        st.sampled_from(["%Y-%m", "%Y-%m-%d", "%H"]),
        st.just("any"),
        st.integers(1, 100).map(lambda n: n * DAY),
    ),
    max_size=2,
).map(tuple)
histories = st.lists(st.tuples(starts, labels), max_size=25).map(
    lambda items: [
        Candidate(id=f"{start:%Y-%m-%dT%H-%M}-{number}", started_at=start, labels=given_labels)
        for number, (start, given_labels) in enumerate(items)
    ]
)
counts = st.one_of(st.none(), st.integers(1, 5))
retentions = st.builds(
    Retention,
    keep_within=st.one_of(st.none(), st.integers(1, 50).map(lambda n: n * DAY)),
    keep_last=st.integers(1, 5),  # one rule has to be there
    keep_hourly=counts,
    keep_daily=counts,
    keep_weekly=counts,
    keep_monthly=counts,
    keep_yearly=counts,
)
holds = st.dictionaries(
    st.sampled_from(["%Y-%m", "%Y-%m-%d"]),
    st.integers(1, 60).map(lambda n: n * DAY),
    min_size=1,
)
policies = st.builds(
    Policy,
    rules=st.one_of(retentions, holds),
    minimum_keep=st.integers(1, 5),
    zone=st.sampled_from(ZONES),
)
nows = st.one_of(st.just(NOW), starts)


# -- properties -------------------------------------------------------------------


@given(history=histories, policy=policies, now=nows)
def test_kept_are_those_of_the_slow_model(
    history: list[Candidate], policy: Policy, now: datetime
) -> None:
    decision = decide(history, policy, now)

    assert kept(decision) == slow_kept(history, policy, now)


@given(history=histories, policy=policies, now=nows)
def test_every_backup_gets_one_verdict_with_a_reason(
    history: list[Candidate], policy: Policy, now: datetime
) -> None:
    decision = decide(history, policy, now)

    verdicts = [*decision.keep, *decision.drop]
    assert sorted(one.id for one in verdicts) == sorted(one.id for one in history)
    assert all(verdict.reasons for verdict in verdicts)


@given(history=histories, policy=policies, now=nows)
def test_the_newest_and_the_minimum_always_stay(
    history: list[Candidate], policy: Policy, now: datetime
) -> None:
    decision = decide(history, policy, now)

    ordered = sorted(history, key=lambda one: (one.started_at, one.id), reverse=True)
    assert kept(decision) >= {one.id for one in ordered[: policy.minimum_keep]}
    assert len(decision.keep) >= min(len(history), policy.minimum_keep)


@given(history=histories, policy=policies, now=nows, data=st.data())
def test_the_order_of_the_input_does_not_matter(
    history: list[Candidate], policy: Policy, now: datetime, data: st.DataObject
) -> None:
    shuffled = data.draw(st.permutations(history))

    assert decide(shuffled, policy, now) == decide(history, policy, now)


@given(history=histories, policy=policies, now=nows)
def test_a_second_decision_drops_nothing_more(
    history: list[Candidate], policy: Policy, now: datetime
) -> None:
    stay = kept(decide(history, policy, now))

    again = decide([one for one in history if one.id in stay], policy, now)

    assert again.drop == ()


@given(
    history=histories,
    policy=st.builds(Policy, rules=retentions, zone=st.sampled_from(ZONES)),
    now=nows,
    field=st.sampled_from(["keep_last", *PERIODS]),
    more=st.integers(1, 3),
)
def test_a_longer_rule_never_drops_more(
    history: list[Candidate], policy: Policy, now: datetime, field: str, more: int
) -> None:
    assert isinstance(policy.rules, Retention)
    longer = evolve(policy.rules, **{field: (getattr(policy.rules, field) or 0) + more})

    assert kept(decide(history, evolve(policy, rules=longer), now)) >= kept(
        decide(history, policy, now)
    )


@given(history=histories, policy=policies, now=nows)
def test_backups_from_the_future_stay_and_push_nothing_out(
    history: list[Candidate], policy: Policy, now: datetime
) -> None:
    past = [one for one in history if one.started_at <= now]

    assert dropped(decide(history, policy, now)) == dropped(decide(past, policy, now))


# -- rules by example -------------------------------------------------------------


def test_the_last_backup_of_each_day_that_has_one_stays() -> None:
    history = at(
        "2026-11-15T10:00", "2026-11-19T10:00", "2026-11-19T22:00", "2026-11-23T09:00",
        "2026-11-23T10:00",
    )  # fmt: skip

    decision = decide(history, rules(keep_daily=2), NOW)

    assert kept(decision) == {"2026-11-23T10:00", "2026-11-19T22:00"}
    assert reasons(decision, "2026-11-23T10:00") == ("newest", "minimumKeep 1", "daily 2026-11-23")
    assert reasons(decision, "2026-11-19T10:00") == (
        "daily 2026-11-19 is held by 2026-11-19T22:00",
    )
    assert reasons(decision, "2026-11-15T10:00") == ("daily 2026-11-15 is before the last 2",)


def test_days_begin_in_the_zone_of_the_object() -> None:
    history = at("2026-11-21T23:30", "2026-11-22T22:30", "2026-11-22T23:30")

    assert kept(decide(history, rules(keep_daily=9), NOW)) == {
        "2026-11-21T23:30", "2026-11-22T23:30",
    }  # fmt: skip
    assert kept(decide(history, rules(BERLIN, keep_daily=9), NOW)) == {
        "2026-11-22T22:30", "2026-11-22T23:30",
    }  # fmt: skip


def test_both_passes_of_a_repeated_hour_are_periods() -> None:
    history = at("2026-10-25T00:10", "2026-10-25T00:40", "2026-10-25T01:10", "2026-10-25T01:40")

    decision = decide(history, rules(BERLIN, keep_hourly=9), NOW)

    assert kept(decision) == {"2026-10-25T00:40", "2026-10-25T01:40"}


def test_weeks_are_iso_weeks_over_the_turn_of_the_year() -> None:
    history = at("2026-12-27T10:00", "2026-12-28T10:00", "2027-01-03T10:00", "2027-01-04T10:00")

    decision = decide(history, rules(keep_weekly=9), utc("2027-01-05T00:00"))

    assert dropped(decision) == {"2026-12-28T10:00"}
    assert "weekly 2026-W53" in reasons(decision, "2027-01-03T10:00")


def test_a_leap_day_is_a_day() -> None:
    history = at("2028-02-28T10:00", "2028-02-29T10:00", "2028-03-01T10:00")

    decision = decide(history, rules(keep_daily=2, keep_monthly=2), utc("2028-03-02T00:00"))

    assert dropped(decision) == {"2028-02-28T10:00"}
    assert "monthly 2028-02" in reasons(decision, "2028-02-29T10:00")


def test_keep_within_counts_from_now_to_the_second() -> None:
    history = at("2026-11-16T11:59:59", "2026-11-16T12:00:00", "2026-11-23T11:00:00")

    decision = decide(history, rules(keep_within=7 * DAY), NOW)

    assert dropped(decision) == {"2026-11-16T11:59:59"}
    assert reasons(decision, "2026-11-16T11:59:59") == ("older than 7d",)
    assert reasons(decision, "2026-11-16T12:00:00") == ("within 7d",)


def test_two_backups_with_one_id_are_refused() -> None:
    with pytest.raises(ValueError, match="share an id"):
        decide(at("2026-11-23T10:00", "2026-11-23T10:00"), rules(keep_last=1), NOW)


def test_a_time_without_an_offset_is_refused() -> None:
    with pytest.raises(ValueError, match="offset"):
        Candidate(id="a", started_at=datetime(2026, 11, 23))


# -- policies of specs ------------------------------------------------------------


def a_spec(**fields: Any) -> DatabaseBackupSpec:
    return DatabaseBackupSpec(
        database_type="postgres",
        backup_storage_class="s",
        backup_cron="0 1 * * *",
        postgres=PostgresSpec(database="shop", host="shop-db", user="backup"),
        **fields,
    )


def test_a_spec_without_rules_has_the_default_of_the_go_original() -> None:
    assert policy_of(a_spec()) == Policy(rules=DEFAULT_LABEL_HOLDS, minimum_keep=3, zone=UTC)


def test_a_spec_with_rules_has_them_in_its_zone() -> None:
    wanted = Retention(keep_daily=7, minimum_keep=2)

    policy = policy_of(a_spec(retention=wanted, time_zone="Europe/Berlin"))

    assert policy == Policy(rules=wanted, minimum_keep=2, zone=BERLIN)


def test_a_single_target_keeps_the_newest_alone_even_beside_a_retention_config() -> None:
    spec = a_spec(use_single_backup_target=True, retention_config={"%Y": 365 * DAY})

    decision = decide(at("2026-11-22T10:00", "2026-11-23T10:00"), policy_of(spec), NOW)

    assert kept(decision) == {"2026-11-23T10:00"}


# -- labels -----------------------------------------------------------------------


def born(starts_at: list[datetime], policy: Policy, *, prune: bool = False) -> list[Candidate]:
    """Make backups one after the other, each labelled at its birth."""
    history: list[Candidate] = []
    for start in starts_at:
        given_labels = labels_at_birth(start, [history], policy)
        history.append(Candidate(id=f"{start:%m-%dT%H}", started_at=start, labels=given_labels))
        if prune:
            stay = kept(decide(history, policy, start))
            history = [one for one in history if one.id in stay]
    return history


def test_a_label_goes_to_the_first_backup_of_its_period() -> None:
    policy = Policy(rules={"%Y-%m": 31 * DAY, "%Y-%m-%d": 7 * DAY})

    first, second, third = born([NOW, NOW + HOUR, NOW + DAY], policy)

    assert first.labels == (
        BirthLabel("%Y-%m", "2026-11", 31 * DAY),
        BirthLabel("%Y-%m-%d", "2026-11-23", 7 * DAY),
    )
    assert second.labels == ()
    assert third.labels == (BirthLabel("%Y-%m-%d", "2026-11-24", 7 * DAY),)


def born_in_two(
    starts_at: list[datetime], missed: list[set[int]], policy: Policy
) -> list[list[Candidate]]:
    """Make backups into two locations, each of which misses some; both prune after each."""
    held: list[list[Candidate]] = [[], []]
    for start, away in zip(starts_at, missed, strict=True):
        takers = [number for number in (0, 1) if number not in away]
        given_labels = labels_at_birth(start, [held[number] for number in takers], policy)
        for number in takers:
            held[number].append(
                Candidate(id=f"{start:%m-%dT%H}", started_at=start, labels=given_labels)
            )
            stay = kept(decide(held[number], policy, start))
            held[number] = [one for one in held[number] if one.id in stay]
    return held


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


# -- beside the Go original -------------------------------------------------------


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
