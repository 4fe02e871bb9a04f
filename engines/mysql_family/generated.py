"""Generated columns that a restore may fill with other values than were backed up.

No statement takes a value for a STORED one: the server computes it again, of what is loaded, in
the loading session's time zone. That is another value where a TIMESTAMP was looked at in another
zone, a FLOAT had more than the 6 digits that a server shows, or a day or month was named in another
language. So is the index of a VIRTUAL one; see `unique_keys`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from attrs import frozen

from engines.mysql_family.connection import Session
from engines.mysql_family.quoting import identifier, qualified

_COLUMNS = """
SELECT TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME, DATA_TYPE, COLUMN_TYPE, COLLATION_NAME, EXTRA,
       COALESCE(GENERATION_EXPRESSION, '')
  FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = %s AND TABLE_NAME IN
"""
_STORED = """
SELECT DISTINCT TABLE_NAME FROM information_schema.COLUMNS
 WHERE TABLE_SCHEMA = %s AND EXTRA LIKE '%%STORED GENERATED%%'
"""
_NAME = re.compile(r"`((?:[^`]|``)*)`")
#: MariaDB's, which look at a DATETIME in the session's time zone.
_ZONED = re.compile(r"\b(?:unix_timestamp|from_unixtime)\(", re.IGNORECASE)
#: MySQL's, which name days and months in the session's language.
_IN_A_LANGUAGE = re.compile(r"\b(?:dayname|monthname)\(|\bdate_format\(.*%[aWbM]", re.IGNORECASE)
#: MariaDB's columns of a table's history, which come with the rows.
_HISTORY = ("ROW START", "ROW END")
_SHOWN = 5
_WHAT = "while looking for generated columns"


@frozen(kw_only=True)
class Column:
    """A column, or a part of a key that is computed as one.

    Args:
        kind: its type without its length. shown: with it.
        collation: of a text; else empty. expression: empty: it is not computed.
    """

    name: str
    kind: str
    shown: str
    collation: str
    is_stored: bool
    expression: str

    def reads(self, columns: Mapping[str, Column], kind: str) -> bool:
        """Whether it is computed of a column of that type, maybe by way of others."""
        return any(one.kind == kind for one in self.sources(columns))

    def depends_on_zone(self, columns: Mapping[str, Column]) -> bool:
        is_zoned = self.kind == "timestamp" or _ZONED.search(self.expression) is not None
        return is_zoned or self.reads(columns, "timestamp")

    def depends_on_language(self, columns: Mapping[str, Column]) -> bool:
        of_it = [self, *self.sources(columns)]
        return any(_IN_A_LANGUAGE.search(one.expression) for one in of_it)

    def sources(self, columns: Mapping[str, Column]) -> list[Column]:
        """Those that it is computed of, also by way of others, and what a text in it names.

        Each once: a text may be the name of the column itself.
        """
        found: dict[str, Column] = {}
        left = _names(self.expression)
        while left:
            name = left.pop()
            if name in columns and name not in found:
                found[name] = columns[name]
                left += _names(columns[name].expression)
        return list(found.values())


def _names(expression: str) -> list[str]:
    return [name.replace("``", "`") for name in _NAME.findall(expression)]


def warnings(session: Session, schema: str, database: str) -> list[str]:
    """What to look at in a restored database; nothing: no such columns are there.

    Args:
        schema: where its tables are. database: where they go.
    """
    names = [name for (name,) in session.rows(_STORED, (schema,), what=_WHAT)]
    tables = read(session, schema, names)
    stored = [
        ((table, name), column, columns)
        for table, columns in tables.items()
        for name, column in columns.items()
        if column.is_stored
    ]
    zoned = [at for at, column, columns in stored if column.depends_on_zone(columns)]
    floats = [at for at, column, columns in stored if column.reads(columns, "float")]
    in_a_language = [at for at, column, columns in stored if column.depends_on_language(columns)]
    found = []
    if zoned:
        found.append(
            f"computed anew, in the time zone +00:00: {_named(zoned)}. If they were written in "
            f'another one, let a session in "{database}" compute them: SET time_zone = ...; '
            f"ALTER TABLE {identifier(min(zoned)[0])} FORCE, ALGORITHM = COPY;"
        )
    if floats:
        found.append(
            f"computed anew, of a FLOAT's 6 digits that a server shows: {_named(floats)}. They may "
            "differ from what was backed up behind those"
        )
    if in_a_language:
        language = session.one("SELECT @@lc_time_names", what="while looking for a language")
        found.append(
            f"computed anew, with days and months in {language}: {_named(in_a_language)}. If they "
            f'were written in another language, let a session in "{database}" compute them: SET '
            f"lc_time_names = ...; ALTER TABLE {identifier(min(in_a_language)[0])} FORCE, "
            "ALGORITHM = COPY;"
        )
    return found


def read(session: Session, schema: str, names: Sequence[str]) -> dict[str, dict[str, Column]]:
    """Columns of those tables, by the names of the tables and their own."""
    tables: dict[str, dict[str, Column]] = {}
    if not names:
        return tables
    for place, table, name, kind, shown, collation, extra, expression in session.rows(
        f"{_COLUMNS} %s", (schema, tuple(names)), what=_WHAT
    ):
        if place == schema:
            tables.setdefault(table, {})[name] = Column(
                name=name,
                kind=kind.lower(),
                shown=shown,
                collation=collation or "",
                is_stored="STORED GENERATED" in extra and expression not in _HISTORY,
                expression=expression,
            )
    return tables


def _named(columns: Sequence[tuple[str, str]]) -> str:
    more = f" and {len(columns) - _SHOWN} more" if len(columns) > _SHOWN else ""
    return ", ".join(qualified(*column) for column in sorted(columns)[:_SHOWN]) + more
