"""The cluster's jobs: what it does by itself, also when nobody is connected any more."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import Factory, define, frozen

from controller.api.errors import BackupError, Cancelled, DatabaseUnavailable
from engines import process
from engines.cockroach import statements
from engines.cockroach.connection import Cluster, ClusterFailed, classified
from engines.interface import JobContext, Progress

_SUCCEEDED = "succeeded"
_ENDED = frozenset({_SUCCEEDED, "failed", "canceled", "revert-failed"})
_PAUSED = frozenset({"paused", "pause-requested"})
#: Between two looks at a job; the first ones are quick, for small databases.
_FIRST_LOOK_S = 0.2
_LOOK_S = 2.0
#: How long a job may take to take back what it did, before it is left to itself.
_CANCEL_S = 30.0
#: How long no node may answer while a job runs: they are replaced one by one, and the job goes on.
_UNREACHABLE_S = 300.0


class JobPaused(ClusterFailed):
    """The cluster does not go on with a job by itself; it has been cancelled."""


@frozen(kw_only=True)
class Job:
    """One job, as the cluster tells it.

    Args:
        description: its statement; secrets in URIs are redacted by the cluster.
        done: from 0 to 1.
    """

    id: int
    status: str
    description: str
    reason: str = ""
    done: float = 0.0

    @property
    def is_ended(self) -> bool:
        return self.status in _ENDED

    @property
    def has_succeeded(self) -> bool:
        return self.status == _SUCCEEDED

    @property
    def is_paused(self) -> bool:
        return self.status in _PAUSED

    @property
    def has_history(self) -> bool:
        """Whether a backup's layer can be restored to every instant of its span."""
        return "revision_history" in self.description

    def folder_below(self, parent: str) -> str:
        """The name of the folder directly below `parent` that it is about; empty: none."""
        match = re.search(re.escape(parent) + r"([^/?'\"]+)", self.description)
        return match[1] if match else ""


def jobs(cluster: Cluster, kind: str) -> Sequence[Job]:
    """Our jobs of a kind (BACKUP, RESTORE) that run or ended lately, the latest first."""
    # Newer versions cut the descriptions in a list of all jobs short, and the times to the second:
    # of named jobs they tell it all, and a job's number begins with its time.
    found = map(_job, cluster.rows("while looking for jobs", statements.jobs_of(kind)))
    return sorted(found, key=lambda job: job.id, reverse=True)


def _job(row: Mapping[str, Any]) -> Job:
    # A paused job says why where a running one says what it does.
    reason = row.get("error") or row.get("running_status") or ""
    return Job(
        id=int(row["job_id"]),
        status=str(row["status"]),
        description=str(row.get("description") or ""),
        reason=str(reason),
        done=float(row.get("fraction_completed") or 0.0),
    )


def started(row: Mapping[str, Any]) -> int:
    """The number of the job that a detached statement began."""
    return int(row["job_id"])


@define
class _Watched:
    """What was seen of a job, from one look to the next."""

    job: Job
    stage: str
    _signs: int = 0
    _last: str = ""
    _answered_mono: float = Factory(time.monotonic)
    _is_missed: bool = False

    def see(self, row: Mapping[str, Any]) -> None:
        job = self.job = _job(row)
        seen = f"{job.status} {job.done} {row.get('modified')} {row.get('running_status')}"
        self._signs += seen != self._last
        self._last = seen
        self._answered_mono, self._is_missed = time.monotonic(), False

    def miss(self, error: BackupError, context: JobContext, longest_s: float) -> None:
        """Note that nobody answered; raises the error if that goes on for too long."""
        if time.monotonic() - self._answered_mono >= longest_s:
            raise error
        if not self._is_missed:
            context.warn(f"lost sight of the cluster's job {self.job.id}, looking again: {error}")
        self._is_missed = True
        self._signs += 1  # ours: whether the cluster is at work is not known until it answers

    @property
    def progress(self) -> Progress:
        done = int(100 * self.job.done)
        return Progress(stage=self.stage, done=done, total=100, unit="percent", signs=self._signs)


def wait(
    cluster: Cluster,
    number: int,
    context: JobContext,
    *,
    stage: str,
    unreachable_s: float = _UNREACHABLE_S,
) -> None:
    """Wait until a job has succeeded.

    One that cannot go on is cancelled: the cluster would let it lie for ever. So is one of a job of
    ours that has to end. The end of a node, or of the way to it, is not the job's.

    Args:
        unreachable_s: how long nobody may answer.
    Raises:
        Cancelled; ClusterFailed, JobPaused, or what the job's own reason says: AccessDenied,
            NoKey, TruncatedBackup. DatabaseUnavailable: nobody answers; the job may go on.
    """
    watched, pause_s = _Watched(Job(id=number, status="", description=""), stage), _FIRST_LOOK_S
    while True:
        try:
            watched.see(cluster.row("while watching the job", f"SHOW JOB {number}"))
        except BackupError as error:
            # A node that goes or comes may also refuse who was let in before.
            if not (cluster.link.is_lost or isinstance(error, DatabaseUnavailable)):
                raise
            watched.miss(error, context, unreachable_s)
        job = watched.job
        if job.has_succeeded:
            return
        if job.is_ended or job.is_paused:
            if job.is_paused:
                cancel(cluster, job, context)
            reason = process.redact(job.reason, cluster.hidden) or "no reason given"
            kind = JobPaused if job.is_paused else ClusterFailed
            raise classified(f"the cluster's job {number} {job.status}: {reason}", kind)
        context.report(watched.progress)
        if context.cancelled.wait(pause_s):
            cancel(cluster, job, context)
            raise Cancelled("the job was ended")
        pause_s = min(_LOOK_S, pause_s * 1.5)


def beginning(stage: str) -> Progress:
    """What a job of ours says before the cluster has anything to tell."""
    return Progress(stage=stage, done=0, total=100, unit="percent")


def cancel(cluster: Cluster, job: Job, context: JobContext) -> None:
    """End a job, and wait until the cluster has taken back what it did; not for ever."""
    try:
        _ask_to_end(cluster, job.id)
    except DatabaseUnavailable:
        raise
    except BackupError:
        if not _current(cluster, job.id).is_ended:  # it may have ended meanwhile
            raise
    waited_s = 0.0
    while waited_s < _CANCEL_S and not _current(cluster, job.id).is_ended:
        time.sleep(_FIRST_LOOK_S)  # the job of ours has ended: nothing would wake this
        waited_s += _FIRST_LOOK_S
        context.report(Progress(stage="cancel", done=int(waited_s * 10), unit="objects"))


def _ask_to_end(cluster: Cluster, number: int) -> None:
    """Twice, if need be: only its next statement shows that a session was lost."""
    statement = "while cancelling the job", f"CANCEL JOB {number}"
    try:
        cluster.rows(*statement)
    except DatabaseUnavailable:
        cluster.rows(*statement)


def _current(cluster: Cluster, number: int) -> Job:
    return _job(cluster.row("while watching the job", f"SHOW JOB {number}"))
