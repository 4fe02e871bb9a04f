"""Dumps into a schema, by the family's client: several at once where there are several streams.

Each statement is its own transaction, and foreign keys are not looked at meanwhile: so no stream
waits for another, in whatever order they make tables that refer to each other.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from attrs import frozen

from controller.api.errors import TerminalError
from engines import process
from engines.interface import (
    BackupFacts,
    JobContext,
    Progress,
    StreamName,
    StreamReader,
    StreamSource,
)
from engines.mysql_family import archive, beginning, folders, sequences, settings, streams
from engines.mysql_family.connection import Server
from engines.mysql_family.indexes import Later, Postponed, Without
from engines.mysql_family.tool_failures import explained, server_code
from engines.mysql_family.tools import Tools

#: By whether it is MariaDB's client. That one prints a statement that failed, and so rows.
_OPTIONS = {
    True: ("--loose-sandbox", "--loose-skip-print-query-on-error"),
    False: ("--loose-skip-commands",),
}
#: The server's number -> what helps.
_CURES = {
    1021: "make room on the server: it has to hold both databases until the old one is dropped",
    1114: "make room on the server: it has to hold both databases until the old one is dropped",
    3510: "make it first, with CREATE TABLESPACE and its name",
    1118: "until it is restored, SET GLOBAL innodb_strict_mode = OFF;",
}


class Load:
    """All tables of a backup, into `schema`, from where they go into `database`.

    Attributes:
        warnings: once it has run.

    Threads: one for each client. `_lock` guards `_moved`, and progress is told under it, so that
    it never falls. Of `_numbers` one stream alone has some.
    """

    def __init__(
        self,
        *,
        server: Server,
        tools: Tools,
        source: StreamSource,
        facts: BackupFacts,
        context: JobContext,
        schema: str,
        database: str,
    ) -> None:
        self._server = server
        self._tools = tools
        self._source = source
        self._facts = facts
        self._context = context
        self._schema = schema
        self._database = database
        self._total = sum(map(source.size, streams.of_tables(facts)))
        self._lock = threading.Lock()
        self._moved = 0
        self._own_options: list[str] = []
        self.warnings: list[str] = []
        self._longest_bytes: int | None = None
        self._numbers: dict[str, int] = {}

    def run(self, parallel: int) -> Sequence[Later]:
        """With at most so many clients; the first one that fails ends the others.

        Returns what the tables are still without.
        """
        self._own_options = self._ask()
        names = streams.of_tables(self._facts)
        # Each locks two tables, and two clients that make some may wait for each other.
        postponed = Postponed(keeps_foreign_keys=min(parallel, len(names)) == 1)
        # What a table's defaults ask has to be there when it is made.
        first = [name for name in names if name == streams.SEQUENCES]
        for together in (first, [name for name in names if name not in first]):
            if together:
                process.run_together(
                    [self._job(name, postponed) for name in together],
                    self._context.cancelled,
                    at_once=parallel,
                )
        if self._numbers:
            with self._server.session() as session:
                sequences.set_back(session, self._schema, self._numbers)
        if self._server.family.is_mariadb:
            self.warnings += folders.warnings(postponed.elsewhere, self._database)
        return postponed.later

    def _job(self, name: StreamName, postponed: Postponed) -> Callable[[threading.Event], None]:
        def load(stop: threading.Event) -> None:
            reader: StreamReader = _Counted(self._source.open(name), self._count)
            reader = archive.Checked(reader, self._server.family, self._longest_bytes)
            if self._facts.counts.get("sequences"):
                reader = sequences.Moved(
                    reader,
                    source=self._facts.database,
                    schema=self._schema,
                    numbers=self._numbers,
                )
            if self._server.family.is_mariadb:
                reader = folders.Here(reader)
            reader = Without(reader, postponed)
            try:
                process.feed_from(self._command(name), reader, stop)
            except process.ProcessFailed as failed:
                error = explained(failed, "while loading the dump")
                if cure := _CURES.get(server_code(failed)):
                    error = TerminalError(f"{error}: {cure}")
                raise error from failed
            finally:
                reader.close()

        return load

    def _ask(self) -> list[str]:
        """What the server takes, and what this account may set: options of the client."""
        is_mariadb = self._server.family.is_mariadb
        first = beginning.statement(is_mariadb=is_mariadb)
        with self._server.session() as session:
            self._longest_bytes = settings.statement_limit(session)
            first = ", ".join([first, *settings.be_lenient(session)])
        return [*_OPTIONS[is_mariadb], f"--init-command={first}"]

    def _command(self, stream: StreamName) -> process.Command:
        family = self._server.family
        path = self._server.option_file(family.client, stream=stream)
        # In arguments: an option file has groups, and what is in one that a client does not read
        # is passed over without a word.
        options = [
            "--binary-mode",  # what a dump says to the client, and not to the server, is not obeyed
            "--local-infile=0",
            "--skip-reconnect",
            "--batch",
            *self._own_options,
        ]
        return process.Command(
            argv=[self._tools.client, f"--defaults-file={path}", *options, "--", self._schema],
            environment=self._server.child_environment(),
            secrets=self._server.secrets(),
        )

    def _count(self, size: int) -> None:
        with self._lock:
            self._moved += size
            self._context.report(Progress(stage="data", done=self._moved, total=self._total))


@frozen
class _Counted:
    """A reader that tells how much was read: a client gets less, or more."""

    _reader: StreamReader
    _moved: Callable[[int], None]

    def read(self, size: int = -1, /) -> bytes:
        data = self._reader.read(size)
        self._moved(len(data))
        return data

    def close(self) -> None:
        self._reader.close()
