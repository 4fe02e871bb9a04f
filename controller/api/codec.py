"""Both kinds from the wire and to it.

Decoding is strict about types (a quoted "false" is no bool), tells every
problem at once by its path in the manifest, and repeats no value in a message:
any of them may be a password in the wrong place. Unknown fields are not
decoded and no error (a newer writer, an older reader); `unknown_fields` names
them. Nothing else reads or writes wire names, nanoseconds or time stamps.

A rule that crosses fields runs on what could be decoded, so that a wrong port
does not hide that the schedule is missing.
"""

from __future__ import annotations

import copy
import enum
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, TypeVar, get_args, get_origin

import attrs
from cattrs import Converter

from controller.api import durations
from controller.api.durations import HoldTime
from controller.api.errors import InvalidSpec, Problem
from controller.api.raw import RawObject
from controller.api.secrets import REDACTED, AccountName, Secret, SecretValue
from controller.api.v1 import API_VERSION, ObjectMeta
from controller.api.wire import join_path, key_path, relocated, wire_name

T = TypeVar("T")
_Structure = Callable[[Any, Any], Any]

_RFC3339 = re.compile(
    r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII
)
#: Of one list or mapping: a person mends these first, and a hostile one has half a million.
_MAX_PROBLEMS = 100
_TYPE_META = ("apiVersion", "kind")
#: Twice what any field of Kubernetes needs. Beyond some hundred levels no JSON or YAML library
#: follows, and an object that is stored so would be everybody's who reads its kind.
_MAX_LEVELS = 32


def decode(kind: type[T], raw: object, *, path: str = "") -> T:
    """Make a value of `kind`, any attrs type of controller.api, from JSON's types.

    Args:
        path: put before the path of every problem.
    Raises: InvalidSpec with every problem.
    """
    try:
        value: T = build_converter().structure(raw, kind)
    except InvalidSpec as refused:
        raise InvalidSpec(relocated(refused, path)) from None
    return value


def encode(value: object, *, reveal_secrets: bool = False) -> dict[str, Any]:
    """Write an attrs value of controller.api with wire names; defaults are left out.

    Args:
        reveal_secrets: False writes ``<redacted>`` for their texts. True is
            for the configuration that a runner reads, and for nothing else.
    """
    encoded: dict[str, Any] = build_converter(reveal_secrets=reveal_secrets).unstructure(value)
    return encoded


def unknown_fields(kind: Any, raw: object, *, path: str = "") -> Iterator[Problem]:
    """Name the fields that `decode` passes over, with what may have been meant."""
    kind = _without_none(kind)
    if kind is ObjectMeta:  # has many fields that are none of our business
        return
    if get_origin(kind) is tuple and isinstance(raw, list):
        for index, item in enumerate(raw):
            yield from unknown_fields(get_args(kind)[0], item, path=f"{path}[{index}]")
    if not (attrs.has(kind) and isinstance(raw, Mapping)):
        return
    known = {wire_name(field.name): field.type for field in _fields(kind)}
    for key, item in raw.items():
        at = join_path(path, key_path(str(key)))
        if key in known:
            yield from unknown_fields(known[key], item, path=at)
        elif not (hasattr(kind, "KIND") and key in _TYPE_META):
            yield Problem(at, "unknown field, ignored" + _suggestion(str(key), known))


@cache
def build_converter(*, reveal_secrets: bool = False) -> Converter:
    """Build the converter; it holds no state. Later hooks win over earlier ones."""
    converter = Converter(detailed_validation=False)

    converter.register_structure_hook(str, _decode_text)
    converter.register_structure_hook(bool, _strict(bool, "must be true or false"))
    converter.register_structure_hook(int, _strict(int, "must be an integer"))
    converter.register_structure_hook(float, _decode_number)
    converter.register_structure_hook(timedelta, _decode_duration)
    converter.register_structure_hook(datetime, _decode_time)
    converter.register_structure_hook_func(_is_enum, _decode_enum)
    converter.register_structure_hook_func(lambda kind: kind is HoldTime, _decode_hold_time)
    converter.register_structure_hook_func(lambda kind: kind is RawObject, _decode_raw)
    converter.register_structure_hook_factory(_is_list, _list_decoder)
    converter.register_structure_hook_factory(_is_mapping, _mapping_decoder)
    converter.register_structure_hook_factory(attrs.has, _object_decoder)
    converter.register_structure_hook(Secret, _decode_secret)
    for kind in (SecretValue, AccountName):
        converter.register_structure_hook(
            kind, _secret_value_decoder(_object_decoder(kind, converter))
        )

    converter.register_unstructure_hook(timedelta, durations.format_duration)
    converter.register_unstructure_hook(datetime, _encode_time)
    converter.register_unstructure_hook_factory(attrs.has, _object_encoder)
    converter.register_unstructure_hook(
        Secret, Secret.reveal if reveal_secrets else lambda _: REDACTED
    )
    return converter


# -- objects, lists and mappings ---------------------------------------------


class _NotDecodedError(Exception):
    """A rule asked for a field that has a problem of its own."""


class _Partial:
    """Stands in, for rules, for a value of which only some fields could be decoded."""

    def __init__(self, decoded: Mapping[str, object]) -> None:
        self.__dict__.update(decoded)

    def __getattr__(self, name: str) -> Any:
        raise _NotDecodedError(name)


def _object_decoder(kind: Any, converter: Converter) -> _Structure:
    fields = [
        (field, wire_name(field.name), converter.get_structure_hook(field.type))
        for field in _fields(kind)
    ]
    has_type_meta = hasattr(kind, "KIND")

    def structure(raw: Any, _: Any) -> Any:
        if not isinstance(raw, Mapping):
            raise InvalidSpec("must be an object")
        problems: list[Problem] = []
        given: dict[str, object] = {}
        if has_type_meta:
            problems += _wrong_type_meta(kind, raw)
        for field, name, decode_field in fields:
            value = raw.get(name)
            if value is not None:
                try:
                    given[field.name] = decode_field(value, field.type)
                except InvalidSpec as refused:
                    problems += relocated(refused, name)
            elif field.default is attrs.NOTHING:  # null is absent, as Kubernetes has it
                problems.append(Problem(name, "is required"))
        if not problems:
            with suppress(InvalidSpec, ValueError, TypeError):
                return kind(**given)
        # A constructor stops at the first problem: look for all of them.
        absent = [field for field, name, _ in fields if raw.get(name) is None]
        problems += _bad_values(kind, given, absent)
        raise InvalidSpec(problems or "is not valid")

    return structure


def _bad_values(
    kind: Any, given: Mapping[str, Any], absent: Iterable[attrs.Attribute[Any]]
) -> Iterator[Problem]:
    """Find what the bounds of the fields and the rules of the type refuse."""
    good: dict[str, object] = {}
    for field in absent:
        good |= _default(field)
    for field in attrs.fields(kind):
        if field.name in given:
            try:
                good[field.name] = _bounded(field, given[field.name])
            except InvalidSpec as refused:  # from controller.api.bounds: has the path
                yield from refused.problems
            except (ValueError, TypeError):  # attrs' own validators quote the value
                yield Problem(wire_name(field.name), "is not valid")
    partial = _Partial(good)
    for rule in getattr(kind, "RULES", ()):
        with suppress(_NotDecodedError):
            yield from list(rule(partial))


def _bounded(field: attrs.Attribute[Any], value: Any) -> Any:
    convert: Any = field.converter
    if convert is not None:
        value = convert(value)
    if field.validator is not None:
        field.validator(None, field, value)
    return value


def _default(field: attrs.Attribute[Any]) -> dict[str, object]:
    """Give the default of a field, or nothing if it has none or it depends on others."""
    default: Any = field.default
    if default is attrs.NOTHING:
        return {}
    if not isinstance(default, attrs.Factory):  # type: ignore[arg-type]  # typed as a function
        return {field.name: default}
    return {} if default.takes_self else {field.name: default.factory()}


def _wrong_type_meta(kind: Any, raw: Mapping[str, object]) -> Iterator[Problem]:
    """The Go original's configuration files have neither apiVersion nor kind: absent is fine."""
    for key, expected in zip(_TYPE_META, (API_VERSION, kind.KIND), strict=True):
        if raw.get(key, expected) != expected:
            yield Problem(key, f"must be {expected}")


def _list_decoder(kind: Any, converter: Converter) -> _Structure:
    item_kind = get_args(kind)[0]
    decode_item = converter.get_structure_hook(item_kind)

    def structure(raw: Any, _: Any) -> Any:
        if not isinstance(raw, list | tuple):
            raise InvalidSpec("must be a list")
        problems: list[Problem] = []
        items = []
        for index, item in enumerate(raw):
            try:
                items.append(decode_item(item, item_kind))
            except InvalidSpec as refused:
                problems += relocated(refused, f"[{index}]")
                if len(problems) >= _MAX_PROBLEMS:
                    problems.append(Problem("", "has more problems than these"))
                    break
        if problems:
            raise InvalidSpec(problems)
        return tuple(items)

    return structure


def _mapping_decoder(kind: Any, converter: Converter) -> _Structure:
    item_kind = get_args(kind)[1]
    decode_item = converter.get_structure_hook(item_kind)

    def structure(raw: Any, _: Any) -> Any:
        if not isinstance(raw, Mapping):
            raise InvalidSpec("must be an object")
        problems: list[Problem] = []
        items = {}
        for key, item in raw.items():
            try:
                items[_decode_text(key, str)] = decode_item(item, item_kind)
            except InvalidSpec as refused:
                problems += relocated(refused, key_path(str(key)))
                if len(problems) >= _MAX_PROBLEMS:
                    problems.append(Problem("", "has more problems than these"))
                    break
        if problems:
            raise InvalidSpec(problems)
        return items

    return structure


def _object_encoder(kind: Any, converter: Converter) -> Callable[[Any], dict[str, Any]]:
    fields = _fields(kind)

    def unstructure(value: Any) -> dict[str, Any]:
        encoded: dict[str, Any] = {}
        if hasattr(kind, "KIND"):
            encoded |= {"apiVersion": API_VERSION, "kind": kind.KIND}
        for field in fields:
            item = getattr(value, field.name)
            if not _is_default(field, value, item):
                encoded[wire_name(field.name)] = converter.unstructure(item)
        return encoded

    return unstructure


def _is_default(field: attrs.Attribute[Any], value: object, item: object) -> bool:
    default: Any = field.default
    if isinstance(default, attrs.Factory):  # type: ignore[arg-type]  # typed as a function
        default = default.factory(value) if default.takes_self else default.factory()
    return bool(item == default)


# -- single values -----------------------------------------------------------


def _strict(kind: type, message: str) -> _Structure:
    def structure(raw: Any, _: Any) -> Any:
        if type(raw) is not kind:  # a bool is an int for isinstance
            raise InvalidSpec(message)
        return raw

    return structure


_decode_text = _strict(str, "must be a string; put it in quotes")


def _decode_number(raw: Any, _: Any) -> float:
    if type(raw) not in (int, float):
        raise InvalidSpec("must be a number")
    return float(raw)


def _decode_secret(raw: Any, _: Any) -> Secret:
    return Secret(_decode_text(raw, str))


def _secret_value_decoder(decode_object: _Structure) -> _Structure:
    def structure(raw: Any, kind: Any) -> SecretValue:
        if isinstance(raw, str):
            raise InvalidSpec(
                "must be an object: the text as value, or name and key of a Secret as fromSecret"
            )
        value: SecretValue = decode_object(raw, kind)
        if value.from_secret is not None and not value.value:
            # The Go original writes an empty value beside a reference.
            return attrs.evolve(value, value=None)
        return value

    return structure


def _decode_raw(raw: Any, _: Any) -> RawObject:
    if not isinstance(raw, Mapping):
        raise InvalidSpec("must be an object")
    if _is_deeper(raw, _MAX_LEVELS):
        raise InvalidSpec(f"is nested deeper than {_MAX_LEVELS} levels")
    return RawObject(copy.deepcopy(dict(raw)))


def _is_deeper(raw: object, levels: int) -> bool:
    items = raw.values() if isinstance(raw, Mapping) else raw if isinstance(raw, list) else ()
    return levels < 0 or any(_is_deeper(one, levels - 1) for one in items)


def _decode_enum(raw: Any, kind: type[enum.Enum]) -> enum.Enum:
    for member in kind:
        if type(raw) is str and raw == member.value:
            return member
    raise InvalidSpec("must be one of " + ", ".join(str(member.value) for member in kind))


def _decode_duration(raw: Any, _: Any) -> timedelta:
    if type(raw) is not str:
        raise InvalidSpec(durations.EXPECTED)
    return durations.parse_duration(raw)


def _decode_hold_time(raw: Any, kind: Any) -> timedelta:
    return durations.from_nanoseconds(raw) if type(raw) is int else _decode_duration(raw, kind)


def _decode_time(raw: Any, _: Any) -> datetime:
    message = "must be a time with an offset, such as 2006-01-02T15:04:05Z"
    if type(raw) is not str or not _RFC3339.fullmatch(raw):
        raise InvalidSpec(message)
    try:
        return datetime.fromisoformat(raw.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise InvalidSpec(message) from None


def _encode_time(time: datetime) -> str:
    return time.astimezone(UTC).isoformat().removesuffix("+00:00") + "Z"


# -- kinds of types ----------------------------------------------------------


def _fields(kind: Any) -> tuple[attrs.Attribute[Any], ...]:
    return tuple(attrs.fields(attrs.resolve_types(kind)))


def _is_enum(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, enum.Enum)


def _is_list(kind: Any) -> bool:
    return get_origin(kind) is tuple


def _is_mapping(kind: Any) -> bool:
    return get_origin(kind) in (Mapping, dict)


def _without_none(kind: Any) -> Any:
    """``X | None`` is X."""
    given = [arg for arg in get_args(kind) if arg is not type(None)]
    return given[0] if type(None) in get_args(kind) else kind


def _suggestion(key: str, known: Mapping[str, object]) -> str:
    import difflib  # noqa: PLC0415 - half a megabyte for a case that is rare

    close = difflib.get_close_matches(key, known, n=1)
    return f"; did you mean {close[0]}?" if close else ""
