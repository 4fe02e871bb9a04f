"""The streams without a server: read, check, explain."""

from __future__ import annotations

import re
import shlex

from attrs import field, frozen

from controller.api.errors import FormatError, Problem, TerminalError, TruncatedBackup
from engines import process
from engines.interface import BackupFacts, JobContext, Progress, StreamReader, StreamSource
from engines.mysql_family import definitions, settings, streams, versions
from engines.mysql_family.family import Family
from engines.mysql_family.objects import Definition
from engines.mysql_family.quoting import identifier
from engines.mysql_family.streams import OBJECTS
from engines.mysql_family.text import Text

_BEGINNING = {
    True: re.compile(rb"(/\*M?!999999\\- .*\*/ *\n)?-- MariaDB dump "),
    False: re.compile(rb"-- MySQL dump "),
}
#: In which that is.
_BEGINNING_BYTES = 1 << 8


def check_streams(source: StreamSource, facts: BackupFacts, family: Family) -> None:
    """Refuse what this engine did not write, before anything is done with it.

    Raises: FormatError, TruncatedBackup.
    """
    if facts.engine != family.name or facts.engine_version not in versions.LAYOUTS:
        raise FormatError(
            f"this is a backup of {facts.engine}, layout {facts.engine_version}; known is "
            f"{family.name}, layout {' and '.join(versions.LAYOUTS)}: use the engine "
            f"{facts.engine}, or a newer runner"
        )
    if not streams.are_whole(facts.streams):
        raise FormatError(f"these streams do not make a backup: {', '.join(facts.streams)}")
    if "collation" not in facts.needs:
        raise FormatError("the manifest does not say which collation the database had")
    if absent := set(facts.streams) - set(source.names()):
        raise TruncatedBackup(f"streams are missing: {', '.join(sorted(absent))}")


def read_objects(source: StreamSource) -> list[Definition]:
    """Raises: FormatError."""
    reader = source.open(OBJECTS)
    try:
        parts, size = [], 0
        while data := reader.read(process.BLOCK_BYTES):
            size += len(data)
            if size > definitions.MAX_BYTES:
                raise FormatError('the stream "objects" is larger than any that was written')
            parts.append(data)
    finally:
        reader.close()
    return definitions.decode(b"".join(parts))


@frozen
class Checked:
    """A reader of a dump that refuses what is none, before a client has seen it.

    What a client is told at the beginning of a line is looked at; the rest is
    SQL, and does what it says with the rights of who restores.

    Args:
        longest_bytes: of a statement that the server takes; None: it does not matter.
    """

    reader: StreamReader
    family: Family
    longest_bytes: int | None = None
    _text: Text = field(factory=Text, init=False)

    def read(self, size: int = -1, /) -> bytes:
        data = self.reader.read(size) if self._text.head else self._beginning(size)
        if not data:
            if not self._text.is_complete:
                raise TruncatedBackup("the dump ends without its last line")
            return data
        if not self._text.head:
            self._refuse_foreign(data)
        self._text.feed(data)
        self._refuse_long()
        if self._text.leaves:
            raise FormatError(
                f"the dump leaves its schema, as no {self.family.dump} makes it do: "
                f"{self._text.leaves} ..."
            )
        return data

    def _beginning(self, size: int) -> bytes:
        """As much as a dump is known by, which may come in pieces."""
        data = b""
        while len(data) < _BEGINNING_BYTES and (more := self.reader.read(size)):
            data += more
        return data

    def _refuse_long(self) -> None:
        size, limit = self._text.statement_bytes, self.longest_bytes
        if limit is not None and size >= limit:
            raise TerminalError(settings.too_long(size, limit))

    def _refuse_foreign(self, data: bytes) -> None:
        if not _BEGINNING[self.family.is_mariadb].match(data):
            raise FormatError(f"this is no dump of {self.family.dump}")

    def close(self) -> None:
        self.reader.close()

    @property
    def text(self) -> Text:
        return self._text


def verify(
    source: StreamSource, facts: BackupFacts, family: Family, context: JobContext
) -> list[Problem]:
    """Read everything: the dumps to their last lines, with as many tables as were counted."""
    problems = []
    try:
        read_objects(source)
    except FormatError as error:
        problems.append(Problem(OBJECTS, str(error)))
    names = streams.of_tables(facts)
    found = {"tables": 0, "sequences": 0}
    done = 0

    def moved(size: int) -> None:
        nonlocal done
        done += size
        context.report(Progress(stage="verify", done=done))
        process.raise_if(context.cancelled)

    damaged = False
    for name in names:
        reader = Checked(source.open(name), family)
        try:
            while data := reader.read(process.BLOCK_BYTES):
                moved(len(data))
            found["tables"] += len(reader.text.tables)
            found["sequences"] += len(reader.text.sequences)
        except (FormatError, TruncatedBackup) as error:
            damaged = True
            problems.append(Problem(name, f"the dump is damaged or ends early: {error}"))
            _drain(reader.reader, context)
        finally:
            reader.close()
    if not damaged:
        problems += [
            Problem(", ".join(names), f"{kind}: {number} instead of {facts.counts[kind]}")
            for kind, number in found.items()
            if number != facts.counts.get(kind, number)
        ]
    return problems


def _drain(reader: StreamReader, context: JobContext) -> None:
    """Read the rest for its own verdict."""
    while not context.cancelled.is_set() and reader.read(process.BLOCK_BYTES):
        continue


def by_hand(facts: BackupFacts, family: Family) -> list[str]:
    """Shell lines for a person with the unpacked files and the family's own client."""
    database = identifier(facts.database)
    create = (
        f"CREATE DATABASE {database} CHARACTER SET {facts.needs.get('character set', 'utf8mb4')}"
        f" COLLATE {facts.needs['collation']}"
    )
    series = versions.shown(versions.series_of(facts.server_version))
    run = f"{family.client} --binary-mode --default-character-set=utf8mb4"
    into = shlex.quote(facts.database)
    dumps = streams.of_tables(facts)
    lines = [
        f"# With the client of {family.title} {series} or newer; ~/.my.cnf says where and who.",
        f"# Tables and rows are in {', '.join(dumps)}; routines, views, the rest in objects.",
    ]
    definers = [key.removeprefix("definer:") for key in facts.needs if key.startswith("definer:")]
    if definers:
        lines.append(f"# Accounts that objects belong to, and that have to be there: {definers}")
    return [
        *lines,
        f"{family.client} --execute={shlex.quote(create)}",
        *(f"{run} --database={into} < {name}" for name in (*dumps, OBJECTS)),
    ]
