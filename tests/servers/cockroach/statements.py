"""The statements that the stand-in takes, by their form; anything else is a syntax error."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from tests.servers.cockroach.wire import SqlError

IDENT = r'(?:"(?:[^"]|"")*"|[A-Za-z_][A-Za-z0-9_]*)'
NAME = rf"({IDENT}(?:\.{IDENT})*)"
TEXT = r"(\$\d+|'(?:[^']|'')*')"
TIME = r"AS OF SYSTEM TIME '([^']+)'"
_OPTION = re.compile(rf"([a-z_]+)(?: = {TEXT})?(?:, |\Z)")


def names_in(qualified: str) -> list[str]:
    """``"a"."b""c"`` is a and b"c."""
    return [
        part[1:-1].replace('""', '"') if part.startswith('"') else part.lower()
        for part in re.findall(IDENT, qualified)
    ]


def name_in(qualified: str) -> str:
    (name,) = names_in(qualified)
    return name


def text_in(word: str, arguments: Sequence[str | None]) -> str:
    """A literal, or the argument that a placeholder stands for."""
    if word.startswith("$"):
        return arguments[int(word[1:]) - 1] or ""
    return word[1:-1].replace("''", "'")


def options_in(
    text: str | None, arguments: Sequence[str | None], known: set[str]
) -> dict[str, str]:
    """What stands after WITH."""
    found: dict[str, str] = {}
    rest = text or ""
    while rest:
        match = _OPTION.match(rest)
        if match is None or match[1] not in known:
            raise SqlError("42601", f'at or near "{rest.split()[0]}": syntax error')
        found[match[1]] = text_in(match[2], arguments) if match[2] else ""
        rest = rest[match.end() :]
    return found


class Forms:
    """Statements by a pattern of their form, in the order in which they were added."""

    def __init__(self) -> None:
        self._forms: list[tuple[re.Pattern[str], Callable[..., Any]]] = []
        #: Those that run while others do, without the lock of the databases.
        self.free: set[Callable[..., Any]] = set()

    def add(
        self, form: str, *, free: bool = False
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Spaces in a form are any white space."""
        pattern = re.compile(form.replace(" ", r"\s+") + r"\Z", re.IGNORECASE | re.DOTALL)

        def register(handler: Callable[..., Any]) -> Callable[..., Any]:
            self._forms.append((pattern, handler))
            if free:
                self.free.add(handler)
            return handler

        return register

    def find(self, statement: str) -> tuple[Callable[..., Any], tuple[str | None, ...]]:
        text = statement.strip()
        for pattern, handler in self._forms:
            match = pattern.match(text)
            if match:
                return handler, match.groups()
        raise SqlError("42601", f'at or near "{text[:60]}": syntax error')


#: Those of the stand-in; its modules add theirs.
FORMS = Forms()
