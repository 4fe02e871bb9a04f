"""A type of controller.api as the structural schema of a custom resource.

It says what the codec says: the same names, types, bounds and, in CEL, rules.
Two things differ on purpose. No field is `nullable`: the API server drops a
null, which is what the codec takes it for. A default is left out of a status,
and where `OnWire.writes_default` says so: the server would store it for good.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from functools import singledispatch
from typing import Any, get_args, get_origin

import attrs

from controller.api import durations
from controller.api.bounds import All, Between, Each, Keys, Length, Matches, OneOf, on_wire
from controller.api.cel import Cel, quoted, re2
from controller.api.descriptions import default_text, describe, describe_fields
from controller.api.durations import HoldTime, format_duration
from controller.api.errors import Problem
from controller.api.raw import RawObject
from controller.api.secrets import Secret
from controller.api.wire import wire_name

Schema = dict[str, Any]

_PLAIN: Mapping[object, Schema] = {
    str: {"type": "string"},
    Secret: {"type": "string"},
    bool: {"type": "boolean"},
    int: {"type": "integer", "format": "int64"},
    float: {"type": "number"},
    datetime: {"type": "string", "format": "date-time"},
}
_DURATION: Schema = {
    "maxLength": durations.MAX_LENGTH,
    "pattern": re2(durations.PATTERN),
}

# By hand: CEL's own duration() reads neither days nor weeks.
_UNITS = ", ".join(f"'{unit}': {count}.0" for unit, count in durations.NANOSECONDS.items())
_NANOSECONDS = (
    "self.findAll('[0-9.]+[^0-9.]+').map(term,"
    f" double(term.find('[0-9.]+')) * {{{_UNITS}}}[term.find('[^0-9.]+')]).sum()"
)
_HOLDABLE = Cel(
    f"type(self) == int || {_NANOSECONDS} <= {durations.MAX_NANOSECONDS}.0",
    Problem("", durations.OUT_OF_RANGE),
)


def object_schema(kind: Any, *, defaults: bool = True) -> Schema:
    """Build the schema of an attrs type.

    Args:
        defaults: False leaves all of them out.
    """
    kind = attrs.resolve_types(kind)
    texts = describe_fields(kind)
    properties = {
        wire_name(field.name): _field_schema(field, texts.get(field.name), defaults=defaults)
        for field in attrs.fields(kind)
    }
    required = [
        wire_name(field.name) for field in attrs.fields(kind) if field.default is attrs.NOTHING
    ]
    schema: Schema = {"description": describe(kind), "type": "object", "properties": properties}
    if required:
        schema["required"] = required
    _add_rules(schema, (cel for rule in getattr(kind, "RULES", ()) for cel in rule.cel))
    return schema


def _field_schema(field: attrs.Attribute[Any], text: str | None, *, defaults: bool) -> Schema:
    kind = _without_none(field.type)
    schema = {"description": text or ""} | _type_schema(kind, defaults=defaults)
    if text is not None:  # else the type's own is fine
        schema["description"] = text
    wire = on_wire(field)
    if bound := wire.bound or field.validator:
        _add_bound(bound, schema)
    default = _default(field)
    if defaults and default is not None:
        schema["description"] += default_text(default)
        if wire.writes_default:
            schema["default"] = default
    return schema


def _type_schema(kind: Any, *, defaults: bool) -> Schema:
    if kind in _PLAIN:
        return dict(_PLAIN[kind])
    if kind is RawObject:
        return {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    if kind is timedelta:
        return {"type": "string"} | _DURATION
    if kind == HoldTime:
        # minimum counts for the integer alone, the others for the text alone.
        schema = {"x-kubernetes-int-or-string": True, "minimum": 0} | _DURATION
        _add_rules(schema, [_HOLDABLE])
        return schema
    if get_origin(kind) is tuple:
        return _list_schema(get_args(kind)[0], defaults=defaults)
    if get_origin(kind) is not None and issubclass(get_origin(kind), Mapping):
        values = _type_schema(get_args(kind)[1], defaults=defaults)
        return {"type": "object", "additionalProperties": values}
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return {"type": "string", "enum": [member.value for member in kind]}
    if attrs.has(kind):
        return object_schema(kind, defaults=defaults)
    raise TypeError(f"no schema for {kind!r}")


def _list_schema(item: Any, *, defaults: bool) -> Schema:
    schema: Schema = {"type": "array", "items": _type_schema(item, defaults=defaults)}
    if key := getattr(item, "LIST_KEY", ""):
        schema |= {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [key]}
    else:
        schema["x-kubernetes-list-type"] = "atomic"
    return schema


# -- bounds ------------------------------------------------------------------


@singledispatch
def _add_bound(bound: Any, schema: Schema) -> None:
    """Say a validator of controller.api.bounds; one that cannot be said is a defect."""
    raise TypeError(f"no schema for {bound!r} of {schema}")


@_add_bound.register
def _add_between(bound: Between, schema: Schema) -> None:
    if isinstance(bound.low, timedelta):
        _add_rules(schema, _duration_rules(bound.low, bound.high))
    else:
        schema |= {"minimum": bound.low, "maximum": bound.high}


@_add_bound.register
def _add_matches(bound: Matches, schema: Schema) -> None:
    pattern = re2(bound.pattern, optional=bound.optional)
    schema |= {"maxLength": bound.longest, "pattern": pattern}


@_add_bound.register
def _add_one_of(bound: OneOf, schema: Schema) -> None:
    schema["enum"] = list(bound.choices)


@_add_bound.register
def _add_length(bound: Length, schema: Schema) -> None:
    entries = "Items" if schema["type"] == "array" else "Properties"
    if bound.low:
        schema[f"min{entries}"] = bound.low
    schema[f"max{entries}"] = bound.high


@_add_bound.register
def _add_each(bound: Each, schema: Schema) -> None:
    _add_bound(bound.check, schema.get("items") or schema["additionalProperties"])


@_add_bound.register
def _add_keys(bound: Keys, schema: Schema) -> None:
    matches = f"self.all(key, key.matches({quoted(re2(bound.check.pattern))}))"
    _add_rules(schema, [Cel(matches, Problem("", f"each key must be {bound.check.meaning}"))])


@_add_bound.register
def _add_all(bound: All, schema: Schema) -> None:
    for check in bound.checks:
        _add_bound(check, schema)


def _duration_rules(low: timedelta, high: timedelta) -> Iterator[Cel]:
    for sign, bound in ((">=", low), ("<=", high)):
        nanoseconds = bound // timedelta(microseconds=1) * 1000
        problem = Problem("", f"must be {sign} {format_duration(bound)}")
        yield Cel(f"{_NANOSECONDS} {sign} {nanoseconds}.0", problem)


def _add_rules(schema: Schema, rules: Iterable[Cel]) -> None:
    said = [_validation(cel) for cel in rules]
    if said:
        schema["x-kubernetes-validations"] = schema.get("x-kubernetes-validations", []) + said


def _validation(cel: Cel) -> Schema:
    validation = {"rule": cel.expression, "message": cel.problem.message}
    if cel.says:
        validation["messageExpression"] = cel.says
    if cel.problem.path:
        validation["fieldPath"] = f".{cel.problem.path}"
    return validation


# -- defaults ----------------------------------------------------------------


def _default(field: attrs.Attribute[Any]) -> Any:
    """Give a default as the wire has it; None for none, and for "left out"."""
    default: Any = field.default
    if default is attrs.NOTHING or isinstance(default, attrs.Factory):  # type: ignore[arg-type]
        return None
    if isinstance(default, enum.Enum):
        return default.value
    if isinstance(default, timedelta):
        return format_duration(default)
    return None if default in ("", ()) else default


def _without_none(kind: Any) -> Any:
    """``X | None`` is X."""
    given = [arg for arg in get_args(kind) if arg is not type(None)]
    return given[0] if type(None) in get_args(kind) else kind
