"""Retention against a slow model, and its rules by example."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from attrs import evolve
from hypothesis import given, strategies as st

from controller.api.v1 import Retention
from runner.retention.policy import (
    DEFAULT_LABEL_HOLDS,
    BirthLabel,
    Candidate,
    Policy,
    decide,
    policy_of,
)
from tests.unit.retention.histories import (
    BERLIN,
    DAY,
    NOW,
    a_spec,
    at,
    dropped,
    kept,
    reasons,
    rules,
    utc,
)

ZONES = [UTC, BERLIN, ZoneInfo("America/New_York"), ZoneInfo("Asia/Kolkata")]

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
