"""A limit of one's own: bursts, turns, and never more than it says."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from controller.throttle import Limit, TokenBucket


class _Time:
    now_s = 50.0

    def __call__(self) -> float:
        return self.now_s


def test_a_burst_goes_at_once_and_the_rest_in_turn() -> None:
    bucket = TokenBucket(Limit(qps=10, burst=3), _Time())

    delays = [round(bucket.reserve(), 3) for _ in range(6)]

    assert delays == [0, 0, 0, 0.1, 0.2, 0.3]


def test_tokens_come_back_up_to_the_burst() -> None:
    time = _Time()
    bucket = TokenBucket(Limit(qps=10, burst=2), time)
    for _ in range(4):
        bucket.reserve()

    time.now_s += 1000

    assert [round(bucket.reserve(), 3) for _ in range(3)] == [0, 0, 0.1]


@given(
    qps=st.floats(0.5, 1000),
    burst=st.integers(1, 50),
    gaps=st.lists(st.floats(0, 5), min_size=1, max_size=60),
)
def test_no_span_has_more_than_the_burst_and_what_it_earned(
    qps: float, burst: int, gaps: list[float]
) -> None:
    time = _Time()
    bucket = TokenBucket(Limit(qps=qps, burst=burst), time)
    passes = []
    for gap in gaps:
        time.now_s += gap
        passes.append(time.now_s + bucket.reserve())

    assert passes == pytest.approx(sorted(passes)), "in the order in which they asked"
    for first, begin in enumerate(passes):
        for last in range(first, len(passes)):
            assert last - first + 1 <= burst + qps * (passes[last] - begin) + 1e-3


def test_a_token_that_is_not_there_can_be_done_without() -> None:
    time = _Time()
    bucket = TokenBucket(Limit(qps=10, burst=2), time)

    assert [bucket.take() for _ in range(3)] == [True, True, False]
    time.now_s += 0.1
    assert [bucket.take() for _ in range(2)] == [True, False]
