"""The text of views, as a server writes it: an order to make them in, and names of schemas."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

#: Texts first: what looks like a name within them is none.
_TOKEN = re.compile(
    r"'(?:[^'\\]|''|\\.)*'|\"(?:[^\"\\]|\"\"|\\.)*\"|`(?P<name>(?:[^`]|``)*)`(?P<dot>\.)?",
    re.DOTALL,
)
_CALL = re.compile(r"`(?:[^`]|``)*`\(")


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

    Tables stand without in what the server says to a session in that schema; a
    table may have the schema's name, and then stays before its columns.
    """
    parts, at = [], 0
    for found in _TOKEN.finditer(statement):
        if (
            found["dot"]
            and found["name"].replace("``", "`") == schema
            and _CALL.match(statement, found.end())
        ):
            parts.append(statement[at : found.start()])
            at = found.end()
    return "".join(parts) + statement[at:]


def _named(text: str, schema: str) -> Iterator[str]:
    """What is named directly below the schema."""
    is_below = False
    for found in _TOKEN.finditer(text):
        name = (found["name"] or "").replace("``", "`")
        if is_below and found["name"] is not None:
            yield name
        is_below = bool(found["dot"]) and name == schema and not is_below
