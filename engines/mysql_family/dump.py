"""A backup: one stream of tables by the dump tool, one of definitions by a session of ours.

The tool reads all rows in one transaction, which is the snapshot. That it was
begun is known when the first bytes come out, so the clock is read then: the
state is of that instant or of a moment before it, never of a later one.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from controller.api.errors import DatabaseUnavailable, PreflightFailed, TruncatedBackup
from engines import process
from engines.interface import (
    BackupFacts,
    Coverage,
    JobContext,
    Progress,
    StreamName,
    StreamSink,
)
from engines.mysql_family import catalogue, definitions, grants, objects, versions
from engines.mysql_family.catalogue import Identity, Table
from engines.mysql_family.connection import Server, Session, explained
from engines.mysql_family.objects import Definition
from engines.mysql_family.tools import Tools

DUMP = StreamName("dump")
OBJECTS = StreamName("objects")

#: The end of every dump that came to its end.
_MARKER = b"-- Dump completed"
_TAIL_BYTES = 1 << 16
_HEAD_BYTES = 1 << 14
#: Statements that leave the schema, at the beginning of a line: no dump of one schema has them.
_LEAVES = re.compile(
    rb"\n(?:(?i:use|(?:create|drop|alter) (?:database|schema|user|role)|grant|revoke|"
    rb"set (?:@@)?global|set password|source|system|delimiter|tee|pager|connect|exit|quit)\b)"
)
_LONGEST_BYTES = 32
#: MariaDB's tool begins a line with each row, and rows are nearly all of a dump.
_NO_ROW = re.compile(rb"\n[^(]")
_LOG_POSITION = re.compile(rb"MASTER_LOG_FILE='([^']+)', MASTER_LOG_POS=(\d+)")
_GTID = re.compile(rb"gtid_slave_pos='([^']*)'")
#: A location that is slow for longer has been dropped long before.
_PATIENCE_S = 86_400
#: A table was changed, or is gone, since the snapshot.
_CHANGED = ("1412", "1146", "1051", "1049", "Error in field count")
_WAS_CHANGED = (
    "the database was altered while it was being dumped; move the migration or the schedule"
)


class Text:
    """What is seen of a dump as it passes: its head, its tail, and how many tables it makes.

    The tools escape line ends in texts, so what begins a line is theirs - or stands in a name.

    Attributes:
        leaves: the first statement that leaves the schema; empty: there is none.
    """

    def __init__(self) -> None:
        self.leaves = ""
        self.head = b""
        self.tail = b""
        self.tables = 0
        self.sequences = 0

    def passing(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            self.feed(chunk)
            yield chunk

    def feed(self, chunk: bytes) -> None:
        if len(self.head) < _HEAD_BYTES:
            self.head += chunk[: _HEAD_BYTES - len(self.head)]
        if _NO_ROW.search(self.tail[-_LONGEST_BYTES:] + chunk):
            self._read(chunk)
        self.tail = (self.tail + chunk[-_TAIL_BYTES:])[-_TAIL_BYTES:]

    def _read(self, chunk: bytes) -> None:
        for kind, pattern in (
            ("tables", b"\nCREATE TABLE `"),
            ("sequences", b"\nCREATE SEQUENCE `"),
        ):
            # One that begins in what has passed and ends in this chunk, and those within it.
            across = self.tail[1 - len(pattern) :] + chunk[: len(pattern) - 1]
            number = across.count(pattern) + chunk.count(pattern)
            setattr(self, kind, getattr(self, kind) + number)
        self._look(self.tail[-_LONGEST_BYTES:] + chunk[:_LONGEST_BYTES])
        self._look(chunk)

    def _look(self, part: bytes) -> None:
        if not self.leaves and (found := _LEAVES.search(part)):
            self.leaves = found[0].decode(errors="replace").strip()

    @property
    def is_complete(self) -> bool:
        last = self.tail.rstrip(b"\n").rpartition(b"\n")[2]
        return last.startswith(_MARKER)


class Dump:
    """One run of create_backup."""

    def __init__(self, server: Server, tools: Tools, context: JobContext) -> None:
        self._server = server
        self._family = server.family
        self._tools = tools
        self._context = context
        self._database = server.spec.database

    def write(self, sink: StreamSink) -> BackupFacts:
        with self._server.session(self._database) as session:
            identity = catalogue.identity(session)
            character_set, collation = catalogue.charset(session, self._database)
            tables = catalogue.tables(session, self._database)
            found = objects.read(session, self._database, tables)
            counts = catalogue.counts(session, self._database, tables)
            rights = grants.read(session)
            reads_position = identity.log_bin and rights.any_on_server(self._family.position_rights)
            before = self._position(session, reads_position)
            command = self._command(tables, reads_position)
            text = Text()
            with process.Child(command, self._context.cancelled, stdout=True) as child:
                chunks = text.passing(self._started(child))
                first = next(chunks, b"")
                at = catalogue.clock(session)
                after = self._position(session, reads_position)
                session.close()  # a dump may last longer than the server lets it idle
                self._dump(child, itertools.chain((first,), chunks), sink, text, counts, found)
        self._write_objects(sink, found)
        return BackupFacts(
            engine=self._family.name,
            engine_version=versions.LAYOUT,
            server_version=identity.version,
            tool_versions={self._family.dump: self._tools.version},
            coverage=Coverage(start=at, end=at, lineage=identity.lineage),
            streams=(DUMP, OBJECTS),
            database=self._database,
            position=self._known_position(text, before, after),
            counts=counts,
            needs=_needs(identity, character_set, collation, tables, found),
        )

    def _started(self, child: process.Child) -> Iterator[bytes]:
        """The tool's output, whose first bytes say that its transaction has begun."""
        output = child.output()
        first = next(output, b"")
        if not first:
            self._finish(child)
            raise TruncatedBackup(f"{self._family.dump} wrote nothing")
        yield first
        yield from output

    def _dump(
        self,
        child: process.Child,
        chunks: Iterator[bytes],
        sink: StreamSink,
        text: Text,
        counts: Mapping[str, int],
        found: Sequence[Definition],
    ) -> None:
        done = 0

        def moved(size: int) -> None:
            nonlocal done
            done += size
            self._context.report(Progress(stage="dump", done=done))

        def all_chunks() -> Iterator[bytes]:
            yield from chunks
            # Before the stream is closed: one that is not whole must not look it.
            self._finish(child)
            if text.leaves:
                raise PreflightFailed(
                    "a name in the schema holds a line break and then a statement, which makes its "
                    f"dump one that no restore would take: rename what holds {text.leaves!r}"
                )
            if not text.is_complete:
                raise TruncatedBackup(f"{self._family.dump} ended without its last line")
            self._check(text, counts, found)

        process.pump_out(child, all_chunks(), sink.open(DUMP), moved)

    def _finish(self, child: process.Child) -> None:
        try:
            child.check()
        except process.ProcessFailed as failed:
            if any(sign in failed.stderr for sign in _CHANGED):
                raise DatabaseUnavailable(f"{_WAS_CHANGED}: {failed}") from failed
            raise explained(failed, "while dumping") from failed

    def _check(self, text: Text, counts: Mapping[str, int], found: Sequence[Definition]) -> None:
        """Definitions are not part of the snapshot: they have to be the same after it as before.

        Not events, which may have had their time meanwhile.
        """
        for kind, number in (("tables", text.tables), ("sequences", text.sequences)):
            if number != counts[kind]:
                raise DatabaseUnavailable(
                    f"{_WAS_CHANGED}: the dump has {number} {kind}, the server had {counts[kind]} "
                    "when it began"
                )
        with self._server.session(self._database) as session:
            tables = catalogue.tables(session, self._database)
            now = catalogue.counts(session, self._database, tables)
            defined = objects.read(session, self._database, tables)
        if changed := [f"{kind}: {now[kind]}" for kind in counts if now[kind] != counts[kind]]:
            raise DatabaseUnavailable(f"{_WAS_CHANGED}: there are now {', '.join(changed)}")
        before = {(one.kind, one.name): one for one in found if one.kind != "EVENT"}
        after = {(one.kind, one.name): one for one in defined if one.kind != "EVENT"}
        for key in before.keys() | after.keys():
            if before.get(key) != after.get(key):
                raise DatabaseUnavailable(f"{_WAS_CHANGED}: the {key[0].lower()} {key[1]}")

    def _write_objects(self, sink: StreamSink, found: Sequence[Definition]) -> None:
        writer = sink.open(OBJECTS)
        try:
            writer.write(definitions.encode(found))
            writer.close()
        except BaseException as error:
            writer.abort(error)
            raise

    def _position(self, session: Session, may: bool) -> dict[str, str]:
        return catalogue.position(session, is_mariadb=self._family.is_mariadb) if may else {}

    def _known_position(
        self, text: Text, before: dict[str, str], after: dict[str, str]
    ) -> dict[str, str]:
        """Exact where the server gives it, or where nothing was written meanwhile; else bounds."""
        if self._family.is_mariadb:
            found: dict[str, str] = {}
            if match := _LOG_POSITION.search(text.head):
                found |= {"file": match[1].decode(), "position": match[2].decode()}
            if match := _GTID.search(text.head) or _GTID.search(text.tail):
                found["gtid"] = match[1].decode()
            return found
        if before == after:
            return before
        return {
            **{f"{key} not before": value for key, value in before.items()},
            **{f"{key} not after": value for key, value in after.items()},
        }

    def _command(self, tables: Sequence[Table], reads_position: bool) -> process.Command:
        options = [
            "--single-transaction",
            "--quick",
            "--hex-blob",
            "--no-tablespaces",
            "--skip-triggers",
            "--skip-add-drop-table",
            "--skip-add-locks",
            f"--loose-init-command=SET SESSION net_write_timeout = {_PATIENCE_S}",
        ]
        if self._family.is_mariadb:
            # One transaction a table, the default from 11.8 on, makes the server sort every row
            # again before it writes it: a restore would take twice the time.
            options += ["--dump-history", "--skip-no-autocommit"]
            if reads_position:
                options += ["--master-data=2", "--gtid"]
        else:
            options += ["--set-gtid-purged=OFF", "--skip-column-statistics"]
        # Arguments would not have room for these.
        views = [
            ("ignore-table", f"{self._database}.{table.name}") for table in tables if table.is_view
        ]
        path = self._server.option_file(self._family.dump, views)
        return process.Command(
            argv=[self._tools.dump, f"--defaults-file={path}", *options, "--", self._database],
            environment=self._server.child_environment(),
            secrets=self._server.secrets(),
        )


def _needs(
    identity: Identity,
    character_set: str,
    collation: str,
    tables: Sequence[Table],
    found: Sequence[Definition],
) -> dict[str, str]:
    """What a target has to offer, and what is known to be missing already."""
    needs = {
        "character set": character_set,
        "collation": collation,
        "lower_case_table_names": str(identity.lower_case),
    }
    needs |= {f"engine:{table.engine}": "" for table in tables if table.engine}
    needs |= {f"definer:{one.definer}": "" for one in found if one.definer}
    return needs | {f"broken view:{one.name}": "" for one in found if one.is_broken}
