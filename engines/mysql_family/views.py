"""The text of views, as a server writes it: an order to make them in, and names of schemas."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

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


def in_order(texts: Mapping[str, str], schema: str) -> list[str]:
    """Names of views, each after those that it reads.

    Args:
        texts: name -> definition, in which every table stands with its schema.
    """
    known = {name: [n for n in _named(text, schema) if n in texts] for name, text in texts.items()}
    done: dict[str, None] = {}
    for start in sorted(texts):
        # No recursion: a chain may be longer than Python's stack.
        waiting = [start]
        seen = set()
        while waiting:
            name = waiting[-1]
            missing = [one for one in known[name] if one not in done and one not in seen]
            seen.add(name)
            if missing:
                waiting += missing
                continue
            waiting.pop()
            done[name] = None
    return list(done)


def without_schema(statement: str, schema: str) -> str:
    """Take a schema's name away before the functions that are called by it.

    Tables stand without in what the server says to a session in that schema, but in MariaDB where
    the view reads another one, too: there the name tells two of one name apart, and stays.
    """
    own = (one for one in _named_in(statement, schema) if one.is_call and len(one.names) == 2)
    return _replaced(statement, own, "")


def moved(statement: str, *, source: str, schema: str) -> str:
    """The same view of one schema's tables, sequences and code in another one.

    Where MariaDB writes its own schema's name in a view it does so before everything: as it stands,
    a copy would read what it was copied from.
    """
    return _replaced(statement, _named_in(statement, source), f"{identifier(schema)}.")


@frozen
class _Named:
    """Names with dots between them.

    Args:
        at: where they begin. is_table: they stand where a table or a sequence does.
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


def _named_in(statement: str, schema: str) -> Iterator[_Named]:
    return (one for one in _all_named(statement) if one.is_in(schema))


def _all_named(statement: str) -> Iterator[_Named]:
    """A table follows FROM or JOIN, and any number of parentheses; FROM is in `trim`, too."""
    # Of each parenthesis that is open: the last of SELECT and FROM.
    clauses = [""]
    is_table = False
    for token in _TOKEN.finditer(statement):
        if token["names"]:
            is_call = statement.startswith("(", token.end())
            yield _Named(token.start(), token["names"], is_table, is_call)
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
    return word == "join" or word in _OF_SEQUENCES


def _replaced(statement: str, found: Iterable[_Named], before: str) -> str:
    """Each with something else before all of its names but the first."""
    parts, at = [], 0
    for one in found:
        parts += [statement[at : one.at], before]
        at = one.at + len(identifier(one.names[0])) + len(".")
    return "".join(parts) + statement[at:]


def _named(text: str, schema: str) -> Iterator[str]:
    """What is named directly below the schema."""
    for one in _all_named(text):
        if one.names[0] == schema and len(one.names) > 1:
            yield one.names[1]
