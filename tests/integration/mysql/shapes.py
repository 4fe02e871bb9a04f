"""What a restore has to bring back of tables, to the byte: definitions, rows, what keys find."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pymysql.cursors import DictCursor

from tests.servers.mysql import MysqlServer

_TABLES = "SHOW FULL TABLES WHERE Table_type NOT IN ('VIEW', 'SEQUENCE')"
Ask = Callable[[str], list[Any]]


def quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def text(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"


@contextlib.contextmanager
def asking(server: MysqlServer, schema: str, **options: object) -> Iterator[Ask]:
    with server.connect(schema, **options) as connection, connection.cursor() as cursor:
        cursor.execute("SET SESSION time_zone = '+00:00'")

        def ask(query: str) -> list[Any]:
            cursor.execute(query)
            return list(cursor.fetchall())

        yield ask


def shapes(server: MysqlServer, schema: str) -> dict[str, tuple[str, list[str]]]:
    """Table -> how the server writes it down, and all its rows, also those that are history."""
    found = {}
    # A default may hold any bytes, and MariaDB 10.11 shows them as they are.
    with asking(server, schema) as ask, asking(server, schema, use_unicode=False) as ask_bytes:
        for name, kind in ask(_TABLES):
            ((_, shown),) = ask_bytes(f"SHOW CREATE TABLE {quoted(name)}")
            made = shown.decode(errors="surrogateescape")
            listed = [quoted(column) for column, *_ in ask(f"SHOW COLUMNS FROM {quoted(name)}")]
            whose = quoted(name)
            if kind == "SYSTEM VERSIONED":
                whose += " FOR SYSTEM_TIME ALL"
                if "PERIOD FOR SYSTEM_TIME" not in made:  # they have no names of their own
                    listed += ["row_start", "row_end"]
            rows = ask_bytes(f"SELECT {', '.join(listed)} FROM {whose}")
            found[name] = made, sorted(map(repr, rows))
    return found


def assert_sound(server: MysqlServer, schema: str) -> None:
    """Each key has as many entries as there are rows, and in order."""
    with asking(server, schema) as ask:
        for name, _ in ask(_TABLES):
            *_, (_, _, kind, said) = ask(f"CHECK TABLE {quoted(name)} EXTENDED")
            assert (kind, said) == ("status", "OK"), name


def found_by_keys(
    server: MysqlServer, schema: str, table: str, finds: Mapping[str, str]
) -> dict[str, list[str]]:
    """Key -> the rows that it alone finds; none that does not find any.

    Args:
        finds: key -> the condition that it answers.
    """
    answers = {}
    with asking(server, schema, cursorclass=DictCursor) as ask:
        for key, condition in finds.items():
            query = f"SELECT * FROM {quoted(table)} FORCE INDEX ({quoted(key)}) WHERE {condition}"
            (plan,) = ask(f"EXPLAIN FORMAT=TRADITIONAL {query}")
            if plan["key"] == key and (rows := ask(query)):
                answers[key] = sorted(map(repr, rows))
    return answers
