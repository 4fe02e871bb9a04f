"""A schema with all that is in it, and what makes its objects anew."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from attrs import frozen

from controller.api.errors import AccessDenied, BackupError
from engines.mysql_family import catalogue, objects, target as targets
from engines.mysql_family.catalogue import Table
from engines.mysql_family.connection import NO_SUCH_TABLE, Session, code_of
from engines.mysql_family.objects import Definition
from engines.mysql_family.quoting import account, identifier

#: By kind, what a server says of a definition that it once took, and takes no more since something
#: else was altered: a column is gone; a view that it checks may not be written any more; a library
#: is gone.
_PAST_MAKING = {"TRIGGER": {1054}, "VIEW": {1054, 1368}, "FUNCTION": {1305}, "PROCEDURE": {1305}}
#: What it says of a view that reads, or calls, what was left out for that.
_READS_WHAT_IS_NOT = {NO_SUCH_TABLE, 1305, 1356}


@frozen(kw_only=True)
class Content:
    """A schema with all that is in it."""

    schema: str
    character_set: str
    collation: str
    tables: Sequence[Table]
    definitions: Sequence[Definition]

    @classmethod
    def of(cls, session: Session, schema: str) -> Content:
        character_set, collation = catalogue.charset(session, schema)
        mark = targets.mark_name(schema)
        tables = [table for table in catalogue.tables(session, schema) if table.name != mark]
        return cls(
            schema=schema,
            character_set=character_set,
            collation=collation,
            tables=tables,
            definitions=objects.read(session, schema, tables),
        )

    @property
    def has_sequences(self) -> bool:
        return any(table.kind == "SEQUENCE" for table in self.tables)

    @property
    def table_names(self) -> list[str]:
        return [table.name for table in self.tables if not table.is_view]

    def of_kind(self, *kinds: str) -> list[Definition]:
        return [one for one in self.definitions if one.kind in kinds]


def is_past_making(one: Definition, error: BackupError, *, is_any_left_out: bool) -> bool:
    """Whether that is an error of the definition itself, which its own server would make, too."""
    if one.is_broken:
        return True
    of_others = _READS_WHAT_IS_NOT if is_any_left_out and one.kind == "VIEW" else set()
    return code_of(error) in _PAST_MAKING.get(one.kind, set()) | of_others


def make(session: Session, definitions: Sequence[Definition], collation: str) -> None:
    """Make objects in the session's schema, each under the settings that it was made under."""
    try:
        for one, statements in objects.statements(definitions, schema_collation=collation):
            what = f"while making the {one.kind.lower()} {identifier(one.name)}"
            try:
                session.run(*statements, what=what)
            except AccessDenied as denied:
                raise AccessDenied(
                    f"{denied}; it belongs to {account(one.definer)}: give the right, or restore "
                    "with --no-owner, which makes all of it ours"
                ) from denied.__cause__
    except BackupError:
        with contextlib.suppress(BackupError):  # of a connection that is cut
            session.run(*objects.OURS)
        raise
    session.run(*objects.OURS)
