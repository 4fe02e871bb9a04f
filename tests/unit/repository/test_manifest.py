from __future__ import annotations

from contextlib import suppress
from typing import Any

import orjson
import pytest
from hypothesis import given, strategies as st

from controller.api.errors import FormatError
from runner.records import to_json
from runner.repository.manifest import (
    MAX_BACKUP_BYTES,
    MAX_MANIFEST_BYTES,
    Encryption,
    EncryptionKind,
    Manifest,
    ManifestObject,
    WrapKind,
    decode_manifest,
    encode_manifest,
)
from tests.unit.repository.samples import a_manifest, a_stream, facts_of, manifests


def _document(**changes: Any) -> dict[str, Any]:
    """A valid manifest as JSON's types; a change of None takes a field out."""
    document = orjson.loads(encode_manifest(a_manifest())) | changes
    return {name: value for name, value in document.items() if value is not None}


def _refusal(raw: object) -> str:
    with pytest.raises(FormatError) as refused:
        decode_manifest(raw if isinstance(raw, bytes) else orjson.dumps(raw))
    return str(refused.value)


@given(manifests())
def test_what_is_written_is_read_again(manifest: Manifest) -> None:
    assert decode_manifest(encode_manifest(manifest)) == manifest


def test_a_person_can_read_it() -> None:
    text = encode_manifest(a_manifest()).decode()

    assert text.count("\n") > 20
    assert text.endswith("}\n")
    assert '"startedAt": "2026-11-23T02:00:00Z"' in text


def test_unknown_fields_are_passed_over() -> None:
    document = _document(chain=["x"], rekeyed={"at": "2027"})
    document["facts"]["walSegments"] = 7
    document["streams"][0]["objects"][0]["crc32c"] = "AAAA"

    assert decode_manifest(orjson.dumps(document)) == a_manifest()


def test_a_newer_version_is_refused_by_its_number_whatever_else_it_holds() -> None:
    message = _refusal({"formatVersion": 3, "streams": "of a form that we do not know"})

    assert "format version 3" in message
    assert "use a newer runner" in message


@pytest.mark.parametrize("version", [0, -1, "1", 1.0, True, None, [1]])
def test_a_version_that_is_none_is_refused(version: object) -> None:
    _refusal(_document(formatVersion=version))


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"null",
        b"[]",
        b'"text"',
        b"17",
        b"{",
        b"\xff\xfe{}",
        b'{"formatVersion": NaN}',
        b'{"formatVersion": 1e999}',
        b'{"a":' * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
    ],
    ids=lambda raw: repr(raw[:20]),
)
def test_what_is_no_manifest_is_refused(raw: bytes) -> None:
    _refusal(raw)


def test_a_manifest_of_20_mb_is_refused_before_it_is_parsed() -> None:
    padded = orjson.dumps(_document(padding="x" * 20 * 1024**2))

    assert str(MAX_MANIFEST_BYTES) in _refusal(padded)


def test_deep_nesting_in_an_unknown_field_does_no_harm() -> None:
    deep = b"[" * 500 + b"]" * 500
    raw = orjson.dumps(_document())[:-1] + b',"deep":' + deep + b"}"

    assert decode_manifest(raw) == a_manifest()


@pytest.mark.parametrize("field", sorted(_document()))
def test_every_field_is_required(field: str) -> None:
    assert field in _refusal(_document(**{field: None}))


@pytest.mark.parametrize("wrong", [17, "text", True, [], {}, [17], {"a": {}}], ids=repr)
@pytest.mark.parametrize("field", sorted(_document()))
def test_a_value_of_a_wrong_type_is_refused_or_right_by_chance(field: str, wrong: object) -> None:
    raw = orjson.dumps(_document(**{field: wrong}))

    try:
        manifest = decode_manifest(raw)
    except FormatError:
        return
    assert (field, wrong) in {
        ("clusterId", "text"),
        ("runnerVersion", "text"),
        ("configDigest", "text"),
    }
    assert wrong in orjson.loads(encode_manifest(manifest)).values()


_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)


def _places(node: object, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    items: Any = ()
    if isinstance(node, dict):
        items = node.items()
    elif isinstance(node, list):
        items = enumerate(node)
    return [path, *(place for key, value in items for place in _places(value, (*path, key)))]


@given(st.data())
def test_whatever_stands_anywhere_ends_in_a_manifest_or_in_a_format_error(
    data: st.DataObject,
) -> None:
    document: Any = _document(labels=[{"format": "%Y", "name": "2026", "hold": "24h"}])
    *way, last = data.draw(st.sampled_from([place for place in _places(document) if place]))
    node = document
    for step in way:
        node = node[step]
    node[last] = data.draw(_json)

    with suppress(FormatError):
        decode_manifest(orjson.dumps(document))


@given(st.binary(max_size=300))
def test_bytes_of_any_kind_are_refused(raw: bytes) -> None:
    _refusal(raw)


def _with_object(**fields: Any) -> Manifest:
    stored = {"name": "dump.0000", "size_bytes": 300, "sha256": "0" * 64} | fields
    return a_manifest(streams=(a_stream(objects=(ManifestObject(**stored),)),))


@pytest.mark.parametrize(
    "name",
    [
        "../../other/_data/x/dump.0000",
        "/etc/passwd",
        "dump.0000/../../x",
        "dump.0001",
        "dump.000",
        "dump.00000",
        "dump.0000\n",
        "globals.0000",
        "key.age",
        "dump",
        "",
        "dump.\u0660\u0660\u0660\u0660",
    ],
)
def test_an_objects_name_that_is_not_its_place_is_refused(name: str) -> None:
    assert "is not object 0" in _refusal(to_json(_with_object(name=name)))


def test_objects_in_another_order_are_refused() -> None:
    objects = tuple(
        ManifestObject(name=f"dump.{number:04d}", size_bytes=1, sha256="0" * 64)
        for number in (1, 0)
    )

    _refusal(to_json(a_manifest(streams=(a_stream(objects=objects),))))


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".", "A", "x" * 64])
def test_a_streams_name_that_is_no_safe_file_name_is_refused(name: str) -> None:
    _refusal(to_json(a_manifest(facts=facts_of(name), streams=(a_stream(name),))))


@pytest.mark.parametrize(
    ("said", "stored"),
    [
        (["dump"], ["dump", "dump"]),
        (["dump", "dump"], ["dump", "dump"]),
        (["dump", "dump"], ["dump"]),
        (["dump", "globals"], ["dump"]),
        (["dump"], ["dump", "globals"]),
        ([], ["dump"]),
    ],
)
def test_streams_that_are_not_each_there_once_are_refused(
    said: list[str], stored: list[str]
) -> None:
    manifest = a_manifest(facts=facts_of(*said), streams=tuple(map(a_stream, stored)))

    assert "stream" in _refusal(to_json(manifest))


def test_a_stream_without_objects_is_refused() -> None:
    assert "no objects" in _refusal(to_json(a_manifest(streams=(a_stream(objects=()),))))


@pytest.mark.parametrize("size", [-1, MAX_BACKUP_BYTES + 1, 2**63])
def test_a_size_that_cannot_be_is_refused(size: int) -> None:
    _refusal(to_json(_with_object(size_bytes=size)))
    _refusal(to_json(a_manifest(streams=(a_stream(plain_bytes=size),))))


def test_sizes_that_cannot_be_together_are_refused() -> None:
    half = MAX_BACKUP_BYTES // 2 + 1
    streams = tuple(a_stream(name, plain_bytes=half) for name in ("a", "b"))

    assert "sizes" in _refusal(to_json(a_manifest(facts=facts_of("a", "b"), streams=streams)))


@pytest.mark.parametrize("text", ["", "0" * 63, "0" * 65, "g" * 64, "A" * 64, "0" * 63 + "\n"])
def test_a_hash_that_is_none_is_refused(text: str) -> None:
    _refusal(to_json(_with_object(sha256=text)))
    _refusal(to_json(a_manifest(streams=(a_stream(plain_sha256=text),))))


@pytest.mark.parametrize("field", ["startedAt", "finishedAt"])
@pytest.mark.parametrize(
    "text",
    [
        "0001-01-01T00:00:00Z",
        "9999-12-31T23:59:59Z",
        "0001-01-01T00:00:00+23:59",
        "2026-11-23T02:00:00",
        "2026-11-23",
        "yesterday",
    ],
)
def test_a_time_that_some_zone_cannot_write_is_refused(field: str, text: str) -> None:
    _refusal(_document(**{field: text}))


def test_a_coverage_that_ends_before_it_starts_is_refused() -> None:
    document = _document()
    document["facts"]["coverage"]["end"] = "2020-01-01T00:00:00Z"

    assert "times" in _refusal(document)


@pytest.mark.parametrize(
    "encryption",
    [
        Encryption(kind=EncryptionKind.AGE),
        Encryption(kind=EncryptionKind.NONE, wrap=WrapKind.PASSPHRASE),
    ],
)
def test_an_encryption_that_contradicts_itself_is_refused(encryption: Encryption) -> None:
    assert "encryption" in _refusal(to_json(a_manifest(encryption=encryption)))


def test_another_compression_is_refused_by_name() -> None:
    assert "'lz4'" in _refusal(_document(compression="lz4"))


@pytest.mark.parametrize("field", ["streams", "labels"])
def test_an_absurd_number_of_problems_is_not_collected(field: str) -> None:
    """The largest manifest that is read, and all of it wrong: a message of 50 MB once."""
    document = {**_document(), field: [{}] * 340_000}
    assert len(orjson.dumps(document)) < MAX_MANIFEST_BYTES

    refusal = _refusal(document)

    assert f"{field}[0]" in refusal
    assert "more problems than these" in refusal
    assert len(refusal) < 20_000


def test_an_absurd_number_of_objects_is_refused_in_bounded_time() -> None:
    document = _document()
    stored = document["streams"][0]["objects"][0]
    document["streams"][0]["objects"] = [stored] * 5_000

    assert "object 1 of" in _refusal(document)
