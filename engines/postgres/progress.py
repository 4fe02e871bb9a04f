"""Signs of life from the server, while no bytes move.

pg_restore is silent for as long as an index takes; the server's progress
views are not. A change in what they show is a Progress, and so resets the
stall watchdog; a server that hangs shows no change.
"""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Callable, Iterator

from attrs import field, frozen

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
       (extract(epoch FROM a.query_start) * 1000)::int8, 0
FROM a ORDER BY 1, 2
"""
_OURS = """
WITH a AS (
  SELECT pid, query_start, CASE WHEN wait_event_type = 'Lock' THEN 'waits for a lock' END wait_event
  FROM pg_catalog.pg_stat_activity
  WHERE application_name = %s AND pid <> pg_catalog.pg_backend_pid()
)
"""

#: What pg_restore says with --verbose about its work, as opposed to what is wrong.
_CHATTER = re.compile(
    r"pg_restore: (?P<verb>creating|processing|launching item \d+|finished item \d+|connecting|"
    r"executing|implied|entering|finishing|skipping|restoring|restored|disabling|enabling|"
    r"setting|started|wait|processed|dropping)\b(?P<rest>.*)"
)
_STAGES = {"INDEX": "index", "CONSTRAINT": "constraint", "FK": "constraint", "CHECK": "constraint"}


@frozen(kw_only=True)
class Chatter:
    """Turns pg_restore's verbose lines into progress and keeps them out of its error text."""

    report: Callable[[Progress], None]
    _done: dict[str, int] = field(factory=dict, init=False)
    # Guards _done; report is called under it, so that a stage's number never falls.
    _lock: threading.Lock = field(factory=threading.Lock, init=False)

    def __call__(self, line: str) -> bool:
        match = _CHATTER.match(line)
        if match is None:
            return False
        verb, rest = match["verb"], match["rest"].strip()
        if verb == "creating" or verb.startswith("finished"):
            stage = _STAGES.get(rest.split(" ", 1)[0], "definitions")
        elif verb == "processing":
            stage = "tables"
        else:
            return True
        with self._lock:
            self._done[stage] = self._done.get(stage, 0) + 1
            self.report(
                Progress(stage=stage, done=self._done[stage], unit="objects", detail=rest[:200])
            )
        return True


@contextlib.contextmanager
def watched(server: Server, database: str, report: Callable[[Progress], None]) -> Iterator[None]:
    """Report what our other sessions are doing, from a session in `database`, while in the block.

    Best effort: without it a job still runs, and the watchdog sees less.
    """
    try:
        session = server.session(database)
    except BackupError:
        yield
        return
    done = threading.Event()
    watcher = threading.Thread(
        target=_watch, args=(session, server.application_name, report, done), name="postgres-watch"
    )
    watcher.start()
    try:
        yield
    finally:
        done.set()
        with bounded(session, _LAST_ANSWER_S):
            watcher.join()
        session.close()


def _watch(
    session: Session,
    application_name: str,
    report: Callable[[Progress], None],
    done: threading.Event,
) -> None:
    seen: object = None
    changes = 0
    while not done.wait(PERIOD_S):
        try:
            rows = session.execute(_OURS + _VIEWS, (application_name,)).fetchall()
        except driver_error():
            return
        if rows == seen:
            continue
        seen = rows
        changes += 1
        details = [
            f"{kind} {phase} {number}/{total}" if total else f"{kind} {phase} {number}"
            for kind, _pid, _relation, phase, number, total in rows
            if kind != "statement" or phase
        ]
        report(
            Progress(stage="server", done=changes, unit="objects", detail="; ".join(details)[:400])
        )
