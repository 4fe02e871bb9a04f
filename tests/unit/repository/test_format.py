"""docs/format.md and its schema say what the program does."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args, get_origin

import attrs
import orjson
import pytest
from hypothesis import given
from jsonschema import Draft202012Validator, ValidationError

from controller.api.wire import wire_name
from runner.repository.manifest import Manifest, decode_manifest, encode_manifest
from tests.unit.repository.samples import a_manifest, manifests

DOCS = Path(__file__).parents[3] / "docs"
TEXT = (DOCS / "format.md").read_text()
SCHEMA: dict[str, Any] = orjson.loads((DOCS / "schema" / "manifest.schema.json").read_bytes())
VALIDATOR = Draft202012Validator(SCHEMA)


def _resolved(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema with its reference followed; the words beside the reference win."""
    if "$ref" not in schema:
        return schema
    target = SCHEMA["$defs"][schema["$ref"].removeprefix("#/$defs/")]
    return _resolved(target) | {key: value for key, value in schema.items() if key != "$ref"}


def _value_type(kind: Any) -> Any:
    """What an attribute holds: ``X | None`` and ``tuple[X, ...]`` are X."""
    given = [arg for arg in get_args(kind) if arg not in (type(None), ...)]
    if type(None) in get_args(kind) or get_origin(kind) is tuple:
        return _value_type(given[0])
    return kind


def _compare(kind: Any, schema: dict[str, Any], path: str = "") -> Iterator[str]:
    """Every difference between an attrs type and the schema of its JSON form."""
    schema = _resolved(schema)
    fields = {wire_name(field.name): field for field in attrs.fields(attrs.resolve_types(kind))}
    properties = schema.get("properties", {})
    for name in fields.keys() ^ properties.keys():
        yield f"{path}{name} is in one of the two only"
    required = {name for name, field in fields.items() if field.default is attrs.NOTHING}
    for name in required ^ set(schema.get("required", ())):
        yield f"{path}{name} is required in one of the two only"
    for name in fields.keys() & properties.keys():
        inner = _resolved(properties[name])
        if not inner.get("description"):
            yield f"{path}{name} has no description"
        value_type = _value_type(fields[name].type)
        if attrs.has(value_type):
            yield from _compare(value_type, inner.get("items", inner), f"{path}{name}.")
        elif get_origin(value_type) is Mapping and "additionalProperties" not in inner:
            yield f"{path}{name} should be a mapping"


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(SCHEMA)


def test_the_schema_has_every_field_of_the_types_and_no_other() -> None:
    assert list(_compare(Manifest, SCHEMA)) == []


@given(manifests())
def test_what_is_written_fits_the_schema(manifest: Manifest) -> None:
    VALIDATOR.validate(orjson.loads(encode_manifest(manifest)))


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("formatVersion",), 3),
        (("encryption",), {"kind": "engine"}),
        (("id",), "../x"),
        (("startedAt",), "2026-11-23T02:00:00"),
        (("compression",), "lz4"),
        (("compression",), "engine"),
        (("streams", 0, "plainBytes"), -1),
        (("streams", 0, "plainSha256"), "abc"),
        (("streams", 0, "objects"), []),
        (("streams", 0, "objects", 0, "name"), "../dump.0000"),
        (("facts", "streams"), ["dump", "dump"]),
        (("facts", "counts"), {"tables": "12"}),
        (("encryption",), {"kind": "age"}),
        (("encryption",), {"kind": "none", "wrap": "passphrase"}),
        (("encryption",), {"kind": "age", "wrap": "passphrase", "keySha256": "abc"}),
    ],
)
def test_what_the_program_refuses_the_schema_refuses(place: tuple[Any, ...], value: object) -> None:
    document = orjson.loads(encode_manifest(a_manifest()))
    node = document
    for step in place[:-1]:
        node = node[step]
    node[place[-1]] = value

    with pytest.raises(ValidationError):
        VALIDATOR.validate(document)


def test_the_example_is_a_manifest() -> None:
    (example,) = re.findall(r"```json\n(.*?)```", TEXT, re.DOTALL)

    assert decode_manifest(example.encode()).facts.streams == ("globals", "dump")
    VALIDATOR.validate(orjson.loads(example))


def test_the_table_names_every_field() -> None:
    rows = "\n".join(line for line in TEXT.splitlines() if line.startswith("| `"))
    named = set(re.findall(r"[A-Za-z0-9]+", rows))

    def names(kind: Any) -> Iterator[str]:
        for field in attrs.fields(attrs.resolve_types(kind)):
            value_type = _value_type(field.type)
            yield wire_name(field.name)
            if attrs.has(value_type):
                yield from names(value_type)

    assert set(names(Manifest)) - named == set()


def test_the_schema_is_linked() -> None:
    assert "(schema/manifest.schema.json)" in TEXT
