"""Comments of routines and events: the server writes some in its definitions as other texts.

SHOW CREATE takes a comment, which is stored in UTF-8, for a text in the character set of the client
that made the object - of `ü` it makes two characters, and may take the closing quote for a part of
one - and doubles each backslash also where that stands for itself. The catalogue has them right.
"""

from __future__ import annotations

import re

from engines.mysql_family.quoting import literal

_RAW = "NO_BACKSLASH_ESCAPES"
#: The last of what stands before a routine's body. Line ends within it are written as `\n`.
_OF_ROUTINE = re.compile(r"(?<=[\n`\"])    COMMENT '[^\n]*$", re.MULTILINE)
#: What stands between an event's comment and its body.
_DO = " DO "
#: How a comment ends, or what is left of a quote.
_ENDS = ("'", "?")
#: A remark between the parameters, which may hold anything.
_REMARK = re.compile(r"/\*|--|#")


def of_routine(statement: str, comment: str, sql_mode: str) -> str:
    """The same with its comment as it is."""
    found = _OF_ROUTINE.search(statement) if _may_be_wrong(comment, sql_mode) else None
    if found is None or _REMARK.search(statement, 0, found.start()):
        return statement
    written = f"    COMMENT {_written(comment, sql_mode)}"
    return statement[: found.start()] + written + statement[found.end() :]


def of_event(statement: str, comment: str, sql_mode: str, *, at: int) -> str:
    """The same with its comment as it is.

    Args:
        at: where it stands in the statement.
    """
    if not _may_be_wrong(comment, sql_mode) or not statement.startswith(" COMMENT '", at):
        return statement
    # Not up to its closing quote, which may not be there.
    *shown, body = statement[at:].split(_DO, comment.count(_DO) + 1)
    if len(shown) <= comment.count(_DO) or not shown[-1].endswith(_ENDS):
        return statement
    return f"{statement[:at]} COMMENT {_written(comment, sql_mode)}{_DO}{body}"


def _may_be_wrong(comment: str, sql_mode: str) -> bool:
    return bool(comment) and (not comment.isascii() or _RAW in sql_mode)


def _written(comment: str, sql_mode: str) -> str:
    return "'" + comment.replace("'", "''") + "'" if _RAW in sql_mode else literal(comment)
