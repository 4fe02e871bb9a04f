"""Names with dots between them, in SQL as a server writes it, and which of them are of a schema."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from attrs import field, frozen

from engines.mysql_family.quoting import identifier

_NAME = r"`(?:[^`]|``)*`"
#: Texts first: what looks like a name within them is none.
_TOKEN = re.compile(
    rf"'(?:[^'\\]|''|\\.)*'|\"(?:[^\"\\]|\"\"|\\.)*\"|(?P<names>{_NAME}(?:\.{_NAME})*)|(?P<word>[\w$]+)"
    r"|(?P<sign>\S)",
    re.DOTALL,
)
_ONE_NAME = re.compile(_NAME)
#: What asks a sequence: its argument is a table.
_OF_SEQUENCES = {"nextval", "lastval", "setval"}


@frozen
class Named:
    """Names with dots between them.

    Args:
        at: where they begin. is_table: they stand where a table, a view or a sequence does.
    """

    at: int
    text: str
    is_table: bool
    is_call: bool
    names: tuple[str, ...] = field(init=False)

    @names.default
    def _names(self) -> tuple[str, ...]:
        return tuple(one[1:-1].replace("``", "`") for one in _ONE_NAME.findall(self.text))

    def is_in(self, schema: str) -> bool:
        """Two names may be a column's behind a table or an alias that has the schema's name."""
        if self.names[0] != schema:
            return False
        return len(self.names) == 3 or (len(self.names) == 2 and (self.is_table or self.is_call))


def moved(text: str, *, source: str, schema: str) -> str:
    """The same of one schema's tables, sequences and code in another one."""
    return replaced(text, in_schema(text, source), f"{identifier(schema)}.")


def in_schema(text: str, schema: str) -> Iterator[Named]:
    return (one for one in all_named(text) if one.is_in(schema))


def all_named(text: str) -> Iterator[Named]:
    """A table follows FROM or JOIN, and any number of parentheses; FROM is in `trim`, too."""
    # Of each parenthesis that is open: the last of SELECT and FROM.
    clauses = [""]
    is_table = False
    for token in _TOKEN.finditer(text):
        if token["names"]:
            yield Named(token.start(), token["names"], is_table, text.startswith("(", token.end()))
        if token["sign"] == "(":
            clauses.append("")
            continue
        if token["sign"] == ")" and len(clauses) > 1:
            clauses.pop()
        word = (token["word"] or "").lower()
        is_table = _precedes_table(word, clauses[-1])
        if word in ("select", "from"):
            clauses[-1] = word


def _precedes_table(word: str, clause: str) -> bool:
    if word == "from":
        return clause == "select"
    # Between SELECT and FROM it is an option.
    if word == "straight_join":
        return clause != "select"
    return word in ("join", "view") or word in _OF_SEQUENCES


def replaced(text: str, found: Iterable[Named], before: str) -> str:
    """Each with something else before all of its names but the first."""
    parts, at = [], 0
    for one in found:
        parts += [text[at : one.at], before]
        at = one.at + len(identifier(one.names[0])) + len(".")
    return "".join(parts) + text[at:]
