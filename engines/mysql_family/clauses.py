"""A CREATE TABLE taken apart: what of it can be made when the rows are there.

Of what `SHOW CREATE TABLE` writes, with the `sql_mode` that a dump is made with: names in
backquotes, texts in single quotes. What does not look like that is left as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

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
    rb"\s*KEY " + _NAME + rb" \((" + _NAME + rb")(?:\(\d+\))?(?: ASC| DESC)?(?:," + _PART + rb")*\)"
)
_UNIQUE = re.compile(rb"\s*(?:PRIMARY KEY|UNIQUE KEY " + _NAME + rb") \((" + _NAME + rb")")
_FOREIGN_KEY = re.compile(
    rb"\s*CONSTRAINT " + _NAME + rb" FOREIGN KEY \(" + _NAME + rb"(?:, " + _NAME + rb")*\)"
    rb" REFERENCES ((?:" + _NAME + rb"\.)?" + _NAME + rb") \((" + _NAME + rb")"
)
_COLUMN = re.compile(rb"\s*(" + _NAME + rb") ")
#: The server sorts other keys before plain ones, and FULLTEXT after them; these stand among them.
_AMONG_PLAIN = re.compile(rb"\s*(?:KEY|SPATIAL KEY|VECTOR KEY) ")
#: Whatever else there may be, columns first.
_OTHER = re.compile(
    rb"\s*(?:`|PRIMARY KEY |UNIQUE KEY |FULLTEXT KEY |(?:CONSTRAINT "
    + _NAME
    + rb" )?CHECK |PERIOD FOR )"
)
_KNOWN = (_AMONG_PLAIN, _FOREIGN_KEY, _OTHER)
_INNODB = re.compile(rb"\bENGINE=InnoDB\b")


@frozen(kw_only=True)
class Key:
    """A plain key, or a foreign one.

    Args:
        clause: as an ALTER TABLE adds it.
        table, column: the first column that it sorts or points at, and whose that is; see `folded`.
    """

    clause: bytes
    table: bytes
    column: bytes


@frozen(kw_only=True)
class CreateTable:
    """A statement that makes an InnoDB table.

    Args:
        table: its name, quoted.
    """

    table: bytes
    _head: bytes
    _clauses: Sequence[bytes]
    _rest: bytes

    @classmethod
    def parse(cls, statement: bytes) -> CreateTable | None:
        """None: it is not one as a dump has them."""
        head = _HEAD.match(statement)
        split = head and _split(statement, head.end())
        if not head or not split:
            return None
        clauses, after = split
        if not all(any(kind.match(clause) for kind in _KNOWN) for clause in clauses):
            return None
        if not _INNODB.search(_QUOTED.sub(b"", statement[after:])):
            return None
        return cls(
            table=head[1],
            head=statement[: head.end()],
            clauses=[clause.rstrip(b"\n") for clause in clauses],
            rest=b"\n" + statement[after:],
        )

    def keys(self, *, but: Iterable[bytes] = ()) -> list[Key]:
        """Plain keys that can be made later.

        Those before one that has to stay stay, too, so that the server shows all in their order.

        Args:
            but: columns, folded: what sorts by one of them first has to stay.
        """
        stay = {*but, self._counts_by_a_plain_key}
        found: list[Key] = []
        for clause in self._clauses:
            key = _KEY.match(clause)
            if key and folded(key[1]) not in stay:
                found.append(
                    Key(clause=clause.strip(), table=folded(self.table), column=folded(key[1]))
                )
            elif _AMONG_PLAIN.match(clause):
                found.clear()
        return found

    @property
    def foreign_keys(self) -> list[Key]:
        return [
            Key(clause=clause.strip(), table=folded(key[1]), column=folded(key[2]))
            for clause in self._clauses
            if (key := _FOREIGN_KEY.match(clause))
        ]

    def without(self, later: Iterable[Key]) -> bytes:
        """The statement that is left."""
        gone = {key.clause for key in later}  # no two are alike: each has a name of its own
        left = [clause for clause in self._clauses if clause.strip() not in gone]
        return self._head + b",".join(left) + self._rest

    @property
    def _counts_by_a_plain_key(self) -> bytes:
        """The AUTO_INCREMENT column, if no other key than a plain one sorts by it first."""
        for clause in self._clauses:
            column = _COLUMN.match(clause)
            if column and b" AUTO_INCREMENT" in _QUOTED.sub(b"", clause):
                firsts = (found[1] for found in map(_UNIQUE.match, self._clauses) if found)
                return b"" if column[1] in firsts else folded(column[1])
        return b""


def folded(name: bytes) -> bytes:
    """A quoted name as it is compared: servers take no notice of the case of columns."""
    return name.decode(errors="surrogateescape").lower().encode(errors="surrogateescape")


def end(text: bytes, start: int) -> int | None:
    """Behind the semicolon of the statement that begins at `start`; None: not known so far."""
    for token in _TOKEN.finditer(text, start):
        if token["odd"]:
            return None
        if token["mark"] == b";":
            return token.end()
    return None


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
