"""Sequences: the numbers that they go on with, and the defaults that ask for those.

MariaDB writes such a default with the schema's name, and a table that is moved goes on asking the
sequence where that was. So a dump is changed on its way into another schema, and the defaults are
taken away before a move and given again after it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from attrs import frozen

from controller.api.errors import IntegrityError, Problem
from engines.interface import StreamReader
from engines.mysql_family import naming, versions
from engines.mysql_family.catalogue import Identity
from engines.mysql_family.connection import Session
from engines.mysql_family.grants import Rights
from engines.mysql_family.quoting import account, identifier, qualified

#: How the tool writes the next number.
_SETS = b"DO SETVAL("
_SET = re.compile(rb"^DO SETVAL\(`((?:[^`]|``)*)`, (-?\d+), 0\);$", re.MULTILINE)
#: Series -> the first release that takes rights on a database for rights on its sequences, when a
#: default is given (MDEV-36870). Seen in 11.4.5.
_MENDED = {(10, 6): 23, (10, 11): 14, (11, 4): 8, (11, 8): 3}
_ASKED_FOR = ("INSERT", "ALTER")


@frozen(kw_only=True)
class Default:
    """A column's default; `expression` as the server writes it."""

    table: str
    column: str
    expression: str


def defaults(session: Session, schema: str, *, of: str = "") -> list[Default]:
    """Those in a schema that ask a sequence of the same one, or `of` another."""
    rows = session.rows(
        "SELECT TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME, COLUMN_DEFAULT"
        " FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = %s"
        " AND COLUMN_DEFAULT LIKE '%%val(%%'",
        (schema,),
        what="while reading defaults",
    )
    return [
        Default(table=table, column=column, expression=expression)
        for place, table, column, expression in rows
        if place == schema and any(naming.in_schema(expression, of or schema))
    ]


def problems(identity: Identity, rights: Rights) -> list[Problem]:
    """Of a restore that gives defaults."""
    mended = _MENDED.get(identity.series, 0)
    if versions.patch_of(identity.version) >= mended:
        return []
    missing = [right for right in _ASKED_FOR if not rights.on_server(right)]
    if not missing:
        return []
    who = account(rights.account)
    return [
        Problem(
            "privileges",
            f"MariaDB {identity.version} does not see that {who} may use the sequences of a "
            f"database, which {versions.shown(identity.series)}.{mended} does: "
            f"GRANT {', '.join(missing)} ON *.* TO {who};",
        )
    ]


def take_away(found: Sequence[Default], schema: str) -> list[str]:
    """Statements; a table whose sequence is gone cannot even be altered."""
    return [
        f"ALTER TABLE {qualified(schema, one.table)} ALTER COLUMN {identifier(one.column)}"
        " DROP DEFAULT"
        for one in found
    ]


def give(found: Sequence[Default], *, source: str, schema: str, table: str = "") -> list[str]:
    """Statements that give defaults, made for `source`, to tables of another schema.

    Args:
        table: name that the table has at the moment, if not its own.
    """
    return [
        f"ALTER TABLE {qualified(schema, table or one.table)}"
        f" ALTER COLUMN {identifier(one.column)} SET DEFAULT"
        f" ({naming.moved(one.expression, source=source, schema=schema)})"
        for one in found
    ]


def set_back(session: Session, schema: str, numbers: Mapping[str, int]) -> None:
    """Have sequences go on with those numbers.

    The server passes a SETVAL over that lies behind the START of one that has been restarted, or
    has cycled.

    Raises: IntegrityError.
    """
    for name, number in numbers.items():
        if _next(session, schema, name) == number:
            continue
        session.run(
            f"ALTER SEQUENCE {qualified(schema, name)} RESTART {number}",
            what="while setting sequences back",
        )
        if (found := _next(session, schema, name)) != number:
            raise IntegrityError(
                f"the sequence {identifier(name)} goes on with {found} instead of {number}"
            )


def _next(session: Session, schema: str, name: str) -> int:
    query = f"SELECT next_not_cached_value FROM {qualified(schema, name)}"  # noqa: S608
    return int(session.one(query, what="while looking at sequences"))


class Moved:
    """A reader of a dump, in whose definitions of columns one schema stands for another.

    Args:
        numbers: gets the one that each sequence goes on with, as the dump has it.
    """

    def __init__(
        self, reader: StreamReader, *, source: str, schema: str, numbers: dict[str, int]
    ) -> None:
        self._reader = reader
        self._source, self._schema = source, schema
        self._old = f"val({identifier(source)}.".encode()
        self._rest = b""
        self._numbers = numbers

    def read(self, size: int = -1, /) -> bytes:
        """At most a line more than `size`, b"" only at the end."""
        while True:
            data = self._reader.read(size)
            whole, line_end, rest = (self._rest + data).rpartition(b"\n")
            if not data:
                whole, line_end, rest = self._rest, b"", b""
            self._rest = rest
            if whole or not data:
                return self._changed(whole + line_end)

    def _changed(self, block: bytes) -> bytes:
        # Looked for first: every row comes by here.
        for name, number in _SET.findall(block) if _SETS in block else ():
            self._numbers[name.replace(b"``", b"`").decode(errors="replace")] = int(number)
        if self._old not in block:
            return block
        # What begins so is a column's definition: rows begin with a parenthesis.
        return b"\n".join(
            self._moved(line) if line.startswith(b"  `") and self._old in line else line
            for line in block.split(b"\n")
        )

    def _moved(self, line: bytes) -> bytes:
        """But for what looks like it in a comment or in the text of a default."""
        text = line.decode(errors="surrogateescape")
        there = naming.moved(text, source=self._source, schema=self._schema)
        return there.encode(errors="surrogateescape")

    def close(self) -> None:
        self._reader.close()
