"""Limiters: monotone, capped, fair."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings, strategies as st

from controller.queue.ratelimit import AllTogether, ExponentialPerKey, MaxOf, default_limiter
from controller.throttle import Limit, TokenBucket
from tests.fakes.clock import FakeClock

UNIT = st.floats(0, 1)


def test_a_failing_key_waits_twice_as_long_each_time() -> None:
    limiter = ExponentialPerKey[str](jitter=lambda: 0.0)

    delays = [limiter.next_delay_s("a") for _ in range(4)]

    assert delays == pytest.approx([0.005, 0.010, 0.020, 0.040])


def test_failures_of_one_key_are_no_other_keys() -> None:
    limiter = ExponentialPerKey[str](jitter=lambda: 0.0)
    for _ in range(10):
        limiter.next_delay_s("a")

    assert limiter.next_delay_s("b") == pytest.approx(0.005)
    assert (limiter.num_requeues("a"), limiter.num_requeues("b")) == (10, 1)


def test_a_forgotten_key_starts_anew() -> None:
    limiter = ExponentialPerKey[str](jitter=lambda: 0.0)
    for _ in range(10):
        limiter.next_delay_s("a")

    limiter.forget("a")

    assert limiter.num_requeues("a") == 0
    assert limiter.next_delay_s("a") == pytest.approx(0.005)


@settings(deadline=None)
@given(
    first_s=st.floats(0.001, 10),
    cap_s=st.floats(0.001, 10_000),
    jitters=st.lists(UNIT, min_size=2, max_size=30),
)
def test_delays_never_exceed_the_cap_nor_fall_under_it(
    first_s: float, cap_s: float, jitters: list[float]
) -> None:
    drawn = iter(jitters)
    limiter = ExponentialPerKey[str](first_s=first_s, cap_s=cap_s, jitter=lambda: next(drawn))

    delays = [limiter.next_delay_s("a") for _ in jitters]

    assert all(0 < delay <= cap_s for delay in delays)
    assert all(delay >= min(first_s, cap_s) / 2 for delay in delays)
    growing = [d for n, d in enumerate(delays) if first_s * 2.0**n <= cap_s]
    assert all(earlier <= later * (1 + 1e-9) for earlier, later in pairwise(growing))


def test_a_key_that_failed_for_years_waits_the_cap() -> None:
    limiter = ExponentialPerKey[str](cap_s=1000, jitter=lambda: 0.0)

    delays = {limiter.next_delay_s("a") for _ in range(5000)}

    assert max(delays) == 1000


def test_of_all_keys_a_burst_passes_and_then_so_many_a_second() -> None:
    limiter = AllTogether(TokenBucket(Limit(qps=10, burst=100), FakeClock().monotonic))

    delays = [limiter.next_delay_s(n) for n in range(103)]

    assert delays[:100] == [0.0] * 100
    assert delays[100:] == pytest.approx([0.1, 0.2, 0.3])


def test_the_longest_of_all_limiters_counts() -> None:
    per_key = ExponentialPerKey[str](first_s=1, jitter=lambda: 0.0)
    bucket = TokenBucket(Limit(qps=0.1, burst=2), FakeClock().monotonic)
    limiter = MaxOf[str](per_key, AllTogether(bucket))

    delays = [limiter.next_delay_s("a") for _ in range(3)]
    requeues = limiter.num_requeues("a")
    limiter.forget("a")

    assert delays == pytest.approx([1, 2, 10])
    assert (requeues, limiter.num_requeues("a")) == (3, 0)


def test_a_controllers_limiter_is_quick_at_first_and_slow_for_many() -> None:
    limiter = default_limiter(FakeClock())

    first = limiter.next_delay_s("a")
    others = [limiter.next_delay_s(n) for n in range(199)]

    assert first <= 0.005
    assert others[-1] == pytest.approx(10.0)
