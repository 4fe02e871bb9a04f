"""What an API server refuses by the schema of a custom resource alone, without its CEL rules.

jsonschema, with what Kubernetes does differently: a null is a field left out,
an unknown field is refused (``fieldValidation=Strict``), patterns are searched
for in RE2's way, where ``$`` is the end and no newline before it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker, ValidationError, validators

_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_formats = FormatChecker(formats=())


@_formats.checks("date-time", raises=ValueError)
def _is_time(value: object) -> bool:
    if isinstance(value, str):
        datetime.fromisoformat(value.upper())
        return _TIME.fullmatch(value) is not None
    return True


def _pattern(_validator: Any, pattern: str, text: object, _: Any) -> Iterator[ValidationError]:
    if isinstance(text, str) and not re.search(pattern.removesuffix("$") + r"\Z", text):
        yield ValidationError(f"does not match {pattern}")


def _int_or_string(_validator: Any, wanted: bool, value: object, _: Any) -> Iterator[Any]:
    if wanted and not (isinstance(value, str) or type(value) is int):
        yield ValidationError("is neither integer nor string")
    elif type(value) is int and not -(2**63) <= value < 2**63:
        yield ValidationError("is no 64-bit integer")


def _properties(validator: Any, known: Mapping[str, Any], value: Any, _: Any) -> Iterator[Any]:
    if not isinstance(value, Mapping):
        return
    for name, item in value.items():
        if name in known:
            yield from validator.descend(item, known[name], path=name, schema_path=name)
        else:
            yield ValidationError("unknown field", path=[name])


_Validator = validators.extend(
    Draft202012Validator,
    {
        "pattern": _pattern,
        "properties": _properties,
        "x-kubernetes-int-or-string": _int_or_string,
    },
    # 6.0 is an integer for JSON Schema, and stored as 6; the codec insists.
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine(
        "integer", lambda _, value: type(value) is int
    ),
)


def problems(schema: Mapping[str, Any], value: object) -> list[str]:
    """List what the schema refuses: paths as the API server writes them."""
    found = _Validator(schema, format_checker=_formats).iter_errors(_without_nulls(value))
    return sorted(f"{_path(error.absolute_path)}: {error.message}" for error in found)


def schema_of(crd: Mapping[str, Any]) -> dict[str, Any]:
    """Take the schema out of the one version of a definition."""
    (version,) = crd["spec"]["versions"]
    schema: dict[str, Any] = version["schema"]["openAPIV3Schema"]
    return schema


def parts(schema: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Walk over a schema and all that is in it, by path."""
    yield path, schema
    for name, inner in schema.get("properties", {}).items():
        yield from parts(inner, f"{path}.{name}".removeprefix("."))
    if "items" in schema:
        yield from parts(schema["items"], f"{path}[]")
    if isinstance(schema.get("additionalProperties"), Mapping):
        yield from parts(schema["additionalProperties"], f"{path}{{}}")


def _path(steps: Any) -> str:
    text = ""
    for step in steps:
        text += f"[{step}]" if isinstance(step, int) else f".{step}"
    return text.removeprefix(".")


def _without_nulls(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value
