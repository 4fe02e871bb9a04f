"""Signs of life while one statement takes long: a look for every file of a large backup does."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator

from controller.api.errors import BackupError, Cancelled
from engines.cockroach import statements
from engines.cockroach.connection import MAINTENANCE, Cluster
from engines.interface import JobContext, Progress
from engines.postgres.connection import Session, cancelling, cut, driver_error
from engines.postgres.quoting import sql

_PERIOD_S = 2.0
#: The cluster counts nothing while it looks: one that hangs is at work, too, as far as it says.
_LONGEST_S = 3600.0


@contextlib.contextmanager
def watched(
    cluster: Cluster,
    stage: str,
    context: JobContext,
    *,
    period_s: float = _PERIOD_S,
    longest_s: float = _LONGEST_S,
) -> Iterator[None]:
    """In the block, tell from beside each time that the cluster is seen at work on its statement.

    For an hour; best effort: without it a job still runs, and the watchdog sees less. When the job
    has to end, the statement is cancelled.

    Raises: Cancelled.
    """
    context.report(Progress(stage=stage, done=0, unit="files"))
    try:
        with (
            cancelling(cluster.link.session(), context.cancelled),
            _watching(cluster, stage, context, period_s, longest_s),
        ):
            yield
    except BackupError:
        if context.cancelled.is_set():
            raise Cancelled("the job was ended") from None
        raise


@contextlib.contextmanager
def _watching(
    cluster: Cluster, stage: str, context: JobContext, period_s: float, longest_s: float
) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        try:
            number = cluster.row("while asking for the session", "SHOW session_id")["session_id"]
            beside = stack.enter_context(cluster.link.server.session(MAINTENANCE))
        except BackupError:
            yield
            return
        done = threading.Event()

        def watch() -> None:
            last_mono = time.monotonic() + longest_s
            signs = 0
            while not done.wait(period_s) and time.monotonic() < last_mono:
                try:
                    signs += _is_at_work(beside, str(number))
                except driver_error():
                    return
                context.report(Progress(stage=stage, done=0, unit="files", signs=signs))

        watcher = threading.Thread(target=watch, name="cockroach-watch")
        watcher.start()
        try:
            yield
        finally:
            done.set()
            cut(beside)  # it may be waiting for an answer that does not come
            watcher.join()


def _is_at_work(beside: Session, number: str) -> bool:
    row = beside.execute(sql(statements.AT_WORK), (number,)).fetchone()
    return row is not None
