"""JSON documents of MySQL that come back as other ones, because a dump has their text.

A document keeps the types of what it was made of by functions: a DECIMAL, a date, bytes. A text
has a number or a string for each of them, and that is what comes back. Applications live with it,
as with every other dump; so it is told, and refused nowhere.
"""

from __future__ import annotations

from engines.mysql_family import values
from engines.mysql_family.connection import Session
from engines.mysql_family.family import Family
from engines.mysql_family.quoting import identifier, qualified

#: Of a table: parsing a document takes four times as long as dumping it, and who writes such ones
#: into a table does so in most rows.
_SAMPLE = 10_000
_DOCUMENTS = """
SELECT TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME FROM information_schema.COLUMNS
 WHERE TABLE_SCHEMA = %s AND DATA_TYPE = 'json' AND GENERATION_EXPRESSION = ''
   AND TABLE_NAME IN (SELECT TABLE_NAME FROM information_schema.TABLES
                       WHERE TABLE_SCHEMA = %s AND TABLE_TYPE = 'BASE TABLE')
 ORDER BY TABLE_NAME, ORDINAL_POSITION
"""


def warnings(session: Session, family: Family, schema: str) -> list[str]:
    """What to say of a backup, by a sample of each table; MariaDB's documents are texts."""
    if family.is_mariadb:
        return []
    columns: dict[str, list[str]] = {}
    for place, table, column in session.rows(
        _DOCUMENTS, (schema, schema), what="while looking for documents"
    ):
        if place == schema:
            columns.setdefault(table, []).append(column)
    found = []
    for table, names in columns.items():
        counted = ", ".join(f"SUM({_changes(name)})" for name in names)
        read = ", ".join(map(identifier, names))
        sample = f"(SELECT {read} FROM {qualified(schema, table)} LIMIT {_SAMPLE}) AS sample"  # noqa: S608
        for numbers in values.look(session, f"SELECT {counted} FROM {sample}"):  # noqa: S608
            found += [
                _said(qualified(schema, table), name, number)
                for name, number in zip(names, numbers, strict=True)
                if number
            ]
    return found


def _changes(column: str) -> str:
    """A condition for documents of which the text makes another one.

    It compares as a text, which tells 10.00 from 10.0, and as a document, which tells a date from
    the string that looks like it. A DECIMAL that is equal to the DOUBLE with its text is not seen.
    """
    name = identifier(column)
    text = f"CAST({name} AS CHAR)"
    back = f"CAST({text} AS JSON)"
    return f"CAST({back} AS CHAR) <> {text} OR {back} <> {name}"


def _said(table: str, column: str, number: int) -> str:
    name = identifier(column)
    find = f"SELECT * FROM {table} WHERE {_changes(column)};"  # noqa: S608
    return (
        f"{number} of the first {_SAMPLE} rows of {table} have documents in {name} with a DECIMAL, "
        "a date or bytes, as "
        "JSON_OBJECT makes them of columns: a dump has their text, of which a restore makes a "
        "DOUBLE - 10.00 is 10.0 then, and digits after the 17th are gone - or a string, which is "
        "equal to no date. Keep them as strings, which come back, or in columns of their own: "
        + find
    )
