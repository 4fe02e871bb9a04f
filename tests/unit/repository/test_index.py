from __future__ import annotations

from datetime import timedelta
from typing import Any

import orjson
import pytest
from hypothesis import given, strategies as st

from controller.api.errors import FormatError
from runner.repository.index import Index, IndexEntry
from runner.repository.manifest import MAX_BACKUP_BYTES, Manifest
from runner.retention.policy import BirthLabel
from runner.storage.base import ObjectInfo
from tests.unit.repository.samples import LAYOUT, START, a_manifest, an_id, manifests


def _info(manifest: Manifest, *, etag: str = "e1", size_bytes: int = 900) -> ObjectInfo:
    return ObjectInfo(
        key=LAYOUT.manifest(manifest.id), size_bytes=size_bytes, etag=etag, modified_at=START
    )


def _entry(manifest: Manifest) -> IndexEntry:
    return IndexEntry.of(_info(manifest), manifest)


def _document(count: int = 3) -> dict[str, Any]:
    labels = (BirthLabel("%Y", "2026", timedelta(days=365)),)
    entries = [_entry(a_manifest(number, labels=labels)) for number in range(count)]
    raw = Index.encode({entry.summary.id: entry for entry in entries})
    document: dict[str, Any] = orjson.loads(raw)
    return document


@given(st.lists(manifests(), max_size=4, unique_by=lambda manifest: manifest.id))
def test_what_is_written_is_read_again(some: list[Manifest]) -> None:
    entries = {manifest.id: _entry(manifest) for manifest in some}

    assert Index.decode(Index.encode(entries)) == entries


def test_an_entry_describes_its_own_object_alone() -> None:
    manifest = a_manifest()
    entry = _entry(manifest)

    assert entry.describes(_info(manifest))
    assert not entry.describes(_info(manifest, etag="e2"))
    assert not entry.describes(_info(manifest, size_bytes=901))


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"{",
        b'{"version": 1}',
        b'{"version": 1, "entries": []}',
        b'{"version": 2, "entries": {}}',
        b'{"version": true, "entries": 1}',
        b"[" * 100_000,
    ],
    ids=lambda raw: repr(raw[:30]),
)
def test_what_is_no_index_of_ours_is_refused_whole(raw: bytes) -> None:
    with pytest.raises(FormatError):
        Index.decode(raw)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("etag", 17),
        ("etag", None),
        ("size", "900"),
        ("size", -1),
        ("size", True),
        ("startedAt", "2026-11-23T02:00:00"),
        ("startedAt", "yesterday"),
        ("startedAt", 17),
        ("startedAt", "0001-01-01T00:00:00+23:59"),
        ("finishedAt", "9999-12-31T23:59:59Z"),
        ("coverage", []),
        ("coverage", "abc"),
        ("encryption", "rot13"),
        ("plainBytes", MAX_BACKUP_BYTES + 1),
        ("labels", [["%Y", "2026"]]),
        ("labels", [["%Y", "2026", "a year"]]),
        ("labels", [["%Y", "2026", 1e300]]),
        ("labels", 17),
    ],
)
def test_a_damaged_entry_is_left_out_and_no_other(field: str, value: object) -> None:
    document = _document()
    document["entries"][an_id(1)][field] = value

    assert list(Index.decode(orjson.dumps(document))) == [an_id(0), an_id(2)]


@pytest.mark.parametrize("key", ["../x", "", "x", an_id(1) + "\n"])
def test_an_entry_under_a_name_that_is_no_id_is_left_out(key: str) -> None:
    document = _document()
    document["entries"][key] = document["entries"].pop(an_id(1))

    assert list(Index.decode(orjson.dumps(document))) == [an_id(0), an_id(2)]


_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(st.data())
def test_whatever_stands_in_an_entry_costs_that_entry_at_most(data: st.DataObject) -> None:
    document = _document()
    row = document["entries"][an_id(1)]
    row[data.draw(st.sampled_from(sorted(row)))] = data.draw(_json)

    decoded = Index.decode(orjson.dumps(document))

    assert {an_id(0), an_id(2)} <= decoded.keys() <= {an_id(0), an_id(1), an_id(2)}
