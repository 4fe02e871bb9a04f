"""Progress by objects, and signs of life while one statement takes long.

A swap of thousands of tables is one statement; so are the indexes of a table.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence

from attrs import evolve

from controller.api.errors import BackupError
from engines.interface import Progress
from engines.mysql_family.connection import Server, Session

_PERIOD_S = 2.0
#: Of those sessions. MySQL's may wait to commit for ever, where its binary log has no room.
_AT_WORK = (
    "SELECT 1 FROM information_schema.PROCESSLIST WHERE COMMAND <> 'Sleep'"
    " AND COALESCE(STATE, '') <> 'waiting for handler commit' AND ID IN ({})"
)


class Stage:
    """Tells how far a stage is.

    Threads: safe from any; progress is told under `_lock`, so that it never falls.
    """

    def __init__(
        self, name: str, report: Callable[[Progress], None], total: int | None = None
    ) -> None:
        self._report = report
        self._lock = threading.Lock()
        self._now = Progress(stage=name, done=0, total=total, unit="objects")
        report(self._now)

    def tell(self, detail: str, *, done: int = 0) -> None:
        """What is worked on, and how many objects were done since the last time."""
        with self._lock:
            self._now = evolve(self._now, detail=detail, done=self._now.done + done)
            self._report(self._now)

    def sign(self) -> None:
        with self._lock:
            self._now = evolve(self._now, signs=self._now.signs + 1)
            self._report(self._now)


@contextlib.contextmanager
def watched(server: Server, sessions: Sequence[Session], stage: Stage) -> Iterator[None]:
    """In the block, tell from beside each time that the server is seen at work for a session.

    Best effort: without it a job still runs, and the watchdog sees less.
    """
    try:
        beside = server.session()
    except BackupError:
        yield
        return
    numbers = [session.number for session in sessions]
    done = threading.Event()
    watcher = threading.Thread(
        target=_watch, args=(beside, numbers, stage, done), name="mysql-watch"
    )
    watcher.start()
    try:
        yield
    finally:
        done.set()
        beside.cut()  # it may be waiting for an answer that does not come
        watcher.join()
        beside.close()


def _watch(beside: Session, numbers: Sequence[int], stage: Stage, done: threading.Event) -> None:
    query = _AT_WORK.format(", ".join(map(str, numbers)))
    while not done.wait(_PERIOD_S):
        try:
            is_at_work = beside.rows(query)
        except BackupError:
            return
        if is_at_work:
            stage.sign()
