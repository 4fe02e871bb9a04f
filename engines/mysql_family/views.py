"""The text of views, as a server writes it: an order to make them in, and names of schemas."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from engines.mysql_family import naming


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
    own = (one for one in naming.in_schema(statement, schema) if one.is_call)
    return naming.replaced(statement, (one for one in own if len(one.names) == 2), "")


def takes_for_one(statement: str) -> bool:
    """Whether a table that stands without a schema has the name of another schema's.

    MySQL leaves the name of the session's schema out before columns, too: a condition that compares
    the two tables compares one of them with itself, once it is made of that text.
    """
    tables = [one.names for one in naming.all_named(statement) if one.is_table]
    return not {names[0] for names in tables if len(names) == 1}.isdisjoint(
        names[1] for names in tables if len(names) == 2
    )


def moved(statement: str, *, source: str, schema: str) -> str:
    """The same view of one schema's tables, sequences and code in another one.

    Where MariaDB writes its own schema's name in a view it does so before everything: as it stands,
    a copy would read what it was copied from.
    """
    return naming.moved(statement, source=source, schema=schema)


def _named(text: str, schema: str) -> Iterator[str]:
    """What is named directly below the schema."""
    for one in naming.all_named(text):
        if one.names[0] == schema and len(one.names) > 1:
            yield one.names[1]
