"""Names and texts within SQL and connection strings, so that nothing in them means anything."""

from __future__ import annotations

from typing import LiteralString


def conninfo_value(value: str) -> str:
    """A value of a connection string."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def identifier(name: str) -> str:
    """A name as SQL: quoted always, so that nothing in it means anything."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text as SQL, whatever the server's `standard_conforming_strings` is."""
    body = text.replace("\\", "\\\\").replace("'", "''")
    return f"E'{body}'" if "\\" in text else f"'{body}'"


def sql(statement: str) -> LiteralString:
    """Mark a statement that was built from `identifier` and `literal`, for the driver's types."""
    return statement
