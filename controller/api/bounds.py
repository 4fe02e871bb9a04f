"""Validators that name the bound and never the value.

attrs' own put the refused value into their message; here it may be a password
in the wrong place. Each is a frozen value with public fields, because the
schema of the custom resources is generated from them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sized
from datetime import timedelta
from typing import Any

import attrs
from attrs import frozen

from controller.api.durations import format_duration
from controller.api.errors import InvalidSpec, Problem
from controller.api.wire import join_path, key_path, wire_name


def _refuse(attribute: attrs.Attribute[Any], message: str) -> None:
    raise InvalidSpec([Problem(wire_name(attribute.name), message)])


@frozen
class Between:
    """A number or duration from `low` to `high`, both included; None passes."""

    low: Any
    high: Any

    def __call__(self, _instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
        if value is None or self.low <= value <= self.high:
            return
        bound = f">= {_show(self.low)}" if value < self.low else f"<= {_show(self.high)}"
        _refuse(attribute, f"must be {bound}")


@frozen
class Matches:
    """Text that matches `pattern` as a whole; None passes.

    Args:
        pattern: what Python's re and RE2 (the API server's) read alike.
        meaning: completes "must be ..." for people.
        optional: the empty text passes too: the field was left out.
        longest: in characters.
    """

    pattern: str
    meaning: str
    optional: bool = False
    longest: int = 253

    def __call__(self, _instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
        if value is None or (self.optional and value == ""):
            return
        if len(value) > self.longest:
            _refuse(attribute, f"must have at most {self.longest} characters")
        if not re.fullmatch(self.pattern, value):
            _refuse(attribute, f"must be {self.meaning}")


@frozen
class Length:
    """A list or mapping of `low` to `high` entries; None passes."""

    low: int
    high: int

    def __call__(
        self, _instance: object, attribute: attrs.Attribute[Any], value: Sized | None
    ) -> None:
        if value is not None and not self.low <= len(value) <= self.high:
            amount = f"{self.low} to {self.high}" if self.low else f"at most {self.high}"
            _refuse(attribute, f"must have {amount} entries")


@frozen
class Each:
    """Every item of a list, or every value of a mapping, passes `check`."""

    check: Any

    def __call__(self, instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
        found: list[Problem] = []
        pairs = value.items() if isinstance(value, Mapping) else enumerate(value or ())
        for key, item in pairs:
            try:
                self.check(instance, attribute, item)
            except InvalidSpec as refused:
                at = f"[{key}]" if isinstance(key, int) else key_path(key)
                path = join_path(wire_name(attribute.name), at)
                found += [Problem(path, problem.message) for problem in refused.problems]
        if found:
            raise InvalidSpec(found)


@frozen
class Keys:
    """Every key of a mapping passes `check`; None passes."""

    check: Any

    def __call__(
        self, instance: object, attribute: attrs.Attribute[Any], value: Mapping[str, Any] | None
    ) -> None:
        Each(self.check)(instance, attribute, {key: key for key in value or ()})


@frozen
class All:
    """Every one of `checks`, in their order."""

    checks: tuple[Any, ...]

    def __call__(self, instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
        for check in self.checks:
            check(instance, attribute, value)


@frozen
class OneOf:
    """One of some texts; only for the schema, where types have an enum."""

    choices: tuple[str, ...]


@frozen
class OnWire:
    """What the schema says of a field, where its type and validator do not tell.

    Args:
        bound: instead of the field's validator: the value on the wire is not
            yet ours, or the API server should know what another part knows here.
        writes_default: the API server writes a default into what it stores, for
            good. False for one that a later release, or another object, may set.
    """

    bound: Any = None
    writes_default: bool = True


def on_wire(field: attrs.Attribute[Any]) -> OnWire:
    """Find what `wire` put into the metadata of a field."""
    found: OnWire = field.metadata.get(OnWire, OnWire())
    return found


def wire(bound: Any = None, *, writes_default: bool = True) -> dict[Any, Any]:
    """Make the `metadata` of a field."""
    return {OnWire: OnWire(bound, writes_default)}


def _show(bound: object) -> str:
    return format_duration(bound) if isinstance(bound, timedelta) else str(bound)


_LABEL = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
DNS_LABEL = Matches(_LABEL, "a DNS label: up to 63 of a-z, 0-9 and -, not - at an end")
DNS_NAME = Matches(
    rf"{_LABEL}(\.{_LABEL})*", "a DNS name: a-z, 0-9, - and ., each part of 1 to 63 characters"
)
SECRET_KEY = Matches(
    r"[A-Za-z0-9_-][-._A-Za-z0-9]{0,252}|\.[-_A-Za-z0-9][-._A-Za-z0-9]{0,251}",
    "a Secret's key: letters, digits, -, _ and .",
)
#: Keys of labels and annotations.
QUALIFIED_NAME = Matches(
    rf"({_LABEL}(\.{_LABEL})*/)?[A-Za-z0-9]([-._A-Za-z0-9]{{0,61}}[A-Za-z0-9])?",
    "the key of a label or annotation: letters, digits, -, _ and ., after a DNS name and / or not",
    longest=317,
)
#: One key, or all below a prefix.
KEY_OR_PREFIX = Matches(
    rf"{_LABEL}(\.{_LABEL})*/|{QUALIFIED_NAME.pattern}",
    "the key of a label or annotation, or a DNS name and / for all keys below it",
    longest=317,
)
LABEL_VALUE = Matches(
    r"[A-Za-z0-9]([-._A-Za-z0-9]{0,61}[A-Za-z0-9])?",
    "a label's value: up to 63 letters, digits, -, _ and .",
    optional=True,
)
_CHAR = r"[^/\x00-\x1f\x7f]"
_NO_DOT = r"[^./\x00-\x1f\x7f]"
#: One name of a path that is neither . nor ..; RE2 has no lookahead to say so.
PATH_STEP = rf"({_NO_DOT}{_CHAR}*|\.{_NO_DOT}{_CHAR}*|\.\.{_CHAR}+)"
# No control characters: none of these reaches a server, a log line or a prompt.
TEXT = Matches(r"[^\x00-\x1f\x7f]{1,253}", "text of 1 to 253 characters without control characters")
