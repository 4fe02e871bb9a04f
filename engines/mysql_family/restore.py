"""A restore: into a schema beside the target, whose tables take their place last."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

from controller.api.errors import BackupError, IntegrityError, PreflightFailed
from engines import process
from engines.interface import (
    BackupFacts,
    JobContext,
    Progress,
    Restored,
    StreamSource,
    Target,
)
from engines.mysql_family import (
    archive,
    catalogue,
    content,
    foreign_keys,
    generated,
    history,
    indexes,
    journal,
    progress,
    routine_rights,
    sequences,
    settings,
    swap,
    target as targets,
)
from engines.mysql_family.connection import Server, Session, use
from engines.mysql_family.content import Content
from engines.mysql_family.load import Load
from engines.mysql_family.objects import Definition
from engines.mysql_family.quoting import identifier, literal
from engines.mysql_family.swap import Swap
from engines.mysql_family.target import TargetState
from engines.mysql_family.tools import Tools

#: Under which names of `BackupFacts.counts` an object is, of those that may be left out.
_COUNTED_AS = {
    "VIEW": ("views",),
    "TRIGGER": ("triggers",),
    "FUNCTION": ("routines", "functions"),
    "PROCEDURE": ("routines",),
}


class Restore:
    """One run of restore_backup, after the preflight and with the target's lock held."""

    def __init__(
        self,
        *,
        server: Server,
        tools: Tools,
        session: Session,
        source: StreamSource,
        facts: BackupFacts,
        context: JobContext,
        target: Target,
        state: TargetState,
        warnings: Sequence[str] = (),
    ) -> None:
        self._server = server
        self._tools = tools
        self._session = session
        self._source = source
        self._facts = facts
        self._context = context
        self._target = target
        self._state = state
        self._warnings = list(warnings)

    def run(self) -> Restored:
        found = archive.read_objects(self._source)
        if not self._target.owners:
            found = [one.without_definer() for one in found]
        name = targets.beside(self._target.database, self._server.label)
        try:
            if self._state.exists and self._state.empty:
                # There is nothing in it yet that is worth a backup.
                targets.mark(self._session, self._target.database)
            targets.create(
                self._session,
                name,
                self._facts.needs.get("character set", "utf8mb4"),
                self._facts.needs["collation"],
            )
            load = Load(
                server=self._server,
                tools=self._tools,
                source=self._source,
                facts=self._facts,
                context=self._context,
                schema=name,
                database=self._target.database,
            )
            later = load.run(self._target.parallel)
            self._warnings += load.warnings
            history.lengthen(
                self._server,
                self._session,
                name,
                source_version=self._facts.server_version,
                report=self._context.report,
            )
            indexes.Making(
                server=self._server, context=self._context, schema=name, later=later
            ).run(self._target.parallel)
            made = self._make(name, found)
            counts = self._compare(name, left_out=set(found) - set(made))
            self._warnings += generated.warnings(self._session, name, self._target.database)
            kept = self._swap(name, made)
        except BaseException as error:
            self._drop(name, error)
            raise
        self._drop(name, None)
        self._warnings += journal.forget(self._session, self._target.database)
        self._comment()
        return Restored(
            database=self._target.database,
            kept_as=kept,
            counts=counts,
            warnings=tuple(self._warnings),
        )

    def _comment(self) -> None:
        """Last, as all else is whole without it; one that was there keeps its own."""
        comment = self._facts.needs.get(settings.COMMENT)
        if self._state.exists or not comment:
            return
        database = identifier(self._target.database)
        try:
            self._session.run(f"ALTER DATABASE {database} COMMENT {literal(comment)}")
        except BackupError as error:
            self._warnings.append(f"{database} has no comment ({error}), which was: {comment}")

    def _make(self, name: str, found: Sequence[Definition]) -> list[Definition]:
        """Make everything once where nobody sees it; returns what could be made.

        What the source could not have made any more is told, and left out.
        """
        use(self._session, name)
        collation = self._facts.needs["collation"]
        made: list[Definition] = []
        for number, one in enumerate(found, 1):
            process.raise_if(self._context.cancelled)
            try:
                there = one.moved(self._facts.database, name)
                content.make(
                    self._session, [there.disabled() if one.kind == "EVENT" else there], collation
                )
            except BackupError as error:
                is_any_left_out = len(made) + 1 < number
                if not content.is_past_making(one, error, is_any_left_out=is_any_left_out):
                    raise
                self._warnings.append(
                    f"the {one.kind.lower()} {identifier(one.name)} was broken when it was backed "
                    f"up, and is not made ({error}): {one.statement}"
                )
                continue
            made.append(one)
            self._context.report(
                Progress(
                    stage="objects", done=number, total=len(found), unit="objects", detail=one.name
                )
            )
        return made

    def _compare(self, name: str, *, left_out: Collection[Definition]) -> dict[str, int]:
        found = catalogue.counts(self._session, name)
        not_made = Counter(kind for one in left_out for kind in _COUNTED_AS.get(one.kind, ()))
        expected = {kind: number - not_made[kind] for kind, number in self._facts.counts.items()}
        wrong = "; ".join(
            f"{kind}: {found[kind]} instead of {number}"
            for kind, number in expected.items()
            if kind in found and found[kind] != number
        )
        if wrong:
            raise IntegrityError(f"the restored database is not what was backed up: {wrong}")
        return found

    def _swap(self, name: str, made: Sequence[Definition]) -> str | None:
        """Not cancelled any more: it takes some milliseconds a table, and is taken back whole."""
        process.raise_if(self._context.cancelled)
        database = self._target.database
        character_set, collation = catalogue.charset(self._session, name)
        use(self._session, name)
        for one in made:
            if one.kind == "TRIGGER":
                self._session.run(*one.drop())
        new = Content(
            schema=name,
            character_set=character_set,
            collation=collation,
            tables=catalogue.tables(self._session, name),
            definitions=[one.moved(self._facts.database, database) for one in made],
        )
        defaults = sequences.defaults(self._session, name) if new.has_sequences else []
        self._session.run(*sequences.take_away(defaults, name))
        keys = foreign_keys.loose(self._session, name, new.tables, of=database)
        self._session.run(*foreign_keys.take_away(keys, name))
        old = Content.of(self._session, database) if self._state.exists else None
        kept = None
        if self._state.exists and not self._state.empty:
            kept = swap.kept_name(self._session, database)
            # Again: loading may have taken hours.
            if problems := foreign_keys.hindrances(self._session, database):
                raise PreflightFailed(problems)
        swapping = Swap(
            self._session,
            beside=name,
            database=database,
            new=new,
            old=old,
            label=self._server.label,
            defaults=defaults,
            keys=keys,
            rights=routine_rights.read(self._session, database, old.definitions if old else ()),
        )
        stage = progress.Stage("swap", self._context.report)
        with progress.watched(self._server, [self._session], stage):
            self._warnings += swapping.run(kept)
        return kept

    def _drop(self, name: str, error: BaseException | None) -> None:
        def drop(session: Session) -> None:
            targets.drop(session, name)
            journal.settle(session, self._target.database)

        try:
            targets.surely(self._server, self._session, drop)
        except BackupError as further:
            said = f"left behind: DROP DATABASE {identifier(name)}; ({further})"
            if error is not None:
                error.add_note(said)
            else:
                self._warnings.append(said)
