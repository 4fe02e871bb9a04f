"""What an engine is: the protocol, and the values that pass through it.

An engine carries no retry, no storage, no compression and no crypto. One
backup of a `StreamEngine` is one manifest plus N named streams; the runner owns
what happens to the streams. An engine whose database stores by itself is in
`external_store.py`. All calls are synchronous and run in a job's own process;
they end soon after `JobContext.cancelled` is set, with `Cancelled`, and leave no
child process, session, snapshot or half-made database behind.

Source: the Go original's pkg/engines interface (Init, GetPodSpec,
CreateBackup, RestoreBackup, Unpack); differs: named streams instead of one
writer, facts instead of a footer, and a preflight.
"""

from __future__ import annotations

import enum
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import NewType, Protocol, runtime_checkable

from attrs import Factory, field, frozen
from attrs.validators import matches_re

from controller.api.errors import Problem
from controller.api.locations import BackupLocation
from controller.api.secrets import Secret, SecretValue

#: The name of a stream, ``[a-z0-9][a-z0-9._-]*``: "dump", "globals", "data-003".
StreamName = NewType("StreamName", str)


class Purpose(enum.Enum):
    """What a preflight is asked about."""

    BACKUP = "backup"
    RESTORE = "restore"


@frozen(kw_only=True)
class Progress:
    """A sign of life: any change of it resets the stall watchdog.

    Args:
        stage: words for people: "dump", "data", "indexes and constraints", "analyze".
        done: in `unit`, never falls within a stage.
        total: in `unit`, None if unknown.
        unit: "bytes" or "objects".
        detail: what is worked on, for example an index's name. May be empty.
        signs: how often the server showed that it is at work, where nothing else changes.
    """

    stage: str
    done: int
    total: int | None = None
    unit: str = "bytes"
    detail: str = ""
    signs: int = 0


@frozen(kw_only=True)
class JobContext:
    """What the runner lends an engine for one job.

    Args:
        cancelled: set when the job has to end; waits in the engine watch it.
        report: takes a Progress; cheap and safe from any thread.
        warn: takes what a person should know although the job goes on; safe from any thread.
        scratch: an empty directory, mode 0700, for small files (certificates,
            a table of contents); removed after the job.
    """

    cancelled: threading.Event
    report: Callable[[Progress], None]
    scratch: Path
    warn: Callable[[str], None] = field(default=lambda _message: None)


@frozen(kw_only=True)
class InitOptions:
    """What an engine is made from.

    Args:
        namespace, name: of the DatabaseBackup.
        spec: the engine's own section, an attrs type of controller.api.v1.
        resolve: turns a secret value of `spec` into its text. Called as late
            as possible and for each connection anew, so that a rotated
            password is seen; raises DependencyMissing. The controller passes
            a function that always raises.
        environ: environment of the process, for the search for client tools.
        version: `databaseVersion` as it was written; empty lets the engine choose.
        locations: of the storage class; an engine whose database stores by itself has to
            reach them.
    """

    namespace: str
    name: str
    spec: object
    resolve: Callable[[SecretValue], Secret]
    environ: Mapping[str, str]
    version: str = ""
    locations: tuple[BackupLocation, ...] = ()


@frozen(kw_only=True)
class PodSpec:
    """What the engine's runner pod needs beyond the common parts.

    Args:
        environment: further variables; none of the common ones.
    """

    image: str
    environment: Mapping[str, str] = Factory(dict)


@frozen(kw_only=True)
class Coverage:
    """The span of server time that a backup can be restored to.

    The only thing that ``--at`` is resolved against. For a dump `start` equals
    `end`: the instant of its snapshot, by the server's own clock.
    `lineage` names the history that both belong to (a system identifier and
    timeline): times of different lineages do not compare.
    """

    start: datetime
    end: datetime
    lineage: str


@frozen(kw_only=True)
class BackupFacts:
    """What an engine writes into the manifest: enough to restore without a server.

    Args:
        engine: registry name. engine_version: version of the stream layout that
            the engine writes, as text; an engine refuses what it does not know.
        server_version: as the server says it. tool_versions: tool -> version.
        position: log positions (start LSN, timeline), for people and later use.
        streams: the names in the order in which a restore needs them.
        counts: what can be compared after a restore ("tables": 12).
        needs: what the target must offer ("extension:postgis": "3.3.2",
            "role:app": "", "encoding": "UTF8").
    """

    engine: str
    engine_version: str
    server_version: str
    tool_versions: Mapping[str, str]
    coverage: Coverage
    streams: tuple[StreamName, ...]
    database: str
    position: Mapping[str, str] = Factory(dict)
    counts: Mapping[str, int] = Factory(dict)
    needs: Mapping[str, str] = Factory(dict)


class StreamWriter(Protocol):
    """Takes the bytes of one stream of a backup."""

    def write(self, data: bytes | memoryview, /) -> int:
        """Take all of `data`; blocks when the locations lag. Raises what ended the pipeline."""
        ...

    def close(self) -> None:
        """The stream is complete. Without it the stream is void."""
        ...

    def abort(self, cause: BaseException, /) -> None:
        """The stream is void: every location drops what it has of it."""
        ...


class StreamSink(Protocol):
    """Where an engine opens the streams of one backup. Thread-safe."""

    def open(self, name: StreamName, /) -> StreamWriter:
        """Start a stream; each name once."""
        ...


class StreamReader(Protocol):
    """Gives the plain bytes of one stream of a backup.

    The last block is held back until authentication, size and hash of the
    whole stream are verified: who reads the end may rely on all before it.
    """

    def read(self, size: int = -1, /) -> bytes:
        """At most `size` bytes, b"" only at the verified end; raises IntegrityError."""
        ...

    def close(self) -> None: ...


class StreamSource(Protocol):
    """Where an engine reads the streams of one backup. Thread-safe."""

    def names(self) -> Sequence[StreamName]: ...

    def size(self, name: StreamName, /) -> int:
        """Plain bytes of the stream, by the manifest."""
        ...

    def open(self, name: StreamName, /) -> StreamReader:
        """Open from the first byte; may be opened again after a close."""
        ...


@frozen(kw_only=True)
class Target:
    """Into what a restore writes.

    Args:
        database: the final name.
        replace: an existing, non-empty database of that name is swapped for
            the restored one and kept under a dated name.
        owners: restore owners and privileges; False is ``--no-owner``.
        parallel: ceiling for simultaneous streams, >= 1.
        label: a short unique text, for the names of temporary things.
    """

    database: str
    replace: bool = False
    owners: bool = True
    parallel: int = 1
    label: str = field(default="", validator=matches_re(r"[a-z0-9]{0,16}"))

    @property
    def in_the_way(self) -> str:
        """What to say when the database is there with data in it, and `replace` is not set."""
        return (
            f'the database "{self.database}" exists and is not empty: restore into another name '
            "with --database, or swap it for the restored one with --replace"
        )


@frozen(kw_only=True)
class Restored:
    """What a restore did.

    Args:
        database: name of the restored database.
        kept_as: name under which a replaced database was kept, None if none was.
        counts: same keys as BackupFacts.counts, of the restored database.
        warnings: what a person should know (a role that was made without a password).
    """

    database: str
    kept_as: str | None = None
    counts: Mapping[str, int] = Factory(dict)
    warnings: tuple[str, ...] = ()


class Engine(Protocol):
    """One kind of database: what all have. Made once per job; not thread-safe."""

    def init(self, options: InitOptions, /) -> None:
        """Take the options. No I/O: this works inside the controller too.

        Raises: InvalidSpec, also for a location that the database cannot reach by itself.
        """
        ...

    def pod_spec(self, *, image_prefix: str, release: str) -> PodSpec:
        """A pure function of the spec: image and environment, no secret value.

        The image is ``<prefix>-<engine>:<database version>-<release>``, where
        release is this project's: a new one is a new image.
        """
        ...

    def preflight(
        self,
        context: JobContext,
        /,
        *,
        purpose: Purpose,
        facts: BackupFacts | None = None,
        target: Target | None = None,
    ) -> Sequence[Problem]:
        """Look, without changing anything, for what would make `purpose` fail.

        Returns: every problem at once, each with the exact GRANT, setting or
            image that cures it; empty when the way is clear.
        Raises: DatabaseUnavailable, AccessDenied; BusyError: a restore of that target runs.
        """
        ...

    def by_hand(self, facts: BackupFacts, /) -> Sequence[str]:
        """Lines that restore it by hand; of streams, plain files of their names, they are shell."""
        ...


@runtime_checkable
class TakesBack(Protocol):
    """An engine whose database has no transaction around a restore, which may so be left half-way.

    Before a restore, and not before a dry run, the runner has it take that back: also where what
    comes then is refused. A preflight tells what there is to take back, and looks at the target as
    it is after that.
    """

    def take_back(self, context: JobContext, /, *, target: Target) -> Sequence[str]:
        """Take back what restores of this target began that were killed; nothing to do is fine.

        Returns: warnings, of what could not be taken back and holds nothing up.
        Raises: BusyError: one that is alive is at it. BackupError: what to do is said.
        """
        ...


@runtime_checkable
class StreamEngine(Engine, Protocol):
    """An engine whose backups are streams, which pass through the runner."""

    def create_backup(
        self, sink: StreamSink, context: JobContext, /, *, parallel: int = 1
    ) -> BackupFacts:
        """Write one consistent instant of the database into streams of `sink`.

        Returns only if every child process exited 0, every stream was closed
        and counts hold; otherwise aborts its streams and raises. Holds no
        snapshot open after returning. Buffers O(64 MiB) at most.
        """
        ...

    def restore_backup(
        self, source: StreamSource, facts: BackupFacts, context: JobContext, /, *, target: Target
    ) -> Restored:
        """Write the streams into a new database and give it its final name last.

        Nothing is visible under `target.database` until every stream reached
        its verified end. On any failure the old data is as it was and the
        partial database is dropped.

        Raises: TargetExists, PreflightFailed, IntegrityError, DatabaseUnavailable.
        """
        ...

    def verify_streams(
        self, source: StreamSource, facts: BackupFacts, context: JobContext, /
    ) -> Sequence[Problem]:
        """Check the structure of the streams without a server, by the engine's own tools.

        Reads every byte of every stream, so the runner need not do it again.
        """
        ...

    def unpack(
        self, source: StreamSource, facts: BackupFacts, dest: Path, context: JobContext, /
    ) -> Sequence[Path]:
        """Write the streams as files below `dest`, for a person with standard tools.

        No server, no network. All streams get their names when all are whole, or none does;
        nothing that is there is written over, and the files are for our user alone.
        Raises: TargetExists.
        """
        ...
