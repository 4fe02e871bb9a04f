"""Secondary indexes and foreign keys, made when a table's rows are there.

An index that grows with each row is written in the rows' order, and not in its own: of a table
that the server's memory does not hold that is nearly all of a restore. Made later it is sorted.
Foreign keys wait for all indexes: one may need the index of a table that another stream loads.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Sequence

from attrs import frozen

from controller.api.errors import BackupError, Cancelled, IntegrityError
from engines import process
from engines.interface import JobContext, StreamReader
from engines.mysql_family import clauses, folders, progress, settings
from engines.mysql_family.clauses import CreateTable
from engines.mysql_family.connection import LIMITED, Server, Session, code_of

_STAGE = "indexes and constraints"
#: Up to so many bytes of rows a table is loaded with its indexes: one more statement costs more.
_SMALL_BYTES = 1 << 20
#: What is not at its end by then is passed on as it is.
_LONGEST_BYTES = 1 << 22
_LINE_END = b"\n"
_BEGINNING = _LINE_END + clauses.BEGINNING
#: A full disk, as the server tells it of the folder that it sorts in, and of others.
_NO_ROOM = {3, 20, 1021, 1026, 1114, 1878, *LIMITED}
#: As a dump sets them, for who makes a table anew. But for unique_checks: where those are off, too,
#: MariaDB fills a table through files to sort in.
_AS_STORED = (
    "SESSION sql_mode = 'NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES',"
    " SESSION foreign_key_checks = 0, SESSION unique_checks = 1"
)


@frozen(kw_only=True)
class Later:
    """What one table waits for.

    Args:
        table: its name, quoted. keys, foreign_keys: clauses, as an ALTER TABLE adds them.
    """

    table: str
    keys: Sequence[str]
    foreign_keys: Sequence[str]

    @property
    def name(self) -> str:
        return _unquoted(self.table)


class Postponed:
    """What tables come without, decided table by table, in whatever order they come.

    A table with few rows keeps all, but for a foreign key at columns whose index another
    table, which came before, gets later. What its other foreign keys point at stays where it is.

    Args:
        keeps_foreign_keys: False: no table does.

    Attributes:
        later: what there is to make when all rows are there.
        elsewhere: names of tables whose definition names a folder, which is not theirs here.

    Threads: one for each stream, together with the others; `_lock` guards all.
    """

    def __init__(self, *, keeps_foreign_keys: bool) -> None:
        self.later: list[Later] = []
        self.elsewhere: list[str] = []
        self._keeps_foreign_keys = keeps_foreign_keys
        self._lock = threading.Lock()
        self._sorted_later: set[tuple[bytes, bytes]] = set()
        self._pointed_at: dict[bytes, set[bytes]] = {}

    def take(self, statement: bytes, *, is_small: bool) -> bytes:
        """The statement that makes a table, without what can be made later."""
        table = CreateTable.parse(statement)
        if table is None:
            return statement
        with self._lock:
            if folders.is_elsewhere(statement):
                self.elsewhere.append(_unquoted(_text(table.table)))
            but = self._pointed_at.get(clauses.folded(table.table), ())
            keys = [] if is_small else table.keys(but=but)
            self._sorted_later.update((key.table, key.column) for key in keys)
            all_wait = keys or not self._keeps_foreign_keys
            foreign_keys = []
            for key in table.foreign_keys:
                if all_wait or (key.table, key.column) in self._sorted_later:
                    foreign_keys.append(key)
                else:
                    self._pointed_at.setdefault(key.table, set()).add(key.column)
            if not keys and not foreign_keys:
                return statement
            self.later.append(
                Later(
                    table=_text(table.table),
                    keys=[_text(key.clause) for key in keys],
                    foreign_keys=[_text(key.clause) for key in foreign_keys],
                )
            )
        return table.without([*keys, *foreign_keys])


class Without:
    """A reader of a dump whose tables come without what is postponed."""

    def __init__(self, reader: StreamReader, postponed: Postponed) -> None:
        self._reader = reader
        self._postponed = postponed
        self._held = b""

    def read(self, size: int = -1, /) -> bytes:
        """Any number of bytes, b"" only at the end."""
        while True:
            data = self._reader.read(size)
            self._held += data
            if (out := self._through(is_last=not data)) or not data:
                return out

    def _through(self, *, is_last: bool) -> bytes:
        """What can be passed on of what is held; the rest is held further."""
        held, passed, out = self._held, 0, []
        while (at := held.find(_BEGINNING, passed)) >= 0:
            start = at + len(_LINE_END)
            end = clauses.end(held, start)
            if end is None:
                if not is_last and len(held) - at < _LONGEST_BYTES:
                    break
                out.append(held[passed : at + len(_BEGINNING)])
                passed = at + len(_BEGINNING)
                continue
            rows_end = held.find(_BEGINNING, end)
            if rows_end < 0:
                rows_end = len(held)
                if not is_last and rows_end - end <= _SMALL_BYTES:
                    break
            is_small = rows_end - end <= _SMALL_BYTES
            out.append(held[passed:start])
            out.append(self._postponed.take(held[start:end], is_small=is_small))
            passed = end
        else:
            unsure = 0 if is_last else len(_BEGINNING) - 1
            at = max(len(held) - unsure, passed)
        out.append(held[passed:at])
        self._held = held[at:]
        return b"".join(out)

    def close(self) -> None:
        self._reader.close()


class Making:
    """What the tables of `schema` wait for, made."""

    def __init__(
        self, *, server: Server, context: JobContext, schema: str, later: Sequence[Later]
    ) -> None:
        self._server = server
        self._context = context
        self._schema = schema
        self._keys = [one for one in later if one.keys]
        self._foreign_keys = [one for one in later if one.foreign_keys]

    def run(self, parallel: int) -> None:
        """With at most so many sessions; foreign keys with one, as each locks two tables."""
        total = len(self._keys) + len(self._foreign_keys)
        if not total:
            return
        stage = progress.Stage(_STAGE, self._context.report, total)
        with contextlib.ExitStack() as stack:
            sessions = [
                stack.enter_context(self._session())
                for _ in range(max(1, min(parallel, len(self._keys))))
            ]
            stack.enter_context(progress.watched(self._server, sessions, stage))
            self._each(self._keys, self._make_keys, sessions, stage)
            self._each(self._foreign_keys, self._make_foreign_keys, sessions[:1], stage)

    def _session(self) -> Session:
        """Raises: DatabaseUnavailable, AccessDenied."""
        session = self._server.session(self._schema)
        try:
            session.run(f"SET {_AS_STORED}", what="while preparing a session")
            settings.be_lenient(session)
        except BaseException:
            session.close()
            raise
        return session

    def _each(
        self,
        tables: Sequence[Later],
        make: Callable[[Session, Later], None],
        sessions: Sequence[Session],
        stage: progress.Stage,
    ) -> None:
        waiting: queue.SimpleQueue[Later] = queue.SimpleQueue()
        for one in tables:
            waiting.put(one)

        def job(session: Session) -> Callable[[threading.Event], None]:
            def work(stop: threading.Event) -> None:
                with contextlib.suppress(queue.Empty):
                    while not stop.is_set():
                        one = waiting.get_nowait()
                        stage.tell(one.name)
                        try:
                            make(session, one)
                        except BackupError as error:
                            if stop.is_set():
                                raise Cancelled("the job was ended") from error
                            raise
                        stage.tell(one.name, done=1)

            return work

        process.run_together(
            list(map(job, sessions)),
            self._context.cancelled,
            on_stop=lambda: self._kill(sessions),
        )

    def _kill(self, sessions: Sequence[Session]) -> None:
        """An ALTER does not notice that its client is gone."""
        try:
            with self._server.session() as beside:
                for session in sessions:
                    with contextlib.suppress(BackupError):
                        beside.run(f"KILL {session.number}")
        except BackupError:
            for session in sessions:
                session.cut()

    def _make_keys(self, session: Session, one: Later) -> None:
        alter = _alter(one.table, one.keys)
        what = f"while making the indexes of {one.table}"
        try:
            session.run(alter, what=what)
        except BackupError as error:
            if code_of(error) not in _NO_ROOM:
                raise
            self._context.warn(
                f"{error}: the folder that the server sorts in has no room for them (tmpdir, "
                "innodb_tmpdir), so they are made row by row, which takes longer"
            )
            self._make_row_by_row(session, alter, what)

    def _make_row_by_row(self, session: Session, alter: str, what: str) -> None:
        if self._server.family.is_mariadb:
            # A copy, too, is sorted in files, unless rows may turn out to be in it already.
            alter = alter.replace("ALTER TABLE", "ALTER IGNORE TABLE", 1)
        told = session.told(f"{alter}, ALGORITHM = COPY", what=what)
        if " Duplicates: 0 " not in told:
            raise IntegrityError(f"{what}: rows that a unique key has twice were lost: {told}")

    def _make_foreign_keys(self, session: Session, one: Later) -> None:
        session.run(
            _alter(one.table, one.foreign_keys), what=f"while making foreign keys of {one.table}"
        )


def _alter(table: str, added: Sequence[str]) -> str:
    return f"ALTER TABLE {table} " + ", ".join(f"ADD {clause}" for clause in added)


def _unquoted(name: str) -> str:
    return name[1:-1].replace("``", "`")


def _text(quoted: bytes) -> str:
    return quoted.decode(errors="surrogateescape")
