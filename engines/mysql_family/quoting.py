"""Names and texts within SQL, so that nothing in them means anything."""

from __future__ import annotations


def identifier(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def literal(text: str) -> str:
    """A text as SQL, for a session without NO_BACKSLASH_ESCAPES: all of ours."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def qualified(schema: str, name: str) -> str:
    return f"{identifier(schema)}.{identifier(name)}"


def account(definer: str) -> str:
    """``app@%`` of a catalogue as SQL. MariaDB's roles have no host."""
    user, at, host = definer.rpartition("@")
    if not at:
        return identifier(definer)
    return f"{identifier(user)}@{identifier(host)}"


def schema_pattern(name: str) -> str:
    """A schema's name as GRANT takes it, where ``_`` and ``%`` stand for others."""
    return identifier(name.replace("\\", "\\\\").replace("_", "\\_").replace("%", "\\%"))
