"""Secret values: text that does not print, and references to where it is kept."""

from __future__ import annotations

import hmac
from collections.abc import Iterator
from typing import Any

import attrs
from attrs import field, frozen

from controller.api import rules
from controller.api.bounds import DNS_NAME, SECRET_KEY

REDACTED = "<redacted>"


class Secret:
    """Text that shows itself only to who asks by name.

    attrs validators, tracebacks and log records print values; a plain str in
    them is a leaked password. `str`, `repr` and `format` of a Secret say
    ``<redacted>``; `reveal` is the one way to the text, and easy to grep for.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._text.encode(), other._text.encode())

    def __hash__(self) -> int:
        return hash(self._text)

    def __repr__(self) -> str:
        return f"Secret({REDACTED})"

    def __str__(self) -> str:
        return REDACTED

    def __format__(self, spec: str) -> str:
        return REDACTED

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a Secret is not pickled: it would leave memory as plain text")


@frozen(kw_only=True)
class SecretRef(rules.Checked):
    """One key of a Secret.

    Args:
        name: name of the Secret; none that the controller made.
        key: key in it.
    """

    RULES = (rules.refers_to_no_child,)

    # Both become parts of a file's path in the runner: neither can be `..`.
    name: str = field(validator=DNS_NAME)
    key: str = field(validator=SECRET_KEY)

    def __str__(self) -> str:
        return f"{self.name}/{self.key}"


@frozen(kw_only=True)
class SecretValue(rules.Checked):
    """A text that is secret: given itself, or by reference.

    Args:
        value: the text itself; everybody who may read this object sees it. Wins
            over `fromSecret` unless it is empty.
        from_secret: a key of a Secret: of a DatabaseBackup in its own
            namespace, of a DatabaseBackupStorageClass in the controller's.
    """

    RULES = (rules.value_or_reference,)

    # The Go original's, with the same precedence.
    value: Secret | None = field(default=None)
    from_secret: SecretRef | None = field(default=None)


@frozen(kw_only=True)
class AccountName(SecretValue):
    """A name that may lie in a Secret beside its password; messages and logs show it.

    Args:
        value: the name itself. Wins over `fromSecret` unless it is empty.
        from_secret: a key of a Secret in the namespace of the DatabaseBackup.
    """


def secret_values(value: Any) -> Iterator[SecretValue]:
    """Find the secret values in attrs values and tuples of them."""
    if isinstance(value, SecretValue):
        yield value
    elif isinstance(value, tuple):
        for item in value:
            yield from secret_values(item)
    elif attrs.has(type(value)):
        for attribute in attrs.fields(type(value)):
            yield from secret_values(getattr(value, attribute.name))
