"""A backup: streams of pg_dump that all show one instant.

Every child is started and holds its own locks before the first stream is
opened: pg_dump writes nothing before that. Until then all can be let go and
started again; from then on nobody's lock can get between.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from attrs import evolve

from controller.api.errors import (
    AccessDenied,
    BackupError,
    Cancelled,
    DatabaseUnavailable,
    TruncatedBackup,
)
from engines import process
from engines.interface import (
    BackupFacts,
    Coverage,
    JobContext,
    Progress,
    StreamName,
    StreamSink,
)
from engines.postgres import catalogue, globals as database_globals, lock_table, versions
from engines.postgres.catalogue import Table
from engines.postgres.connection import Server, bounded, driver_error, driver_errors
from engines.postgres.snapshot import LOCK_WAIT_S, LocksQueued, Snapshot, held
from engines.postgres.tools import Tools

ENGINE = "postgres"
GLOBALS = StreamName("globals")
DUMP = StreamName("dump")
SCHEMA = StreamName("schema")

#: How long the locks are tried for before the job gives up, and the pause between two tries.
PATIENCE_S = 1800.0
_PAUSE_S = 3.0
#: How long the server may take to end our own sessions before they are cut.
_LAST_WORD_S = 3.0
#: Tables that are given to a stream by name; all others are in the last stream.
_MAX_NAMED_TABLES = 256


def plan(
    tables: Sequence[Table], parallel: int, encoding: str = "UTF8"
) -> Mapping[StreamName, Sequence[str]]:
    """Options of pg_dump for each stream, in the order of a restore.

    The rows of the largest tables are spread over `parallel` streams of about
    the same size. The last stream is the complement: all rows that no other stream has, large
    objects and sequences. Nothing can fall between, whatever a list misses.

    Args:
        encoding: of the database. pg_dump compares a name that it is given byte by byte.
    """
    if parallel == 1:
        return {DUMP: ()}
    named = sorted(
        (t for t in tables if t.kind == "r" and not t.of_extension and _sayable(t, encoding)),
        key=lambda table: (-table.size_bytes, table.oid),
    )[:_MAX_NAMED_TABLES]
    total = sum(table.size_bytes for table in tables)
    # A table that is small beside a stream's share moves nothing; it stays in the complement.
    named = [table for table in named if table.size_bytes * parallel * 16 >= total > 0]
    sizes = [0] * (parallel - 1) + [total - sum(table.size_bytes for table in named)]
    groups: list[list[Table]] = [[] for _ in range(parallel)]
    for table in named:
        smallest = sizes.index(min(sizes))
        groups[smallest].append(table)
        sizes[smallest] += table.size_bytes
    with_names = [group for group in groups[:-1] if group]
    streams: dict[StreamName, Sequence[str]] = {
        SCHEMA: ("--section=pre-data", "--section=post-data")
    }
    for number, group in enumerate(with_names):
        patterns = [f"--table={table.quoted}" for table in group]
        streams[_data(number)] = ("--section=data", "--strict-names", *patterns)
    elsewhere = [f"--exclude-table-data={table.quoted}" for group in with_names for table in group]
    streams[_data(len(with_names))] = ("--section=data", *elsewhere)
    return streams


def _sayable(table: Table, encoding: str) -> bool:
    """Whether an argument, which is UTF-8, can name it to a pg_dump that talks in `encoding`."""
    return encoding == "UTF8" or table.quoted.isascii()


def _data(number: int) -> StreamName:
    return StreamName(f"data-{number:03d}")


class Dump:
    """One run of create_backup."""

    def __init__(self, server: Server, tools: Tools, context: JobContext) -> None:
        self._server = server
        self._tools = tools
        self._context = context
        self._lock = threading.Lock()  # guards _moved; report is called under it, so it never falls
        self._moved = 0
        self._opened = False  # a stream has been opened: there is no starting again

    def write(self, sink: StreamSink, *, parallel: int) -> BackupFacts:
        """Write every stream; start again as long as locks stand in the way and nothing is out."""
        deadline = time.monotonic() + PATIENCE_S
        for attempt in itertools.count(1):
            try:
                with held(self._server, self._context.cancelled) as snapshot:
                    self._context.report(Progress(stage="snapshot", done=attempt, unit="objects"))
                    return self._write_all(snapshot, sink, parallel)
            except LocksQueued as queued:
                if self._opened:
                    raise DatabaseUnavailable(str(queued)) from queued
                if time.monotonic() > deadline:
                    raise DatabaseUnavailable(
                        f"gave up after {attempt} tries to lock all tables for reading; {queued}. "
                        "End the statement that waits for an exclusive lock, or move the schedule"
                    ) from queued
                why = queued
            # At both ends of the pause: a try may be silent for as long as it waits for a lock.
            self._tell_locks(attempt, f"try {attempt}: {why}")
            if self._context.cancelled.wait(_PAUSE_S):
                raise Cancelled("the job was ended while it waited for locks")
            self._tell_locks(attempt + 1, f"try {attempt + 1}, after: {why}")
        raise AssertionError("unreachable")

    def _tell_locks(self, attempt: int, detail: str) -> None:
        self._context.report(Progress(stage="locks", done=attempt, unit="objects", detail=detail))

    def _write_all(self, snapshot: Snapshot, sink: StreamSink, parallel: int) -> BackupFacts:
        with driver_errors("while reading the catalogue"):
            around = evolve(
                database_globals.read(snapshot.session, self._server.spec.database),
                public_schema=catalogue.has_public_schema(snapshot.session),
            )
            facts = self._facts(snapshot, around)
        encoding = around.locale.encoding
        streams = plan(snapshot.tables, parallel, encoding)
        barrier = threading.Barrier(len(streams) + 1)

        def write_globals(_stop: threading.Event) -> None:
            self._wait(barrier)
            writer = sink.open(GLOBALS)
            try:
                writer.write(around.encode())
                writer.close()
            except BaseException as error:
                writer.abort(error)
                raise

        jobs: list[Callable[[threading.Event], None]] = [write_globals]
        jobs += [
            self._job(name, (f"--encoding={encoding}", *options), snapshot, sink, barrier)
            for name, options in streams.items()
        ]
        try:
            process.run_together(jobs, self._context.cancelled, on_stop=barrier.abort)
        except BaseException:
            self._end_sessions(snapshot)
            raise
        return evolve(facts, streams=(GLOBALS, *streams))

    def _job(
        self,
        name: StreamName,
        options: Sequence[str],
        snapshot: Snapshot,
        sink: StreamSink,
        barrier: threading.Barrier,
    ) -> Callable[[threading.Event], None]:
        command = self._command(options, snapshot)

        def write(stop: threading.Event) -> None:
            with process.Child(command, stop, stdout=True) as child:
                chunks = self._started(child, name, barrier)
                process.pump_out(child, chunks, sink.open(name), self._count)

        def write_or_explain(stop: threading.Event) -> None:
            try:
                write(stop)
            except process.ProcessFailed as failed:
                raise _explained(failed, self._server.spec.user) from failed

        return write_or_explain

    def _started(
        self, child: process.Child, name: StreamName, barrier: threading.Barrier
    ) -> Iterator[bytes]:
        """Wait until this child and all others have their locks; then give its output."""
        try:
            output = child.output()
            first = next(output, b"")
            if not first:
                child.check()
                raise TruncatedBackup(f'pg_dump wrote nothing for the stream "{name}"')
        except BaseException:
            barrier.abort()
            raise
        self._wait(barrier)
        return itertools.chain((first,), output)

    def _wait(self, barrier: threading.Barrier) -> None:
        try:
            barrier.wait()
        except threading.BrokenBarrierError:
            raise Cancelled("another stream failed") from None
        self._opened = True

    def _command(self, options: Iterable[str], snapshot: Snapshot) -> process.Command:
        argv = [
            self._tools.path("pg_dump"),
            f"--dbname={self._server.conninfo(self._server.spec.database, receiving=True)}",
            "--format=custom",
            "--compress=0",
            "--no-password",
            f"--snapshot={snapshot.name}",
            f"--lock-wait-timeout={int(LOCK_WAIT_S * 1000)}",
            *options,
        ]
        if snapshot.on_standby:  # unlogged tables cannot be read there
            argv.append("--no-unlogged-table-data")
        return process.Command(
            argv=argv,
            environment=self._server.child_environment(),
            secrets=self._server.secrets(),
        )

    def _count(self, size: int) -> None:
        with self._lock:
            self._moved += size
            self._context.report(Progress(stage="dump", done=self._moved))

    def _facts(self, snapshot: Snapshot, around: database_globals.Globals) -> BackupFacts:
        session = snapshot.session
        needs = {
            "encoding": around.locale.encoding,
            "locale": around.locale.locale or around.locale.collate,
            **{f"extension:{name}": at for name, at in catalogue.extensions(session).items()},
            **{f"role:{role.name}": ",".join(role.used_for) for role in around.roles},
            **{f"tablespace:{name}": "" for name in catalogue.tablespaces(session)},
        }
        return BackupFacts(
            engine=ENGINE,
            engine_version=versions.LAYOUT,
            server_version=catalogue.server_version(session),
            tool_versions={"pg_dump": self._tools.version},
            coverage=Coverage(start=snapshot.at, end=snapshot.at, lineage=snapshot.lineage),
            streams=(),
            database=self._server.spec.database,
            position=snapshot.position,
            counts=catalogue.counts(session),
            needs=needs,
        )

    def _end_sessions(self, snapshot: Snapshot) -> None:
        """End what a killed child may have left running on the server."""
        try:
            with bounded(snapshot.session, _LAST_WORD_S):
                snapshot.session.execute("ROLLBACK")
                snapshot.session.execute(
                    """
                    SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity
                    WHERE application_name = %s AND usename = current_user
                      AND pid <> pg_catalog.pg_backend_pid()
                    """,
                    (self._server.application_name,),
                )
        except driver_error():
            return  # the server is gone, and they with it


def _explained(failed: process.ProcessFailed, user: str) -> BackupError:
    """The cause behind pg_dump's last words. Its own messages are in English (LC_ALL)."""
    text = failed.stderr
    if lock_table.is_full(text):
        return lock_table.full()
    if "Query was: LOCK TABLE" in text or "lock timeout" in text:
        return LocksQueued(str(failed))
    if "row-level security" in text or "row security" in text:
        return AccessDenied(
            f'{failed}\nrow-level security hides rows: ALTER ROLE "{user}" BYPASSRLS;'
        )
    if "permission denied" in text:
        return AccessDenied(f'{failed}\nlet it read: GRANT pg_read_all_data TO "{user}";')
    return DatabaseUnavailable(str(failed))
