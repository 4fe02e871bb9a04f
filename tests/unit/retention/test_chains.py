"""Chains under retention: whole or not at all, against the rules without them."""

from __future__ import annotations

from datetime import timedelta
from random import Random

from attrs import evolve
from hypothesis import given, strategies as st

from runner.retention.policy import Candidate, Policy, decide
from tests.unit.retention.histories import DAY, NOW, dropped, kept, reasons, rules

_policies = st.one_of(
    st.builds(lambda n: rules(keep_last=n), st.integers(1, 6)),
    st.builds(lambda n: rules(keep_daily=n, keep_monthly=2), st.integers(1, 6)),
    st.builds(lambda d: rules(keep_within=timedelta(days=d)), st.integers(1, 40)),
    st.just(Policy(rules={"%Y-%m-%d": 7 * DAY, "%Y-%m": 60 * DAY}, minimum_keep=2)),
)


def history(lengths: list[int], *, hours: int = 9) -> list[Candidate]:
    """Chains one after the other (a length of 0: a dump), the last layer made just now."""
    total = sum(max(1, length) for length in lengths)
    found: list[Candidate] = []
    for chain, length in enumerate(lengths):
        for number in range(max(1, length)):
            age = timedelta(hours=hours * (total - 1 - len(found)))
            found.append(
                Candidate(
                    id=f"{len(found):03}",
                    started_at=NOW - age,
                    chain=f"chain-{chain}" if length else "",
                    layer=number,
                )
            )
    return found


_histories = st.lists(st.integers(0, 6), min_size=1, max_size=8).map(history)


@given(_histories, _policies, st.randoms())
def test_what_stays_is_what_the_rules_want_and_all_of_its_chains(
    backups: list[Candidate], policy: Policy, order: Random
) -> None:
    apart = kept(decide([evolve(one, chain="", layer=0) for one in backups], policy, NOW))
    wanted = {one.chain for one in backups if one.id in apart and one.chain}
    shuffled = list(backups)
    order.shuffle(shuffled)

    decision = decide(shuffled, policy, NOW)

    assert kept(decision) == {one.id for one in backups if one.id in apart or one.chain in wanted}


@given(_histories, _policies)
def test_no_layer_goes_before_one_that_needs_it(backups: list[Candidate], policy: Policy) -> None:
    """Also if a clock was set back in the middle of a chain; and wherever it is cut off."""
    wrong = [evolve(one, started_at=one.started_at - 3 * DAY * (one.layer % 2)) for one in backups]
    decision = decide(wrong, policy, NOW)

    left = {one.id: one for one in wrong}
    for verdict in decision.drop:
        del left[verdict.id]
        for chain in {one.chain for one in left.values()} - {""}:
            numbers = sorted(one.layer for one in left.values() if one.chain == chain)
            assert numbers == list(range(len(numbers)))


def test_a_layer_says_for_whose_sake_it_stays() -> None:
    backups = history([3, 2])

    decision = decide(backups, rules(keep_last=1), NOW)

    assert dropped(decision) == {"000", "001", "002"}
    assert reasons(decision, "004") == ("newest", "minimumKeep 1", "last 1")
    assert reasons(decision, "003") == ("of the same chain as 004",)
