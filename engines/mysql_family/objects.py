"""What a schema has besides tables: views, routines, triggers and events, as definitions.

They are read and made by sessions of ours, not by the client tools. So each
that may not be read is an error by its name; none is run in the schema that a
restore fills (an event would act there); and a swap, which the server has for
tables alone, can make them anew in another schema.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from typing import Any

from attrs import evolve, field, frozen

from controller.api.errors import AccessDenied, BackupError, DatabaseUnavailable
from engines.mysql_family import catalogue, comments, views
from engines.mysql_family.catalogue import Table
from engines.mysql_family.connection import NO_SUCH_TABLE, Session, code_of, use
from engines.mysql_family.quoting import account, identifier, literal, qualified

_WHAT = "while reading definitions"
#: A routine, a trigger or an event is not there; a view is a table.
_GONE = {NO_SUCH_TABLE, 1305, 1360, 1539}
_IDENTIFIER = r"`(?:[^`]|``)*`"
#: Names of routines are quoted as in the mode that these were made under.
_EITHER_QUOTED = rf"(?:{_IDENTIFIER}|\"(?:[^\"]|\"\")*\")"
_ACCOUNT = rf"{_EITHER_QUOTED}(?:@{_EITHER_QUOTED})?"
_DEFINER = re.compile(
    rf"\A(?P<head>CREATE (?:OR REPLACE )?(?:ALGORITHM=\w+ )?)(?:DEFINER={_ACCOUNT} )"
)
#: The server writes an event's head in one form; in what stands before, texts are quoted.
_EVENT_STATE = re.compile(
    rf"(?P<head>CREATE (?:DEFINER={_ACCOUNT} )?EVENT {_IDENTIFIER} ON SCHEDULE "
    r"(?:'(?:[^'\\]|''|\\.)*'|[^'])*?ON COMPLETION (?:NOT )?PRESERVE )"
    r"(?P<state>ENABLE|DISABLE(?: ON (?:SLAVE|REPLICA))?)\b",
    re.DOTALL,
)
_ENDS = re.compile(r" (?:ON SCHEDULE AT|ENDS) '[^']*' ON COMPLETION NOT PRESERVE $")
#: What takes a session of ours back to what it began with, whatever it made an object under.
OURS = ("SET NAMES utf8mb4", "SET SESSION sql_mode = '', time_zone = '+00:00'")
_GAP = r"(?:\s+|/\*.*?\*/|#[^\n]*\n|--(?=\s)[^\n]*\n)"
#: A name, a text, a remark or a word of what stands before a trigger's body; else one character.
_TOKEN = re.compile(rf"{_EITHER_QUOTED}|{_GAP}|[\w$]+|.", re.DOTALL)
#: Where a routine in another language than SQL names libraries, as the server writes it.
_USING = re.compile(r"\n    LANGUAGE \w+\n    USING \([^\n]*\)\n")
_EACH_ROW = re.compile(rf"FOR{_GAP}+EACH{_GAP}+ROW\b{_GAP}*", re.DOTALL | re.IGNORECASE)
#: In the order in which they are made: a view's functions have to be there, a body's need not.
KINDS = ("LIBRARY", "PACKAGE", "PACKAGE BODY", "FUNCTION", "PROCEDURE", "VIEW", "TRIGGER", "EVENT")


@frozen(kw_only=True)
class Context:
    """The settings that a definition was made under and is run under ever since.

    Args:
        sql_mode: as the server lists it. connection_collation: of its literals.
        schema_collation: of its variables and parameters. time_zone: of an event's times.
    """

    sql_mode: str = ""
    connection_collation: str = ""
    schema_collation: str = ""
    time_zone: str = ""

    def settings(self) -> list[str]:
        """What a session has to have set before it makes the object."""
        found = [f"sql_mode = {literal(self.sql_mode)}"]
        if self.connection_collation:
            found.append(f"collation_connection = {literal(self.connection_collation)}")
        if self.time_zone:
            found.append(f"time_zone = {literal(self.time_zone)}")
        return found


@frozen(kw_only=True)
class Definition:
    """One object.

    Args:
        kind: one of KINDS. statement: that makes it, in the default schema.
        table: of a trigger. definer: ``app@%``; empty: it has none.
        is_broken: the source says that it could not make it again; it says so, too, of a view
            that we could not run.
    """

    kind: str
    name: str
    statement: str
    context: Context
    definer: str = ""
    table: str = ""
    is_broken: bool = field(default=False)

    def drop(self) -> list[str]:
        """Statements; safe where it is not there. MariaDB 10.11 knows packages in one mode only."""
        drop = f"DROP {self.kind} IF EXISTS {identifier(self.name)}"
        if not self.kind.startswith("PACKAGE"):
            return [drop]
        return ["SET SESSION sql_mode = 'ORACLE'", drop, "SET SESSION sql_mode = ''"]

    def without_definer(self) -> Definition:
        """The same as an object of whoever makes it.

        Raises: BackupError: it is not written as any server writes one.
        """
        plain, number = _DEFINER.subn(lambda found: found["head"], self.statement, count=1)
        if self.definer and not number:
            raise BackupError(
                f"the {self.kind.lower()} {identifier(self.name)} does not say that it belongs to "
                f"{account(self.definer)}: {self.statement}"
            )
        return evolve(self, statement=plain, definer="")

    def moved(self, source: str, schema: str) -> Definition:
        """The same in another schema. What the body of any other kind names, it goes on naming."""
        if self.kind != "VIEW":
            return self
        return evolve(self, statement=views.moved(self.statement, source=source, schema=schema))

    def on_table(self, table: str) -> Definition:
        """The same trigger on another table."""
        old = f" ON {identifier(self.table)} FOR EACH ROW "
        new = f" ON {identifier(table)} FOR EACH ROW "
        return evolve(self, table=table, statement=self.statement.replace(old, new, 1))

    @property
    def goes(self) -> bool:
        """Whether the server drops this event once it has had its time."""
        state = _EVENT_STATE.match(self.statement)
        return state is not None and _ENDS.search(state["head"]) is not None

    def making(self) -> list[str]:
        """Statements; one that sleeps and is past its time is made only if it is to be kept."""
        state = _EVENT_STATE.match(self.statement)
        if state is None or state["state"] == "ENABLE" or not self.goes:
            return [self.statement]
        head = state["head"].removesuffix("NOT PRESERVE ")
        # Who alters an event is its definer, unless another one is named.
        definer = f"DEFINER={account(self.definer)} " if self.definer else ""
        return [
            f"{head}PRESERVE {self.statement[state.end('head') :]}",
            f"ALTER {definer}EVENT {identifier(self.name)} ON COMPLETION NOT PRESERVE",
        ]

    def disabled(self) -> Definition:
        """The same event, asleep.

        Raises: BackupError: it is not written as any server writes one.
        """
        asleep, number = _EVENT_STATE.subn(
            lambda found: found["head"] + "DISABLE", self.statement, count=1
        )
        if not number:
            raise BackupError(f"the event {identifier(self.name)} has no state: {self.statement}")
        return evolve(self, statement=asleep)


class DefinitionGone(DatabaseUnavailable):
    """Somebody dropped it between two looks."""


def read(session: Session, schema: str, tables: Sequence[Table]) -> list[Definition]:
    """Every definition of a schema, in an order in which they can be made.

    Raises: AccessDenied: one may not be read. DefinitionGone.
    """
    use(session, schema)
    views_there = [table.name for table in tables if table.is_view]
    broken = catalogue.broken_views(session, schema, views_there)
    found = [
        *_libraries(session, schema),
        *_routines(session, schema),
        *_views(session, schema, broken),
    ]
    return [*found, *_triggers(session, schema), *_events(session, schema)]


def _shown(session: Session, kind: str, name: str, *, of: str = "") -> tuple[Any, ...]:
    """Of what the catalogue has just told of, as the server writes it.

    Args:
        of: its schema, if that is not the session's.
    """
    named = qualified(of, name) if of else identifier(name)
    one = f"the {kind.lower()} {identifier(name)}"
    try:
        rows = session.texts(f"SHOW CREATE {kind} {named}", what=f"while reading {one}")
    except BackupError as error:
        if code_of(error) in _GONE:
            raise DefinitionGone(f"{one} is gone") from error
        raise
    return rows[0]


def _libraries(session: Session, schema: str) -> Iterator[Definition]:
    """MySQL's, of code in other languages; they belong to nobody."""
    for name in catalogue.libraries(session, schema):
        _name, sql_mode, statement = _shown(session, "LIBRARY", name)[:3]
        if statement is None:
            raise AccessDenied(f"the definition of the library {identifier(name)} may not be read")
        yield Definition(
            kind="LIBRARY", name=name, statement=statement, context=Context(sql_mode=sql_mode)
        )


def _routines(session: Session, schema: str) -> Iterator[Definition]:
    rows = session.rows(
        "SELECT ROUTINE_SCHEMA, ROUTINE_TYPE, ROUTINE_NAME, DEFINER, ROUTINE_COMMENT, ROUTINE_BODY"
        " FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = %s",
        (schema,),
        what=_WHAT,
    )
    known = [row[1:] for row in rows if row[0] == schema]
    for kind, name, definer, comment, body in sorted(
        known, key=lambda row: (KINDS.index(row[0]), row[1])
    ):
        row = _shown(session, kind, name)
        _name, sql_mode, statement, _client, connection, of_schema = row[:6]
        if statement is None:
            raise AccessDenied(
                f"the definition of the {kind.lower()} {identifier(name)} may not be read"
            )
        yield Definition(
            kind=kind,
            name=name,
            definer=definer,
            statement=comments.of_routine(
                _with_own_libraries(statement, schema) if body == "EXTERNAL" else statement,
                comment,
                sql_mode,
            ),
            context=Context(
                sql_mode=sql_mode, connection_collation=connection, schema_collation=of_schema
            ),
        )


def _with_own_libraries(statement: str, schema: str) -> str:
    """The server names a schema before each library: without, it is that of the routine."""
    own = re.compile(rf"(?<=[( ]){re.escape(identifier(schema))}\.(?={_IDENTIFIER})")
    return _USING.sub(lambda found: own.sub("", found[0]), statement, count=1)


def _views(session: Session, schema: str, broken: Container[str]) -> Iterator[Definition]:
    rows = session.rows(
        "SELECT TABLE_SCHEMA, TABLE_NAME, DEFINER, CAST(VIEW_DEFINITION AS BINARY)"
        " FROM information_schema.VIEWS WHERE TABLE_SCHEMA = %s",
        (schema,),
        what=_WHAT,
    )
    known = {name: (definer, text or b"") for of, name, definer, text in rows if of == schema}
    texts = {name: text.decode(errors="surrogateescape") for name, (_, text) in known.items()}
    for name in views.in_order(texts, schema):
        _name, statement, _client, connection = _shown_view(session, schema, name)[:4]
        yield Definition(
            kind="VIEW",
            name=name,
            definer=known[name][0],
            # It names its own schema before functions; in another schema it means that one's.
            statement=views.without_schema(statement, schema),
            context=Context(connection_collation=connection),
            is_broken=name in broken,
        )


def _shown_view(session: Session, schema: str, name: str) -> tuple[Any, ...]:
    row = _shown(session, "VIEW", name)
    if not views.takes_for_one(row[1]):
        return row
    # To a session in another schema it names all of them.
    use(session, "information_schema")
    row = _shown(session, "VIEW", name, of=schema)
    use(session, schema)
    return row


def _triggers(session: Session, schema: str) -> Iterator[Definition]:
    """Their text is what somebody typed, maybe with the schema's name: the head is made anew.

    The catalogue's own text of a body is for reading: it has `?` for each character of four
    bytes, and literals without the character set that was written before them.
    """
    rows = session.rows(
        "SELECT TRIGGER_SCHEMA, TRIGGER_NAME, EVENT_OBJECT_TABLE, ACTION_TIMING,"
        " EVENT_MANIPULATION, DEFINER, SQL_MODE, COLLATION_CONNECTION,"
        " DATABASE_COLLATION FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = %s"
        " ORDER BY EVENT_OBJECT_TABLE, EVENT_MANIPULATION, ACTION_TIMING, ACTION_ORDER",
        (schema,),
        what=_WHAT,
    )
    for of, name, table, timing, event, definer, mode, connection, of_schema in rows:
        if of != schema:
            continue
        typed = _shown(session, "TRIGGER", name)[2]
        yield Definition(
            kind="TRIGGER",
            name=name,
            table=table,
            definer=definer,
            statement=(
                f"CREATE DEFINER={account(definer)} TRIGGER {identifier(name)} {timing} {event}"
                f" ON {identifier(table)} FOR EACH ROW {trigger_body(typed, name)}"
            ),
            context=Context(
                sql_mode=mode, connection_collation=connection, schema_collation=of_schema
            ),
        )


def trigger_body(typed: str, name: str) -> str:
    """What follows FOR EACH ROW; a table may be named FOR.

    Not by one possessive pattern: Debian 12 has Python 3.11.2, which matches none that repeats
    a group.

    Raises: BackupError: it is not written as any server writes one.
    """
    at = 0
    while token := _TOKEN.match(typed, at):
        if each_row := _EACH_ROW.match(typed, at):
            return typed[each_row.end() :]
        at = token.end()
    raise BackupError(f"the trigger {identifier(name)} has no FOR EACH ROW: {typed}")


def _events(session: Session, schema: str) -> Iterator[Definition]:
    rows = session.rows(
        "SELECT EVENT_SCHEMA, EVENT_NAME, DEFINER, EVENT_COMMENT FROM information_schema.EVENTS"
        " WHERE EVENT_SCHEMA = %s ORDER BY EVENT_NAME",
        (schema,),
        what=_WHAT,
    )
    for of, name, definer, comment in rows:
        if of != schema:
            continue
        row = _shown(session, "EVENT", name)
        _name, sql_mode, time_zone, statement, _client, connection, of_schema = row[:7]
        if state := _EVENT_STATE.match(statement):
            statement = comments.of_event(statement, comment, sql_mode, at=state.end())
        yield Definition(
            kind="EVENT",
            name=name,
            definer=definer,
            statement=statement,
            context=Context(
                sql_mode=sql_mode,
                connection_collation=connection,
                schema_collation=of_schema,
                time_zone=time_zone,
            ),
        )


def by_kind(definitions: Iterable[Definition]) -> Mapping[str, list[Definition]]:
    found: dict[str, list[Definition]] = {kind: [] for kind in KINDS}
    for one in definitions:
        found[one.kind].append(one)
    return found


def statements(
    definitions: Iterable[Definition],
    *,
    schema_collation: str,
    change: Callable[[Definition], Definition] = lambda one: one,
) -> Iterator[tuple[Definition, list[str]]]:
    """What makes each, for a session in a schema of that collation.

    A routine's variables have the collation that its schema had when it was
    made: where that is another one, the schema has it for that moment.
    """
    for one in definitions:
        changed = change(one)
        before, after = [], []
        wanted = one.context.schema_collation
        if wanted and wanted != schema_collation and one.kind != "VIEW":
            before = [f"ALTER DATABASE COLLATE {wanted}"]
            after = [f"ALTER DATABASE COLLATE {schema_collation}"]
        # All in one, for after the second of them the server may take texts for UCS-2.
        settings = f"SET SESSION {', '.join(one.context.settings())}"
        yield changed, [*before, "SET NAMES utf8mb4", settings, *changed.making(), *after]
