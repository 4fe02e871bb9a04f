from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, strategies as st

from controller.api.conditions import Condition, ConditionStatus, get_condition, set_condition

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
TRUE, FALSE = ConditionStatus.TRUE, ConditionStatus.FALSE


def put(
    conditions: tuple[Condition, ...],
    status: ConditionStatus,
    *,
    kind: str = "Ready",
    reason: str = "AllGood",
    message: str = "",
    now: datetime = NOON,
) -> tuple[Condition, ...]:
    return set_condition(
        conditions,
        type=kind,
        status=status,
        reason=reason,
        message=message,
        observed_generation=3,
        now=now,
    )


def test_transition_time_moves_only_when_the_status_flips() -> None:
    one = put((), TRUE)
    two = put(one, TRUE, message="new words", reason="StillGood", now=NOON + timedelta(hours=1))
    three = put(two, FALSE, now=NOON + timedelta(hours=2))

    assert two[0].last_transition_time == NOON
    assert (
        two[0].message,
        two[0].reason,
        two[0].observed_generation,
    ) == ("new words", "StillGood", 3)
    assert NOON + timedelta(hours=2) == three[0].last_transition_time


def test_an_unknown_transition_time_is_set_at_the_next_write() -> None:
    assert put((Condition(type="Ready", status=TRUE),), TRUE)[0].last_transition_time == NOON


@pytest.mark.parametrize("word", ["ready", "", "All Good", "all_good", "Äh", "Db/secretExists"])
def test_types_and_reasons_are_pascal_case(word: str) -> None:
    with pytest.raises(ValueError, match="PascalCase"):
        put((), TRUE, reason=word)
    with pytest.raises(ValueError, match="PascalCase"):
        put((), TRUE, kind=word)


def test_naive_time_is_refused() -> None:
    with pytest.raises(ValueError, match="aware"):
        put((), TRUE, now=datetime(2024, 5, 1))


def test_long_messages_are_cut_to_what_the_api_takes() -> None:
    assert len(put((), TRUE, message="x" * 40_000)[0].message) == 32768


@given(
    st.lists(
        st.tuples(st.sampled_from(["Ready", "Verified", "BackupHealthy"]), st.booleans()),
        max_size=20,
    )
)
def test_each_type_is_there_once_in_order_of_first_appearance_with_its_last_status(
    writes: list[tuple[str, bool]],
) -> None:
    conditions: tuple[Condition, ...] = ()
    for hour, (kind, status) in enumerate(writes):
        conditions = put(
            conditions, TRUE if status else FALSE, kind=kind, now=NOON + timedelta(hours=hour)
        )

    assert list(dict.fromkeys(kind for kind, _ in writes)) == [c.type for c in conditions]
    for kind, status in dict(writes).items():
        condition = get_condition(conditions, kind)
        assert condition is not None
        assert (TRUE if status else FALSE) is condition.status
    assert get_condition(conditions, "Missing") is None
