"""What a job tells while it works, and signs of life while no bytes move.

pg_restore is silent for as long as an index takes; the server's progress
views are not. A change in what they show is a Progress, and so resets the
stall watchdog; a server that hangs shows no change.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from attrs import evolve

from controller.api.errors import BackupError
from engines.interface import Progress
from engines.postgres.connection import Server, Session, bounded, driver_error

PERIOD_S = 2.0
#: How long the last look may take before its connection is cut.
_LAST_ANSWER_S = 2.0

_VIEWS = """
SELECT 'index', a.pid, p.relid::text, p.phase, p.blocks_done + p.tuples_done,
       p.blocks_total + p.tuples_total
FROM pg_catalog.pg_stat_progress_create_index p JOIN a ON a.pid = p.pid
UNION ALL
SELECT 'analyze', a.pid, p.relid::text, p.phase, p.sample_blks_scanned, p.sample_blks_total
FROM pg_catalog.pg_stat_progress_analyze p JOIN a ON a.pid = p.pid
UNION ALL
SELECT 'copy', a.pid, p.relid::text, p.command, p.bytes_processed, p.bytes_total
FROM pg_catalog.pg_stat_progress_copy p JOIN a ON a.pid = p.pid
UNION ALL
SELECT 'statement', a.pid, '', coalesce(a.wait_event, ''),
       (extract(epoch FROM a.query_start) * 1000)::int8, a.at_work_ms
FROM a ORDER BY 1, 2
"""
# No view counts what a foreign key's check, a REFRESH or a long CHECK has done. A statement that
# waits neither for a lock nor for us is at work: the time it took so far moves. One that waits for
# us (Client) must stand still: its bytes are what the watchdog looks at.
_OURS = """
WITH a AS (
  SELECT pid, query_start,
         CASE WHEN wait_event_type = 'Lock' THEN 'waits for a lock' END AS wait_event,
         CASE WHEN state = 'active' AND coalesce(wait_event_type, '') NOT IN ('Lock', 'Client')
              THEN (extract(epoch FROM pg_catalog.clock_timestamp() - query_start) * 1000)::int8
              ELSE 0 END AS at_work_ms
  FROM pg_catalog.pg_stat_activity
  WHERE application_name = %s AND pid <> pg_catalog.pg_backend_pid()
)
"""


class Signs(Protocol):
    """Takes what the server shows of our sessions, each time that it changed."""

    def sign(self, *, at_work: str, waits: bool) -> None:
        """Tell that the server is at work.

        Args:
            at_work: what it says of indexes that it builds; may be empty.
            waits: whether a statement of ours waits for a lock.
        """
        ...


class Teller:
    """Tells one stage at a time; the server's signs go into what was told last.

    Threads: `_lock` guards all of it; `report` is called under it, so that a
    stage's number never falls.
    """

    def __init__(self, report: Callable[[Progress], None]) -> None:
        self._report = report
        self._lock = threading.Lock()
        self._last = Progress(stage="connect", done=0)
        self._signs = 0
        self._at_work = ""
        self._waits = False

    def report(self, progress: Progress) -> None:
        with self._lock:
            if progress.stage != self._last.stage:
                self._at_work = ""  # it was said of the stage before
            self._last = progress
            self._tell()

    def sign(self, *, at_work: str, waits: bool) -> None:
        with self._lock:
            self._signs += 1
            self._at_work, self._waits = at_work, waits
            self._tell()

    def _tell(self) -> None:
        progress = evolve(self._last, signs=self._signs)
        if self._at_work:
            detail = "; ".join(filter(None, (progress.detail, self._at_work)))
            progress = evolve(progress, detail=detail)
        if self._waits:  # a stage of its own: who watches has to see it at once
            progress = evolve(progress, stage=f"{progress.stage}, waiting for a lock")
        self._report(progress)


@contextlib.contextmanager
def watched(server: Server, database: str, teller: Signs) -> Iterator[None]:
    """Tell what our other sessions are doing, from a session in `database`, while in the block.

    Best effort: without it a job still runs, and the watchdog sees less.
    """
    try:
        session = server.session(database)
    except BackupError:
        yield
        return
    done = threading.Event()
    watcher = threading.Thread(
        target=_watch, args=(session, server.application_name, teller, done), name="postgres-watch"
    )
    watcher.start()
    try:
        yield
    finally:
        done.set()
        with bounded(session, _LAST_ANSWER_S):
            watcher.join()
        session.close()


def _watch(session: Session, application_name: str, teller: Signs, done: threading.Event) -> None:
    seen: object = None
    while not done.wait(PERIOD_S):
        try:
            rows = session.execute(_OURS + _VIEWS, (application_name,)).fetchall()
        except driver_error():
            return
        if rows == seen:
            continue
        seen = rows
        teller.sign(
            at_work=_at_work(rows),
            waits=any(kind == "statement" and phase for kind, _, _, phase, _, _ in rows),
        )


def _at_work(rows: list[tuple[Any, ...]]) -> str:
    """What index builds say: ``scanning table 45 %``."""
    said = [
        f"{phase.removeprefix('building index: ')} {100 * done // total} %"
        for kind, _, _, phase, done, total in rows
        if kind == "index" and total
    ]
    return ", ".join(said)[:200]
