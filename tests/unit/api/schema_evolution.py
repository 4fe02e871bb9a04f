"""What one schema of a kind refuses, forgets or takes for something else, and an older one did not.

Objects outlive releases: one that was stored through the older schema has to
be readable, writable and the same through the newer one.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from typing import Any

from attrs import frozen

Schema = Mapping[str, Any]

_LOWER = ("minimum", "minLength", "minItems", "minProperties")
_UPPER = ("maximum", "maxLength", "maxItems", "maxProperties")
_LISTS = ("x-kubernetes-list-type", "x-kubernetes-list-map-keys", "x-kubernetes-map-type")


class Kind(enum.Enum):
    """Why a change breaks objects."""

    REMOVED = "a field is gone: writing an object erases it"
    TYPE = "the type is another"
    ENUM = "a value is no longer allowed"
    REQUIRED = "a field is newly required"
    BOUND = "a bound is tighter"
    RULE = "a CEL rule was added to what was there before"
    DEFAULT = "the default is another"
    LIST = "entries are merged in another way"


@frozen
class Break:
    kind: Kind
    path: str

    def __str__(self) -> str:
        return f"{self.path}: {self.kind.value}"


def breaks(old: Schema, new: Schema, path: str = "") -> Iterator[Break]:
    """Compare all that `old` has; what only `new` has was added, and is fine."""
    yield from (Break(kind, path) for kind in _broken_here(old, new))
    known = new.get("properties", {})
    for name, inner in old.get("properties", {}).items():
        at = f"{path}.{name}".removeprefix(".")
        if name in known:
            yield from breaks(inner, known[name], at)
        else:
            yield Break(Kind.REMOVED, at)
    for name in set(new.get("required", ())) - set(old.get("required", ())):
        yield Break(Kind.REQUIRED, f"{path}.{name}".removeprefix("."))
    for inner, sign in (("items", "[]"), ("additionalProperties", "{}")):
        if inner in old and inner in new:
            yield from breaks(old[inner], new[inner], path + sign)


def _broken_here(old: Schema, new: Schema) -> Iterator[Kind]:
    if not _types(old) <= _types(new) or old.get("format") not in {new.get("format"), None}:
        yield Kind.TYPE
    if ("additionalProperties" in old) != ("additionalProperties" in new):
        yield Kind.TYPE
    if "enum" in new and not set(old.get("enum", ("anything",))) <= set(new["enum"]):
        yield Kind.ENUM
    if _is_tighter(old, new):
        yield Kind.BOUND
    if _rules(new) - _rules(old):
        yield Kind.RULE
    if old.get("default") != new.get("default"):
        yield Kind.DEFAULT
    if any(old.get(name) != new.get(name) for name in _LISTS):
        yield Kind.LIST


def _types(schema: Schema) -> set[str]:
    if schema.get("x-kubernetes-int-or-string"):
        return {"integer", "string"}
    return {schema["type"]}


def _is_tighter(old: Schema, new: Schema) -> bool:
    # Whether one pattern takes all that another does is not for a test to find out.
    return (
        ("pattern" in new and new["pattern"] != old.get("pattern"))
        or ("format" in new and "format" not in old)
        or (bool(old.get("nullable")) and not new.get("nullable"))
        or any(name in new and new[name] > old.get(name, float("-inf")) for name in _LOWER)
        or any(name in new and new[name] < old.get(name, float("inf")) for name in _UPPER)
    )


def _rules(schema: Schema) -> set[str]:
    return {rule["rule"] for rule in schema.get("x-kubernetes-validations", ())}
