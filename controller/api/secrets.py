"""Secret values: text that does not print, and references to where it is kept."""

from __future__ import annotations

import hmac

from attrs import field, frozen

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
class SecretRef:
    """A key of a Secret in the namespace that the field's documentation names.

    Both become parts of a file's path in the runner, so neither can be ``..``.
    """

    name: str = field(validator=DNS_NAME)
    key: str = field(validator=SECRET_KEY)

    def __str__(self) -> str:
        return f"{self.name}/{self.key}"


@frozen(kw_only=True)
class SecretValue:
    """``{value: ...}`` or ``{fromSecret: {name, key}}``; the value wins.

    Source: the Go original's SecretValue; the same precedence.
    """

    value: Secret | None = field(default=None)
    from_secret: SecretRef | None = field(default=None)
