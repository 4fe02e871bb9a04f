"""The schema only grows: what an earlier one took and stored, this one takes and keeps.

`data/crds-<release>` holds the definitions of that release; a release adds its
own. The Go original's, written by hand, is the first: it says which fields
there were and of what type. It had next to no bounds; ours are listed in the
documentation, and refuse what could not work.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from controller.api.crd import crds
from tests.structural import schema_of
from tests.unit.api.schema_evolution import Break, Kind, breaks

DATA = Path(__file__).parent / "data"
GO_ORIGINAL = "crds-go-original"
EARLIER = [
    pytest.param(path, id=f"{path.parent.name}/{path.name}")
    for path in sorted(DATA.glob("crds-*/*.yaml"))
]
#: What a first version may say of fields that were there without it.
NEW_IN_OURS = {Kind.BOUND, Kind.RULE, Kind.DEFAULT, Kind.LIST}
#: (release, what breaks) -> why it refuses nothing that was stored. Texts of patterns and rules
#: cannot be compared: one that takes more than before, or is of a new field alone, stands here.
REVIEWED: Mapping[tuple[str, str], str] = {}


@pytest.mark.parametrize("path", EARLIER)
def test_nothing_of_an_earlier_schema_is_taken_away(path: Path) -> None:
    old = schema_of(yaml.safe_load(path.read_text()))
    new = schema_of(crds()[path.stem])
    allowed = NEW_IN_OURS if path.parent.name == GO_ORIGINAL else set()

    broken = {str(one) for one in breaks(old, new) if one.kind not in allowed}
    release = path.parent.name.removeprefix("crds-")
    assert broken - {what for of, what in REVIEWED if of == release} == set()


def test_every_kind_is_compared_with_the_go_original() -> None:
    assert {path.stem for path in (DATA / GO_ORIGINAL).iterdir()} == set(crds())


TEXT: dict[str, Any] = {"type": "string"}
NUMBER: dict[str, Any] = {"type": "integer", "minimum": 1, "maximum": 9}
RULE: dict[str, Any] = {"rule": "self.a", "message": "must"}

# old, new, what breaks
BREAKING: list[tuple[dict[str, Any], dict[str, Any], Kind]] = [
    (TEXT, {"type": "integer"}, Kind.TYPE),
    (TEXT, {"type": "string", "format": "date-time"}, Kind.BOUND),
    ({"type": "integer", "format": "int64"}, {"type": "integer", "format": "int32"}, Kind.TYPE),
    ({"x-kubernetes-int-or-string": True}, TEXT, Kind.TYPE),
    ({"type": "object"}, {"type": "object", "additionalProperties": TEXT}, Kind.TYPE),
    ({"type": "object", "additionalProperties": TEXT}, {"type": "object"}, Kind.TYPE),
    (TEXT, TEXT | {"enum": ["a"]}, Kind.ENUM),
    (TEXT | {"enum": ["a", "b"]}, TEXT | {"enum": ["a", "c"]}, Kind.ENUM),
    (NUMBER, NUMBER | {"minimum": 2}, Kind.BOUND),
    (NUMBER, NUMBER | {"maximum": 8}, Kind.BOUND),
    ({"type": "integer"}, {"type": "integer", "minimum": -5}, Kind.BOUND),
    (TEXT, TEXT | {"maxLength": 9}, Kind.BOUND),
    (TEXT, TEXT | {"minLength": 1}, Kind.BOUND),
    (TEXT, TEXT | {"pattern": "a"}, Kind.BOUND),
    (TEXT | {"pattern": "a"}, TEXT | {"pattern": "b"}, Kind.BOUND),
    (TEXT | {"nullable": True}, TEXT, Kind.BOUND),
    (
        {"type": "array", "items": TEXT, "maxItems": 3},
        {"type": "array", "items": TEXT, "maxItems": 2},
        Kind.BOUND,
    ),
    ({"type": "object"}, {"type": "object", "maxProperties": 2}, Kind.BOUND),
    (TEXT, TEXT | {"x-kubernetes-validations": [RULE]}, Kind.RULE),
    (TEXT, TEXT | {"default": "a"}, Kind.DEFAULT),
    (TEXT | {"default": "a"}, TEXT | {"default": "b"}, Kind.DEFAULT),
    (TEXT | {"default": "a"}, TEXT, Kind.DEFAULT),
    (
        {"type": "array", "items": TEXT, "x-kubernetes-list-type": "atomic"},
        {"type": "array", "items": TEXT, "x-kubernetes-list-type": "set"},
        Kind.LIST,
    ),
]


@pytest.mark.parametrize(("old", "new", "kind"), BREAKING)
@pytest.mark.parametrize("path", ["", "a", "a[]", "a{}"])
def test_a_change_that_breaks_is_found_wherever_it_is(
    old: dict[str, Any], new: dict[str, Any], kind: Kind, path: str
) -> None:
    assert list(breaks(_put(path, old), _put(path, new))) == [Break(kind, path)]


def _put(path: str, schema: dict[str, Any]) -> dict[str, Any]:
    if path.endswith("[]"):
        schema = {"type": "array", "items": schema}
    elif path.endswith("{}"):
        schema = {"type": "object", "additionalProperties": schema}
    return {"type": "object", "properties": {"a": schema}} if path else schema


def test_a_field_that_is_gone_or_newly_required_is_found() -> None:
    old = {"type": "object", "properties": {"a": TEXT, "b": TEXT}}
    new = {"type": "object", "properties": {"a": TEXT, "c": TEXT}, "required": ["a", "c"]}

    assert {str(one) for one in breaks(old, new)} == {
        "b: a field is gone: writing an object erases it",
        "a: a field is newly required",
        "c: a field is newly required",
    }


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"type": "object"}, {"type": "object", "properties": {"a": TEXT}}),
        (
            {"type": "object", "properties": {"a": TEXT}, "required": ["a"]},
            {"type": "object", "properties": {"a": TEXT}},
        ),
        (TEXT, {"x-kubernetes-int-or-string": True}),
        (TEXT | {"enum": ["a"]}, TEXT | {"enum": ["a", "b"]}),
        (TEXT | {"enum": ["a"]}, TEXT),
        (TEXT | {"pattern": "a"}, TEXT),
        (TEXT | {"description": "a"}, TEXT | {"description": "b"}),
        (NUMBER, {"type": "integer", "minimum": 0, "maximum": 10}),
        (NUMBER, {"type": "integer"}),
        (
            TEXT | {"x-kubernetes-validations": [RULE]},
            TEXT | {"x-kubernetes-validations": [RULE | {"message": "has to"}]},
        ),
        (TEXT | {"x-kubernetes-validations": [RULE]}, TEXT),
    ],
)
def test_what_only_adds_or_loosens_is_fine(old: dict[str, Any], new: dict[str, Any]) -> None:
    assert list(breaks(old, new)) == []
