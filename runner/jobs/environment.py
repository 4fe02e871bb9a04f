"""What every kind of job works with: the configuration, the engine, the locations."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TypeVar

from attrs import frozen

from controller.api.errors import BackupError, InvalidSpec, Problem, TerminalError
from controller.process.clock import Clock
from controller.process.logging import Redactor, configure
from engines import registry
from engines.external_store import ExternalStore
from engines.interface import Engine, InitOptions, JobContext, Progress, StreamEngine
from runner.config import RunnerConfig
from runner.jobs.events import EventWriter
from runner.jobs.request import JobRequest
from runner.locations import ANSWER_S, Location, Locations, ask_each, open_locations
from runner.outcome import JobOutcome, LocationFate, StageTiming
from runner.pipeline.fanout import describe

T = TypeVar("T")


class JobFailure(Exception):
    """A job that failed after it had something to tell: the error, and the outcome so far."""

    def __init__(self, error: BackupError, outcome: JobOutcome) -> None:
        super().__init__(str(error))
        self.error = error
        self.outcome = outcome


def failed_fate(name: str, error: BaseException) -> LocationFate:
    """The fate of a location that an error ended."""
    reason = error.reason if isinstance(error, BackupError) else BackupError.reason
    return LocationFate(name=name, ok=False, reason=reason, message=describe(error))


@frozen(kw_only=True, eq=False)
class JobEnvironment:
    """One job's surroundings."""

    request: JobRequest
    config: RunnerConfig
    context: JobContext
    events: EventWriter
    clock: Clock

    def engine(self) -> Engine:
        """The configured engine, with its options.

        Raises: UnknownEngine, InvalidSpec.
        """
        return build_engine(self.config)

    def target(self) -> str:
        """The database that a restore goes into; empty for every other job."""
        restore = self.request.restore
        return restore.target(self.config.database) if restore else ""

    @contextmanager
    def locations(self) -> Iterator[Locations]:
        """Those that the request is about."""
        with open_locations(self.config, self.context.cancelled) as locations:
            yield locations.chosen(self.request.location)

    def ask(
        self, stage: str, locations: Sequence[Location], question: Callable[[Location], T]
    ) -> dict[str, T | BackupError]:
        """Ask all locations at once; requests that their stores answer are the job's progress."""

        def progress(requests: int) -> None:
            self.events.progress(Progress(stage=stage, done=requests, unit="requests"))

        return ask_each(locations, question, limit_s=self.answer_s, on_progress=progress)

    @property
    def answer_s(self) -> float:
        """How long a location may be silent, well before the stall watchdog takes it for a hang."""
        return min(ANSWER_S, self.config.backup.spec.stall_timeout.total_seconds() / 3)

    def cluster_id(self) -> str:
        """Who writes here; without it nothing may be written or deleted.

        Raises: InvalidSpec.
        """
        if not self.config.cluster_id:
            raise InvalidSpec(
                [
                    Problem(
                        "cluster",
                        "is missing: writing and pruning need to know for which cluster this is. "
                        "Put the cluster's id into a file `cluster` beside the configuration",
                    )
                ]
            )
        return self.config.cluster_id

    def outcome(
        self,
        started_at: datetime,
        *,
        backup_id: str = "",
        fates: tuple[LocationFate, ...] = (),
        plain_bytes: int = 0,
        incremental: bool = False,
        stages: tuple[StageTiming, ...] = (),
        locations: Locations | None = None,
    ) -> JobOutcome:
        """The outcome of a job that succeeded."""
        return JobOutcome(
            kind=self.request.kind,
            started_at=started_at,
            finished_at=self.clock.now(),
            success=True,
            backup_id=backup_id,
            database=self.target(),
            fates=fates,
            plain_bytes=plain_bytes,
            incremental=incremental,
            stages=stages,
            storage=tuple(
                use
                for location in (locations.opened if locations else ())
                for use in location.usage.uses()
            ),
        )


def build_engine(config: RunnerConfig) -> Engine:
    """Make the engine that the configuration names."""
    spec = config.backup.spec
    engine = registry.get(spec.database_type)
    engine.init(
        InitOptions(
            namespace=config.backup.metadata.namespace,
            name=config.backup.metadata.name,
            spec=getattr(spec, spec.database_type),
            resolve=config.resolve,
            environ=os.environ,
            version=spec.database_version,
            locations=config.storage.backup_locations,
        )
    )
    return engine


def moves_streams(engine: Engine) -> StreamEngine:
    """The engine as one whose backups are streams.

    Raises: TerminalError: it is none; such a backup is of another engine.
    """
    if isinstance(engine, StreamEngine):
        return engine
    raise TerminalError(
        "this engine's database stores its backups by itself: there are no streams to read or "
        "write. `runner show` says how to restore one by hand"
    )


def stores_by_itself(engine: Engine) -> ExternalStore:
    """The engine as one whose database stores its backups by itself.

    Raises: TerminalError: it is none; such a backup is of another engine.
    """
    if isinstance(engine, ExternalStore):
        return engine
    raise TerminalError("the backup is a layer of a chain, which this engine does not write")


def log_for(config: RunnerConfig, *, level: str | None = None) -> None:
    """Say in every record whose it is, and none of the configuration's secrets.

    Args:
        level: default LOG_LEVEL, then INFO.
    """
    configure(
        level=level,
        redact=Redactor(config.redactions),
        constant={
            "namespace": config.backup.metadata.namespace,
            "name": config.backup.metadata.name,
            "engine": config.backup.spec.database_type,
        },
    )
