"""Signs of life while one statement takes long: a swap of thousands of tables is one."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

from controller.api.errors import BackupError
from engines.interface import Progress
from engines.mysql_family.connection import Server, Session

_PERIOD_S = 2.0


@contextlib.contextmanager
def watched(
    server: Server, session: Session, stage: str, report: Callable[[Progress], None]
) -> Iterator[None]:
    """In the block, tell from beside each time that the server is seen at work for `session`.

    Best effort: without it a job still runs, and the watchdog sees less.
    """
    report(Progress(stage=stage, done=0, unit="objects"))
    try:
        beside = server.session()
    except BackupError:
        yield
        return
    done = threading.Event()
    watcher = threading.Thread(
        target=_watch, args=(beside, session.number, stage, report, done), name="mysql-watch"
    )
    watcher.start()
    try:
        yield
    finally:
        done.set()
        beside.cut()  # it may be waiting for an answer that does not come
        watcher.join()
        beside.close()


def _watch(
    beside: Session,
    number: int,
    stage: str,
    report: Callable[[Progress], None],
    done: threading.Event,
) -> None:
    signs = 0
    while not done.wait(_PERIOD_S):
        try:
            commands = beside.rows(
                "SELECT COMMAND FROM information_schema.PROCESSLIST WHERE ID = %s", (number,)
            )
        except BackupError:
            return
        if commands and commands[0][0] != "Sleep":
            signs += 1
            report(Progress(stage=stage, done=0, unit="objects", signs=signs))
