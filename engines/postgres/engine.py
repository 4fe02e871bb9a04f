"""The PostgreSQL engine: the protocol's methods, each a few lines over this folder's nouns."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Sequence
from pathlib import Path

from attrs import evolve

from controller.api.errors import InvalidSpec, PreflightFailed, Problem, TargetExists
from controller.api.v1 import PostgresSpec
from engines import unpacking
from engines.interface import (
    BackupFacts,
    InitOptions,
    JobContext,
    PodSpec,
    Purpose,
    Restored,
    StreamSink,
    StreamSource,
    Target,
)
from engines.postgres import archive, preflight, progress, target as targets, tools, versions
from engines.postgres.catalogue import server_major
from engines.postgres.connection import Server
from engines.postgres.dump import Dump
from engines.postgres.restore import Restore


class PostgresEngine:
    """Logical backups with pg_dump's custom format; restores beside the target and swaps."""

    _options: InitOptions
    _spec: PostgresSpec
    _major: int

    def init(self, options: InitOptions, /) -> None:
        if not isinstance(options.spec, PostgresSpec):
            raise InvalidSpec([Problem("spec.postgres", "is missing")])
        self._options = options
        self._spec = options.spec
        try:
            self._major = _image_major(options.version)
        except ValueError:
            known = ", ".join(map(str, (*versions.PAST_END_OF_LIFE, *versions.SUPPORTED)))
            raise InvalidSpec(
                [Problem("spec.databaseVersion", f"must be a major of {known}")]
            ) from None

    def pod_spec(self, *, image_prefix: str, release: str) -> PodSpec:
        return PodSpec(image=f"{image_prefix}-postgres:{self._major}-{release}")

    def preflight(
        self,
        context: JobContext,
        /,
        *,
        purpose: Purpose,
        facts: BackupFacts | None = None,
        target: Target | None = None,
    ) -> Sequence[Problem]:
        if purpose is Purpose.BACKUP:
            with (
                self._server(context) as server,
                server.session(self._spec.database) as session,
            ):
                return preflight.backup(session, self._options.environ)
        if facts is None or target is None:
            raise TypeError("a restore's preflight needs facts and a target")
        with (
            self._server(context, target.label) as server,
            targets.maintenance_session(server, target.database) as session,
        ):
            state = targets.state_of(server, session, target.database)
            problems = preflight.restore(
                session, self._options.environ, facts=facts, target=target, state=state
            )
        if state.exists and not state.empty and not target.replace:
            problems.append(Problem("target", target.in_the_way))
        return problems

    def create_backup(
        self, sink: StreamSink, context: JobContext, /, *, parallel: int = 1
    ) -> BackupFacts:
        with self._server(context) as server:
            with server.session(self._spec.database) as session:
                major = server_major(session)
                problems = preflight.backup(session, self._options.environ)
            if problems:
                raise PreflightFailed(problems)
            teller = progress.Teller(context.report)
            dump = Dump(
                server,
                tools.for_dump(self._options.environ, major),
                evolve(context, report=teller.report),
            )
            with progress.watched(server, self._spec.database, teller):
                return dump.write(sink, parallel=parallel)

    def restore_backup(
        self, source: StreamSource, facts: BackupFacts, context: JobContext, /, *, target: Target
    ) -> Restored:
        archive.check_streams(source, facts)
        with (
            self._server(context, target.label) as server,
            targets.exclusive(server, target.database) as maintenance,
        ):
            warnings = targets.clear_leftovers(maintenance, target.database)
            state = targets.state_of(server, maintenance, target.database)
            if state.exists and not state.empty and not target.replace:
                raise TargetExists(target.in_the_way)
            problems = preflight.restore(
                maintenance, self._options.environ, facts=facts, target=target, state=state
            )
            if problems:
                raise PreflightFailed(problems)
            return Restore(
                server=server,
                tools=tools.for_restore(self._options.environ, server_major(maintenance)),
                maintenance=maintenance,
                source=source,
                facts=facts,
                context=context,
                target=target,
                state=state,
                warnings=warnings,
            ).run()

    def verify_streams(
        self, source: StreamSource, facts: BackupFacts, context: JobContext, /
    ) -> Sequence[Problem]:
        archive.check_streams(source, facts)
        readers = tools.for_reading(self._options.environ, archive.archive_major(facts))
        return archive.verify(source, facts, readers, self._options.environ, context)

    def unpack(
        self, source: StreamSource, facts: BackupFacts, dest: Path, context: JobContext, /
    ) -> Sequence[Path]:
        archive.check_streams(source, facts)
        return unpacking.unpack(source, facts, dest, context)

    def by_hand(self, facts: BackupFacts, /) -> Sequence[str]:
        return archive.by_hand(facts)

    def _server(
        self, context: JobContext, label: str = ""
    ) -> contextlib.AbstractContextManager[Server]:
        return Server(
            spec=self._spec,
            resolve=self._options.resolve,
            scratch=context.scratch,
            environ=self._options.environ,
            label=label or secrets.token_hex(6),
            cancelled=context.cancelled,
        ).watched_at_the_end()


def _image_major(version: str) -> int:
    if not version:
        return versions.NEWEST
    major = versions.major_of(version)
    if major not in (*versions.PAST_END_OF_LIFE, *versions.SUPPORTED):
        raise ValueError(version)
    return major
