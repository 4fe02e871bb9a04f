from __future__ import annotations

from hypothesis import given, strategies as st

from controller.kube.throttle import Limit, TokenBucket


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
    gaps=st.lists(st.floats(0, 2), min_size=1, max_size=60),
)
def test_no_second_has_more_than_was_allowed(qps: float, burst: int, gaps: list[float]) -> None:
    time = _Time()
    bucket = TokenBucket(Limit(qps=qps, burst=burst), time)
    sent = []

    for gap in gaps:
        time.now_s += gap
        sent.append(time.now_s + bucket.reserve())

    for first, start in enumerate(sent):
        within = [one for one in sent[first:] if one <= start + 1]
        assert len(within) <= burst + qps + 1.001


def test_a_token_that_is_not_there_can_be_done_without() -> None:
    time = _Time()
    bucket = TokenBucket(Limit(qps=10, burst=2), time)

    assert [bucket.take() for _ in range(3)] == [True, True, False]
    time.now_s += 0.1
    assert [bucket.take() for _ in range(2)] == [True, False]
