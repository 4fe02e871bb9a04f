"""The protocol's methods, each a few lines over this folder's nouns."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from controller.api.errors import InvalidSpec, PreflightFailed, Problem, TargetExists
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
from engines.mysql_family import (
    archive,
    catalogue,
    journal,
    preflight,
    progress,
    target as targets,
    tools,
)
from engines.mysql_family.connection import Server
from engines.mysql_family.credentials import Files
from engines.mysql_family.dump import Dump
from engines.mysql_family.family import Family, Spec
from engines.mysql_family.restore import Restore

#: Of a look before a backup, for who holds a table: no server says of that whether it ever ends.
_LOCK_WAIT_S = 600


class FamilyEngine:
    """Dumps by the family's own tool; restores beside the target and swaps."""

    family: ClassVar[Family]
    _options: InitOptions
    _spec: Spec
    _image: str
    #: A preflight of this job has found nothing in the way of a backup.
    _is_clear: bool = False

    def init(self, options: InitOptions, /) -> None:
        family = self.family
        if not isinstance(options.spec, family.spec):
            raise InvalidSpec([Problem(family.section, "is missing")])
        self._options = options
        self._spec = options.spec
        self._image = _image_series(family, options.version)

    def pod_spec(self, *, image_prefix: str, release: str) -> PodSpec:
        return PodSpec(image=f"{image_prefix}-{self.family.name}:{self._image}-{release}")

    def preflight(
        self,
        context: JobContext,
        /,
        *,
        purpose: Purpose,
        facts: BackupFacts | None = None,
        target: Target | None = None,
    ) -> Sequence[Problem]:
        database = self._spec.database
        if purpose is Purpose.BACKUP:
            with self._server(context) as server, server.session(database) as session:
                # Some columns are looked into, which takes longer the longer their tables are.
                session.run(f"SET SESSION lock_wait_timeout = {_LOCK_WAIT_S}")
                stage = progress.Stage("preflight", context.report)
                with progress.watched(server, [session], stage):
                    found = preflight.backup(session, self.family, self._options.environ, database)
            self._is_clear = not found
            return found
        if facts is None or target is None:
            raise TypeError("a restore's preflight needs facts and a target")
        with self._server(context, target.label) as server, server.session() as session:
            targets.insist_on_no_restore(session, target.database)
            left = journal.begun(session, target.database)
            for said in left.explained():
                context.warn(said)
            state = left.after or targets.state_of(session, target.database)
            problems = preflight.restore(
                session,
                self.family,
                self._options.environ,
                facts=facts,
                target=target,
                state=state,
            )
        if state.exists and not state.empty and not target.replace:
            problems.append(Problem("target", target.in_the_way))
        return problems

    def create_backup(
        self, sink: StreamSink, context: JobContext, /, *, parallel: int = 1
    ) -> BackupFacts:
        if not self._is_clear and (problems := self.preflight(context, purpose=Purpose.BACKUP)):
            raise PreflightFailed(problems)
        with self._server(context) as server:
            return Dump(server, context).write(sink, parallel=parallel)

    def take_back(self, context: JobContext, /, *, target: Target) -> Sequence[str]:
        with (
            self._server(context, target.label) as server,
            targets.exclusive(server, target.database) as session,
        ):
            return journal.leftovers(session, target.database)

    def restore_backup(
        self, source: StreamSource, facts: BackupFacts, context: JobContext, /, *, target: Target
    ) -> Restored:
        archive.check_streams(source, facts, self.family)
        with (
            self._server(context, target.label) as server,
            targets.exclusive(server, target.database) as session,
        ):
            warnings = journal.leftovers(session, target.database)
            state = targets.state_of(session, target.database)
            if state.exists and not state.empty and not target.replace:
                raise TargetExists(target.in_the_way)
            problems = preflight.restore(
                session,
                self.family,
                self._options.environ,
                facts=facts,
                target=target,
                state=state,
            )
            if problems:
                raise PreflightFailed(problems)
            series = catalogue.identity(session).series
            return Restore(
                server=server,
                tools=tools.choose(self.family, self._options.environ, series),
                session=session,
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
        archive.check_streams(source, facts, self.family)
        return archive.verify(source, facts, self.family, context)

    def unpack(
        self, source: StreamSource, facts: BackupFacts, dest: Path, context: JobContext, /
    ) -> Sequence[Path]:
        archive.check_streams(source, facts, self.family)
        return unpacking.unpack(source, facts, dest, context)

    def by_hand(self, facts: BackupFacts, /) -> Sequence[str]:
        return archive.by_hand(facts, self.family)

    def _server(
        self, context: JobContext, label: str = ""
    ) -> contextlib.AbstractContextManager[Server]:
        return Server(
            family=self.family,
            spec=self._spec,
            resolve=self._options.resolve,
            scratch=context.scratch,
            environ=self._options.environ,
            label=label or secrets.token_hex(6),
            cancelled=context.cancelled,
            files=Files(context.scratch),
        ).watched_at_the_end()


def _image_series(family: Family, version: str) -> str:
    """The series of an image for what the object says: "8.4", "8.4.3"; empty: the newest."""
    if not version:
        return family.newest
    known = (*family.past_end_of_life, *family.supported)
    for series in known:
        if version == series or version.startswith(f"{series}."):
            return series
    raise InvalidSpec([Problem("spec.databaseVersion", f"must be a series of {', '.join(known)}")])
