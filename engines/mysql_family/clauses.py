"""A CREATE TABLE taken apart: what of it can be made when the rows are there.

Of what `SHOW CREATE TABLE` writes, with the `sql_mode` that a dump is made with: names in
backquotes, texts in single quotes. What does not look like that is left as it is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from attrs import frozen

#: How the tools begin one, after a line end.
BEGINNING = b"CREATE TABLE `"
_NAME = rb"`(?:[^`]|``)*`"
_TEXT = rb"'(?:[^'\\]|\\.)*'"
#: What nothing here means anything in, what means something, and what is not understood.
_TOKEN = re.compile(
    rb"(?P<quoted>" + _NAME + rb"|" + _TEXT + rb")|(?P<mark>[(),;])|(?P<odd>[`'\"#]|-- )", re.DOTALL
)
_QUOTED = re.compile(_NAME + rb"|" + _TEXT, re.DOTALL)
_HEAD = re.compile(rb"CREATE TABLE (" + _NAME + rb") \(")
_PART = _NAME + rb"(?:\(\d+\))?(?: ASC| DESC)?"
#: Of columns, and of nothing that has to be computed: that is a column which nobody sees.
_KEY = re.compile(
    rb"\s*KEY " + _NAME + rb" \((?P<first>" + _NAME + rb")(?:\(\d+\))?(?: ASC| DESC)?"
    rb"(?:," + _PART + rb")*\)"
)
_UNIQUE = re.compile(rb"\s*(?:PRIMARY KEY|UNIQUE KEY " + _NAME + rb") \((" + _NAME + rb")")
_FOREIGN_KEY = re.compile(rb"\s*CONSTRAINT " + _NAME + rb" FOREIGN KEY ")
_COLUMN = re.compile(rb"\s*(" + _NAME + rb") ")
#: The server sorts other keys before plain ones, and FULLTEXT after them; these stand among them.
_AMONG_PLAIN = re.compile(rb"\s*(?:KEY|SPATIAL KEY|VECTOR KEY) ")
_INNODB = re.compile(rb"\bENGINE=InnoDB\b")


@frozen(kw_only=True)
class Parts:
    """A CREATE TABLE without what may be made later.

    Args:
        table: its name, quoted.
        statement: what is left of it.
        keys, foreign_keys: clauses, as an ALTER TABLE adds them, in their order.
    """

    table: bytes
    statement: bytes
    keys: Sequence[bytes] = ()
    foreign_keys: Sequence[bytes] = ()


def end(text: bytes, start: int) -> int | None:
    """Behind the semicolon of the statement that begins at `start`; None: not known so far."""
    for token in _TOKEN.finditer(text, start):
        if token["odd"]:
            return None
        if token["mark"] == b";":
            return token.end()
    return None


def take_apart(statement: bytes, *, keys: bool) -> Parts | None:
    """Take foreign keys, and plain keys if `keys`, out of a whole CREATE TABLE of an InnoDB table.

    Plain keys before one that has to stay stay, too, so that the server shows all in their order.
    None: there is nothing to take out, or it is not one as a dump has them.
    """
    head = _HEAD.match(statement)
    split = head and _split(statement, head.end())
    if not head or not split:
        return None
    clauses, after = split
    if not _INNODB.search(_QUOTED.sub(b"", statement[after:])):
        return None
    plain = _plain_that_can_wait(clauses) if keys else []
    foreign = [clause for clause in clauses if _FOREIGN_KEY.match(clause)]
    later = {*plain, *foreign}  # no two clauses are alike: each has a name of its own
    if not later:
        return None
    left = b",".join(clause.rstrip(b"\n") for clause in clauses if clause not in later)
    return Parts(
        table=head[1],
        statement=statement[: head.end()] + left + b"\n" + statement[after:],
        keys=[clause.strip() for clause in plain],
        foreign_keys=[clause.strip() for clause in foreign],
    )


def _split(statement: bytes, start: int) -> tuple[list[bytes], int] | None:
    """The clauses between the parentheses that begin before `start`, and where they end."""
    clauses, begun, depth = [], start, 1
    for token in _TOKEN.finditer(statement, start):
        mark = token["mark"]
        if token["odd"] or mark == b";":
            return None
        depth += {b"(": 1, b")": -1}.get(mark, 0)
        if (mark == b"," and depth == 1) or depth == 0:
            clauses.append(statement[begun : token.start()])
            begun = token.end()
        if depth == 0:
            return clauses, token.start()
    return None


def _plain_that_can_wait(clauses: Sequence[bytes]) -> list[bytes]:
    numbers_itself = _counted_by_a_plain_key(clauses)
    found: list[bytes] = []
    for clause in clauses:
        key = _KEY.match(clause)
        if key and key["first"] != numbers_itself:
            found.append(clause)
        elif _AMONG_PLAIN.match(clause):
            found.clear()
    return found


def _counted_by_a_plain_key(clauses: Sequence[bytes]) -> bytes | None:
    """The AUTO_INCREMENT column, quoted, if no other key than a plain one begins with it."""
    for clause in clauses:
        column = _COLUMN.match(clause)
        if column and b" AUTO_INCREMENT" in _QUOTED.sub(b"", clause):
            firsts = (found[1] for found in map(_UNIQUE.match, clauses) if found)
            return None if column[1] in firsts else column[1]
    return None
