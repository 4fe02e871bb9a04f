"""The layers of a collection: what the cluster says of them, and the one that comes next."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from attrs import evolve, frozen

from controller.api.errors import (
    AccessDenied,
    BackupError,
    Cancelled,
    IntegrityError,
    NoKey,
    TruncatedBackup,
)
from controller.api.secrets import Secret
from engines.cockroach import jobs, statements
from engines.cockroach.connection import LICENCE, Cluster, ClusterFailed
from engines.cockroach.progress import watched
from engines.cockroach.versions import LAYOUT, LOSES_DATA, version_of
from engines.external_store import ChainEnded, StoredLayer
from engines.interface import BackupFacts, Coverage, JobContext
from engines.postgres.quoting import identifier

#: Of what the cluster keeps of the past, so much may be gone before an incremental backup is no use
#: to try: the job reads while it goes by.
_SAFE_PART = 0.8
#: Before files that a cluster did not see are looked for again.
_LOOK_AGAIN_S = 5.0


@frozen(kw_only=True)
class Chain:
    """One collection, with what is needed to speak of it.

    Args:
        is_job_ours: whether a job's description is of this collection.
    """

    cluster: Cluster
    database: str
    uri: Secret
    passphrase: Secret | None
    is_job_ours: Callable[[jobs.Job], bool]

    # -- reading --------------------------------------------------------------

    def layers(self, context: JobContext, *, check_files: bool = True) -> Sequence[StoredLayer]:
        """Every layer, the full one first; the cluster looks for each file of all of them."""
        statement = statements.show_backup(self.uri, self.passphrase, check_files=check_files)
        with watched(self.cluster, "look at the files", context):
            found = self.cluster.rows("while looking at the backup", *statement)
        if not found:
            raise TruncatedBackup("the cluster finds no backup there")
        return layers_of(
            found,
            database=self.database,
            server_version=self.cluster.server_version,
            lineage=self.cluster.id,
        )

    # -- writing --------------------------------------------------------------

    def extend(self, since: BackupFacts, context: JobContext) -> StoredLayer:
        """Store what changed, unless that was done already.

        Raises: ChainEnded, and what ends a backup.
        """
        job = self._unfinished(context)
        was_found = job is not None
        if job is not None:
            jobs.wait(self.cluster, job.id, context, stage="incremental backup")
        elif self._beyond(since, context, check_files=False) is not None:
            job, was_found = self._latest_job(), True
        else:
            self._check_extensible(since)
            job = self._begin(context, extend=True)
        stored = self._beyond(since, context)
        if stored is None:
            raise TruncatedBackup("the cluster's job succeeded, and its layer is not there")
        return evolve(self._with_history(stored, job), was_found=was_found)

    def begin(self, context: JobContext) -> StoredLayer:
        """Store a full backup, unless that was done already."""
        job = self._unfinished(context)
        was_found = job is not None
        if job is not None:
            jobs.wait(self.cluster, job.id, context, stage="full backup")
        else:
            job = self._latest_job()
            was_found = job is not None and job.has_succeeded
            if job is None or not was_found:
                job = self._begin(context, extend=False)
        stored = self._proven(context)
        if len(stored) != 1:
            raise TruncatedBackup(f"job {job.id} succeeded, and there are {len(stored)} layers")
        return evolve(self._with_history(stored[0], job), was_found=was_found)

    def _proven(self, context: JobContext) -> Sequence[StoredLayer]:
        """The layers, with every file looked for: twice if need be.

        Whatever keeps the cluster from seeing a single file, a store that is busy for a moment, it
        tells as a file that is missing. That is no reason to throw a whole backup away.
        """
        try:
            return self.layers(context)
        except TruncatedBackup:
            if context.cancelled.wait(_LOOK_AGAIN_S):
                raise Cancelled("the job was ended") from None
            return self.layers(context)

    def _begin(self, context: JobContext, *, extend: bool) -> jobs.Job:
        """Begin a job and wait for it; without a licence for history, without that."""
        stage = "incremental backup" if extend else "full backup"
        at = self.cluster.row("while asking for the time", "SELECT clock_timestamp()")
        now: datetime = at["clock_timestamp"]
        for history in (True, False):
            context.report(jobs.beginning(stage))
            try:
                row = self.cluster.row(
                    "while beginning the backup",
                    *statements.backup(
                        self.database,
                        self.uri,
                        self.passphrase,
                        at=now,
                        extend=extend,
                        history=history,
                    ),
                )
            except BackupError as error:
                if not history or not _wants_licence(error):
                    raise
                continue
            number = jobs.started(row)
            jobs.wait(self.cluster, number, context, stage=stage)
            words = "revision_history" if history else ""
            return jobs.Job(id=number, status="succeeded", description=words)
        raise AssertionError("one of the two was tried last")

    # -- deciding -------------------------------------------------------------

    def _unfinished(self, context: JobContext) -> jobs.Job | None:
        """The job that an earlier call began; one that cannot go on is ended and told."""
        for job in self._jobs():
            if job.is_paused:
                jobs.wait(self.cluster, job.id, context, stage="backup")
            if not job.is_ended:
                return job
        return None

    def _jobs(self) -> Iterable[jobs.Job]:
        return filter(self.is_job_ours, jobs.jobs(self.cluster, "BACKUP"))

    def _latest_job(self) -> jobs.Job | None:
        return next(iter(self._jobs()), None)

    def _beyond(
        self, since: BackupFacts, context: JobContext, *, check_files: bool = True
    ) -> StoredLayer | None:
        """The layer after `since`, if there is one.

        Args:
            check_files: of all layers, which takes a cluster hours where there are many.
        Raises: ChainEnded: the collection is not what we know of it.
        """
        try:
            if check_files:
                stored = self._proven(context)
            else:
                stored = self.layers(context, check_files=False)
        except (NoKey, TruncatedBackup) as error:
            raise ChainEnded(str(error)) from error
        ends = [one.facts.coverage.end for one in stored]
        known = since.coverage.end
        if known not in ends or len(ends) - ends.index(known) > 2:
            raise ChainEnded("its layers are not those that the catalogue has")
        return stored[-1] if ends[-1] != known else None

    def _check_extensible(self, since: BackupFacts) -> None:
        """Raises: ChainEnded."""
        theirs = version_of(since.server_version)
        if LOSES_DATA.is_in(theirs) and not LOSES_DATA.is_in(self.cluster.version):
            raise ChainEnded(f"its layers may lack data, as they are of {theirs.name}")
        if theirs != self.cluster.version:
            raise ChainEnded(
                f"it is of {since.server_version}, and this is {self.cluster.server_version}"
            )
        kept = self._kept_history()
        if kept is None:
            return
        now = self.cluster.row("while asking for the time", "SELECT clock_timestamp()")
        if now["clock_timestamp"] - since.coverage.end > kept * _SAFE_PART:
            raise ChainEnded(
                f"its newest layer is of {since.coverage.end:%Y-%m-%d %H:%M} UTC, and the cluster "
                f"keeps what changed for {kept} (gc.ttlseconds)"
            )

    def _kept_history(self) -> timedelta | None:
        """How long the cluster keeps the past of the database; None: it does not say so."""
        try:
            row = self.cluster.row(
                "while asking for gc.ttlseconds",
                f"SHOW ZONE CONFIGURATION FROM DATABASE {identifier(self.database)}",
            )
        except (ClusterFailed, AccessDenied):
            return None  # not for everyone to see; then the job itself finds out
        match = re.search(r"gc\.ttlseconds\s*=\s*(\d+)", str(row.get("raw_config_sql")))
        return timedelta(seconds=int(match[1])) if match else None

    @staticmethod
    def _with_history(stored: StoredLayer, job: jobs.Job | None) -> StoredLayer:
        """Of a layer without history only its end can be restored."""
        if job is not None and job.has_history:
            return stored
        facts = stored.facts
        coverage = evolve(facts.coverage, start=facts.coverage.end)
        return evolve(stored, facts=evolve(facts, coverage=coverage))


def extend_or_end(chain: Chain, since: BackupFacts, context: JobContext) -> StoredLayer:
    """Go on with a chain; what the cluster does not take ends the chain, not the backups.

    Raises: ChainEnded; JobPaused, DatabaseUnavailable, AccessDenied, Cancelled.
    """
    try:
        return chain.extend(since, context)
    except (jobs.JobPaused, Cancelled):
        raise
    except AccessDenied as error:
        if not _wants_licence(error):
            raise
        raise ChainEnded(str(error)) from error
    except (ClusterFailed, IntegrityError) as error:
        raise ChainEnded(str(error)) from error


def _wants_licence(error: BackupError) -> bool:
    return LICENCE in str(error).lower()


def layers_of(
    rows: Iterable[Mapping[str, Any]], *, database: str, server_version: str, lineage: str
) -> Sequence[StoredLayer]:
    """Put together what SHOW BACKUP says, a row for each object in each layer."""
    ends: dict[datetime, list[Mapping[str, Any]]] = {}
    for row in rows:
        ends.setdefault(_utc(row["end_time"]), []).append(row)
    found = []
    for end in sorted(ends):
        of_layer = ends[end]
        starts = [_utc(row["start_time"]) for row in of_layer if row.get("start_time")]
        start = min(starts, default=end)
        tables = [row for row in of_layer if row.get("object_type") == "table"]
        found.append(
            StoredLayer(
                facts=BackupFacts(
                    engine="cockroach",
                    engine_version=LAYOUT,
                    server_version=server_version,
                    tool_versions={},
                    coverage=Coverage(start=start, end=end, lineage=lineage),
                    streams=(),
                    database=database,
                    counts={"tables": len(tables)},
                ),
                plain_bytes=sum(int(row.get("size_bytes") or 0) for row in tables),
            )
        )
    return found


def _utc(moment: datetime) -> datetime:
    """Older versions give times without a zone, which are UTC."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
