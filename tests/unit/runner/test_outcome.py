from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import orjson
import pytest
from hypothesis import given, strategies as st

from controller.api import codec
from controller.api.errors import FormatError
from runner.outcome import (
    JobKind,
    JobOutcome,
    LocationFate,
    LocationState,
    Result,
    StageTiming,
    StorageUse,
)
from runner.records import from_json, to_json

START = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)

text = st.text(st.characters(codec="utf-8"))
sizes = st.integers(0, 2**62)
times = st.datetimes(
    datetime(1970, 1, 2),
    datetime(9999, 12, 30),
    timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=45))]),
)
outcomes = st.builds(
    JobOutcome,
    kind=st.sampled_from(JobKind),
    started_at=times,
    finished_at=times,
    success=st.booleans(),
    reason=text,
    message=text,
    backup_id=text,
    fates=st.lists(st.builds(LocationFate, name=text, ok=st.booleans(), stored_bytes=sizes)).map(
        tuple
    ),
    plain_bytes=sizes,
    stages=st.lists(st.builds(StageTiming, stage=text, seconds=st.floats(0, 1e9), bytes=sizes)).map(
        tuple
    ),
    storage=st.lists(
        st.builds(StorageUse, location=text, operation=text, ok=sizes, bytes=sizes)
    ).map(tuple),
)
states = st.builds(
    LocationState,
    name=text,
    healthy=st.booleans(),
    checked_at=times,
    stored_bytes=sizes,
    newest_restorable_at=st.none() | times,
    last_verification_ok=st.none() | st.booleans(),
)


def an_outcome(**fields: Any) -> JobOutcome:
    given_fields: dict[str, Any] = {
        "kind": JobKind.BACKUP,
        "started_at": START,
        "finished_at": START,
        "success": True,
    }
    return JobOutcome(**(given_fields | fields))


@given(outcome=outcomes)
def test_an_outcome_comes_back_as_it_was(outcome: JobOutcome) -> None:
    line = to_json(outcome)

    assert from_json(JobOutcome, line, "the outcome") == outcome
    assert b"\n" not in line


@given(state=states)
def test_a_location_state_comes_back_as_it_was(state: LocationState) -> None:
    assert from_json(LocationState, to_json(state), "the state") == state


def test_fields_of_a_newer_version_are_ignored() -> None:
    newer = codec.encode(an_outcome()) | {"colour": "green"}

    assert from_json(JobOutcome, newer, "the outcome") == an_outcome()


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"{}",
        {"kind": "burn"},
        {"kind": ["backup"]},
        {"success": "yes"},
        {"success": None},
        {"startedAt": "2026-11-23T10:00:00"},
        {"startedAt": "yesterday"},
        {"startedAt": 1},
        {"startedAt": None},
        {"plainBytes": -1},
        {"plainBytes": True},
        {"plainBytes": 1.5},
        {"message": 7},
        {"fates": "ab"},
        {"fates": {"name": "a"}},
        {"fates": [{"ok": True}]},
        {"stages": [{"stage": "x", "seconds": "1"}]},
        {"storage": [{"location": "a", "operation": "put", "direction": "up"}]},
    ],
)
def test_what_is_not_an_outcome_is_a_format_error(broken: bytes | dict[str, object]) -> None:
    raw = broken if isinstance(broken, bytes) else codec.encode(an_outcome()) | broken

    with pytest.raises(FormatError, match="the outcome is"):
        from_json(JobOutcome, raw, "the outcome")


def test_a_deep_document_is_a_format_error() -> None:
    with pytest.raises(FormatError):
        from_json(JobOutcome, b"[" * 100_000, "the outcome")


def test_times_are_kept_in_utc() -> None:
    kathmandu = timezone(timedelta(hours=5, minutes=45))

    outcome = an_outcome(started_at=START.astimezone(kathmandu))

    assert orjson.loads(to_json(outcome))["startedAt"] == "2026-11-23T10:00:00Z"


@pytest.mark.parametrize(
    ("success", "reason", "result"),
    [
        (True, "", Result.SUCCESS),
        (False, "DatabaseUnavailable", Result.FAILURE),
        (False, "Cancelled", Result.CANCELLED),
    ],
)
def test_the_result_is_read_from_success_and_reason(
    success: bool, reason: str, result: Result
) -> None:
    assert an_outcome(success=success, reason=reason).result is result


def test_a_clock_set_back_gives_no_negative_duration() -> None:
    assert an_outcome(finished_at=START - timedelta(seconds=5)).duration_s == 0
