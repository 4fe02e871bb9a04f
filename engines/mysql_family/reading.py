"""All tables read at one instant, by as many dump tools as there are streams.

Each tool reads in one transaction, which is its snapshot. That it was begun is known
when the tool has told of a table, so the clock is read when all have: the state is of
that instant or of a moment before it, never of a later one. Only then a stream is opened.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime

from attrs import evolve, field, frozen

from controller.api.errors import (
    Cancelled,
    DatabaseUnavailable,
    PreflightFailed,
    TruncatedBackup,
)
from engines import process
from engines.interface import JobContext, Progress, StreamName, StreamSink
from engines.mysql_family import beginning, catalogue, snapshot, streams
from engines.mysql_family.catalogue import Table
from engines.mysql_family.connection import Server, Session
from engines.mysql_family.snapshot import CommitLock, NotOneInstant, Way
from engines.mysql_family.source import WAS_CHANGED, Begun, Source
from engines.mysql_family.text import Text, unchecked
from engines.mysql_family.tool_failures import explained, is_of_a_change
from engines.mysql_family.tools import Tools

_COMMITTED = f"at each of {snapshot.TRIES} tries something was committed"

Shares = Mapping[StreamName, Sequence[Table]]


@frozen(kw_only=True)
class Instant:
    """What was read.

    Args:
        at: the server's clock when all had begun. position: in the binary log, as far as it is
            known, and what proves that several streams show the same.
        statement_bytes: of the longest statement of all streams.
        tablespaces: see `Text`.
    """

    streams: tuple[StreamName, ...]
    at: datetime
    position: Mapping[str, str]
    statement_bytes: int = 0
    tablespaces: Mapping[str, str] = field(factory=dict)


@frozen(kw_only=True)
class Reading:
    """How to read.

    Args:
        session: ours, closed when all have begun: a dump may last longer than the server lets
            it idle.
        reads_position: whether there is a binary log whose position the account may read.
    """

    server: Server
    tools: Tools
    context: JobContext
    session: Session
    source: Source
    reads_position: bool

    def write(self, shares: Shares, way: Way, sink: StreamSink) -> Instant:
        """Write a stream for each share of the tables.

        Raises: NotOneInstant: no stream was opened, and another way may be tried.
        """
        together = _Together(self, shares, way)
        if way is not Way.LOCK:
            return together.write(sink, None)
        detail = f"{snapshot.LOCK}, for at most {snapshot.HELD_S:g} s: commits wait"
        self.context.report(Progress(stage="lock", done=0, unit="objects", detail=detail))
        with CommitLock(self.server, together.give_up) as held:
            instant = together.write(sink, held)
        proof = f"{snapshot.LOCK}, {held.held_s:.2f} s"
        return evolve(instant, position={**instant.position, "one instant": proof})

    def position(self) -> dict[str, str]:
        """MySQL's, now. MariaDB's comes with the dump."""
        if self.server.family.is_mariadb or not self.reads_position:
            return {}
        return catalogue.position(self.session, is_mariadb=False)

    def is_committing(self) -> bool:
        """Whether a commit of MySQL's has moved the position already and is not seen yet."""
        family = self.server.family
        return not family.is_mariadb and catalogue.owns_gtids(self.session)

    def command(
        self, name: StreamName, share: Sequence[Table], *, is_alone: bool
    ) -> process.Command:
        """The tool that dumps these tables, and whatever else there is that the catalogue has not.

        So a table that is made meanwhile is counted, and once too often where there are several.
        """
        family = self.server.family
        options = [
            "--single-transaction",
            "--quick",
            "--hex-blob",
            "--no-tablespaces",
            "--skip-triggers",
            "--skip-add-drop-table",
            "--skip-add-locks",
        ]
        own: list[tuple[str, str | None]] = []
        first = beginning.statement(is_mariadb=family.is_mariadb)
        if family.is_mariadb:
            # One transaction a table, the default from 11.8 on, makes the server sort every row
            # again before it writes it: a restore would cost it twice the CPU.
            options += ["--dump-history", "--skip-no-autocommit"]
            own.append(self.server.login().beginning_with(first))
            if self.reads_position:
                options += ["--master-data=2", "--gtid"]
        else:
            options += ["--set-gtid-purged=OFF", "--skip-column-statistics"]
            own.append(("init-command", first))
        others, named = self._others(share, is_alone=is_alone)
        database = self.source.database
        # Arguments would not have room for these.
        own += [("ignore-table", f"{database}.{name}") for name in others]
        path = self.server.option_file(family.dump, own, stream=name)
        return process.Command(
            argv=[self.tools.dump, f"--defaults-file={path}", *options, "--", database, *named],
            environment=self.server.child_environment(),
            secrets=self.server.secrets(),
        )

    def _others(
        self, share: Sequence[Table], *, is_alone: bool
    ) -> tuple[Sequence[str], Sequence[str]]:
        """Names of what a tool has to leave out; or of what it has to dump, and nothing else.

        It would leave out a table, too, that it takes for a view.
        """
        views = [table.name for table in self.source.tables if table.is_view]
        left_out = set(map(streams.taken_for, views))
        mine = [table.name for table in share]
        if any(streams.taken_for(name) in left_out for name in mine):
            return [], mine
        tables = [] if is_alone else [table.name for table in self.source.tables]
        return sorted({*views, *tables} - set(mine)), []


class _Together:
    """One try: all begin, then all are written, and end together.

    Threads: one for each stream, in which its tool runs; they meet twice. `_lock` guards `_moved`,
    and progress is told under it, so that it never falls.
    """

    def __init__(self, reading: Reading, shares: Shares, way: Way) -> None:
        self._reading = reading
        self._shares = shares
        self._way = way
        self._texts = {name: Text() for name in shares}
        self._all_begun = threading.Barrier(len(shares), action=self._settle)
        self._all_ended = threading.Barrier(len(shares), action=self._insist)
        self._commit_lock: CommitLock | None = None
        self._before: dict[str, str] = {}
        self._instant: Instant | None = None
        self._begun: Begun | None = None
        self._lock = threading.Lock()
        self._moved = 0

    def give_up(self) -> None:
        """Let nobody wait for the others any more."""
        self._all_begun.abort()
        self._all_ended.abort()

    def write(self, sink: StreamSink, lock: CommitLock | None) -> Instant:
        self._commit_lock = lock
        self._before = self._reading.position()
        if self._way is Way.POSITIONS and self._reading.is_committing():
            raise NotOneInstant(_COMMITTED)
        is_alone = len(self._shares) == 1
        jobs = [
            self._job(name, self._reading.command(name, share, is_alone=is_alone), sink)
            for name, share in self._shares.items()
        ]
        cancelled = self._reading.context.cancelled
        try:
            process.run_together(jobs, cancelled, on_stop=self.give_up)
        except Cancelled:
            if lock is not None and lock.is_lost and not cancelled.is_set():
                raise NotOneInstant(
                    f"within {snapshot.HELD_S:g} s of {snapshot.LOCK} not all readers had begun"
                ) from None
            raise
        assert self._instant is not None  # noqa: S101 - all have begun
        # MariaDB's tool may tell the GTID at the end alone.
        told = next(iter(self._texts.values())).position
        return evolve(
            self._instant,
            position={**told, **self._instant.position},
            statement_bytes=max(text.statement_bytes for text in self._texts.values()),
            tablespaces={
                name: table
                for text in self._texts.values()
                for name, table in text.tablespaces.items()
            },
        )

    def _job(
        self, name: StreamName, command: process.Command, sink: StreamSink
    ) -> Callable[[threading.Event], None]:
        def write(stop: threading.Event) -> None:
            with process.Child(command, stop, stdout=True) as child:
                text = self._texts[name]
                chunks = text.passing(child.output())
                first = self._first(child, text, chunks)
                self._meet(self._all_begun)
                whole = self._whole(child, text, first, chunks)
                process.pump_out(child, whole, sink.open(name), self._count)

        return write

    def _first(self, child: process.Child, text: Text, chunks: Iterator[bytes]) -> list[bytes]:
        """What the tool says until its transaction has begun for sure."""
        first = []
        while not text.has_begun:
            chunk = next(chunks, b"")
            if not chunk:
                self._finish(child)
                raise TruncatedBackup(f"{self._reading.server.family.dump} wrote no dump")
            first.append(chunk)
        return first

    def _whole(
        self, child: process.Child, text: Text, first: Iterable[bytes], rest: Iterable[bytes]
    ) -> Iterator[bytes]:
        """All of a dump. Its stream is closed after that: what is not whole must not look it."""
        is_mariadb = self._reading.server.family.is_mariadb
        yield unchecked(b"".join(first), is_mariadb=is_mariadb)
        yield from rest
        self._finish(child)
        if text.leaves:
            raise PreflightFailed(
                "a name in the schema holds a line break and then a statement, which makes its "
                f"dump one that no restore would take: rename what holds {text.leaves!r}"
            )
        if not text.is_complete:
            raise TruncatedBackup(f"{self._reading.server.family.dump} ended without its last line")
        self._meet(self._all_ended)

    def _meet(self, barrier: threading.Barrier) -> None:
        with contextlib.suppress(threading.BrokenBarrierError):
            barrier.wait()
            return
        raise Cancelled("another stream failed")

    def _settle(self) -> None:
        """All have begun: of what instant, and is it one? Then commits go on."""
        reading = self._reading
        at = catalogue.clock(reading.session)
        self._begun = reading.source.begun(reading.session)
        after = reading.position()
        if self._commit_lock is not None:
            was_held = self._commit_lock.release()
            reading.context.warn(
                f"commits may have waited for {self._commit_lock.held_s:.2f} s, locked out so that "
                f"{len(self._shares)} readers see one instant"
            )
            if not was_held:
                raise NotOneInstant("the lock was lost before all readers had begun")
        found = [text.position for text in self._texts.values()]
        self._prove(found if reading.server.family.is_mariadb else [self._before, after])
        reading.session.close()
        position = _known(found[0], self._before, after)
        if self._way is Way.POSITIONS:
            position["one instant"] = self._way.value
        self._instant = Instant(streams=tuple(self._shares), at=at, position=position)

    def _prove(self, positions: Sequence[Mapping[str, str]]) -> None:
        """Raises: NotOneInstant."""
        places = {(one.get("file"), one.get("position")) for one in positions}
        if self._way is not Way.ALONE and len(places) > 1:
            raise NotOneInstant(_COMMITTED)
        if self._way is not Way.POSITIONS:
            return
        session, family = self._reading.session, self._reading.server.family
        if (None, None) in places:
            raise NotOneInstant(f"{family.dump} told no position")
        # Again: what commits otherwise may have begun since.
        if not catalogue.logs_every_commit(session, is_mariadb=family.is_mariadb):
            raise NotOneInstant("the binary log does not have every commit any more")

    def _insist(self) -> None:
        texts = self._texts.values()
        dumped = {
            "tables": [name for text in texts for name in text.tables],
            "sequences": [name for text in texts for name in text.sequences],
        }
        source = self._reading.source
        assert self._begun is not None  # noqa: S101 - all have begun
        with self._reading.server.session(source.database) as session:
            source.insist_on(session, dumped, self._begun)

    def _finish(self, child: process.Child) -> None:
        try:
            child.check()
        except process.ProcessFailed as failed:
            if is_of_a_change(failed):
                raise DatabaseUnavailable(f"{WAS_CHANGED}: {failed}") from failed
            raise explained(failed, "while dumping") from failed

    def _count(self, size: int) -> None:
        with self._lock:
            self._moved += size
            self._reading.context.report(Progress(stage="dump", done=self._moved))


def _known(
    found: dict[str, str], before: Mapping[str, str], after: Mapping[str, str]
) -> dict[str, str]:
    """Exact where the snapshot tells it, or where nothing was written meanwhile; else bounds."""
    if found or before == after:
        return {**found, **before}
    return {
        **{f"{key} not before": value for key, value in before.items()},
        **{f"{key} not after": value for key, value in after.items()},
    }
