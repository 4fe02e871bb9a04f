from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import orjson
import pytest
from hypothesis import given, strategies as st

from controller.api.errors import FormatError
from runner.jobs.request import JobRequest, RestoreOptions, decode_request, encode_request
from runner.outcome import JobKind, JobOutcome

_text = st.text(st.characters(codec="utf-8"))
_zones = st.sampled_from([UTC, timezone(timedelta(hours=-9, minutes=-30))])
_times = st.datetimes(datetime(1970, 1, 2), datetime(9998, 12, 30), timezones=_zones)
_outcomes = st.builds(
    JobOutcome,
    kind=st.sampled_from(JobKind),
    started_at=_times,
    finished_at=_times,
    success=st.booleans(),
    message=_text,
)
_restores = st.builds(
    RestoreOptions,
    at=st.none() | _times,
    name=_text,
    location=_text,
    database=_text,
    replace=st.booleans(),
    owners=st.booleans(),
    dry_run=st.booleans(),
)
requests = st.builds(
    JobRequest,
    kind=st.sampled_from(JobKind),
    scheduled=st.booleans(),
    restore=st.none() | _restores,
    name=_text,
    everything=st.booleans(),
    location=_text,
    dry_run=st.booleans(),
    abort_orphans=st.booleans(),
    abandoned=st.lists(st.text(), max_size=2).map(tuple),
    lost=st.none() | _outcomes,
)


@given(requests)
def test_what_is_asked_is_what_arrives(request: JobRequest) -> None:
    raw = encode_request(request)

    assert decode_request(raw) == request
    assert decode_request(orjson.loads(raw)) == request
    assert b"\n" not in raw


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        {},
        {"kind": "dance"},
        {"kind": None},
        {"kind": ["backup"]},
        {"kind": "backup", "scheduled": "false"},
        {"kind": "verify", "name": 7},
        {"kind": "prune", "dryRun": "no"},
        {"kind": "prune", "dryRun": 1},
        {"kind": "restore", "restore": "x"},
        {"kind": "restore", "restore": {"replace": "no"}},
        {"kind": "restore", "restore": {"at": "2026-11-23T02:00:00"}},
        {"kind": "restore", "restore": {"at": "0001-01-01T00:00:00+23:59"}},
        {"kind": "restore", "restore": {"at": 17}},
        {"kind": "inspect", "lost": {"kind": "backup"}},
    ],
    ids=str,
)
def test_anything_else_is_no_request(raw: bytes | dict[str, Any]) -> None:
    with pytest.raises(FormatError, match="the job request"):
        decode_request(raw)
