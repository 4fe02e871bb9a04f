"""A restore: into a database beside the target, which gets its name last.

Without the right to make databases there is one way: a backup of one data
stream, in one transaction, into an empty database that is there already.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from controller.api.errors import (
    AccessDenied,
    BackupError,
    DatabaseUnavailable,
    IntegrityError,
    PreflightFailed,
)
from engines import process
from engines.interface import (
    BackupFacts,
    JobContext,
    Progress,
    Restored,
    StreamName,
    StreamSource,
    Target,
)
from engines.postgres import (
    archive,
    catalogue,
    globals as database_globals,
    progress,
    roles,
    swap,
    target as targets,
)
from engines.postgres.build_order import BuildOrder
from engines.postgres.connection import (
    Server,
    Session,
    cancelling,
    driver_error,
    driver_errors,
    from_driver,
)
from engines.postgres.globals import DatabaseProperties, Globals
from engines.postgres.quoting import identifier, sql
from engines.postgres.restore_progress import Contents, RestoreTeller
from engines.postgres.target import TargetState
from engines.postgres.tools import Tools

#: A restore is not there until its rename is committed, and that commit flushes
#: everything before it: waiting for each earlier one gains nothing.
_SESSION = {
    "synchronous_commit": "off",
    "array_nulls": "on",  # these two would change what is loaded
    "transform_null_equals": "off",
}
#: For so long a statement waits for an autovacuum worker that has its table, until the server
#: ends that worker. By default that is a second, and a superuser's to change.
_DEADLOCK_TIMEOUT = "100ms"
_NOTHING: Mapping[str, int] = {}


class Restore:
    """One run of restore_backup, after the preflight and with the target's lock held."""

    def __init__(
        self,
        *,
        server: Server,
        tools: Tools,
        maintenance: Session,
        source: StreamSource,
        facts: BackupFacts,
        context: JobContext,
        target: Target,
        state: TargetState,
        warnings: Sequence[str] = (),
    ) -> None:
        self._server = server
        self._tools = tools
        self._maintenance = maintenance
        self._source = source
        self._facts = facts
        self._context = context
        self._target = target
        self._state = state
        self._warnings = list(warnings)
        self._settings = dict(_SESSION)

    def run(self) -> Restored:
        around = archive.read_globals(self._source)
        me = roles.ourselves(self._maintenance)
        if roles.may_set(self._maintenance, "deadlock_timeout", me):
            self._settings["deadlock_timeout"] = _DEADLOCK_TIMEOUT
        made: list[str] = []
        try:
            if self._target.owners:
                made, warnings = roles.create_missing(self._maintenance, around.roles, me)
                self._warnings += warnings
            if me.may_create_databases:
                return self._beside(around)
            return self._in_place()
        except BaseException as error:
            self._drop_roles(made, error)
            raise

    def _beside(self, around: Globals) -> Restored:
        name = targets.beside(self._target.database, self._server.label)
        try:
            self._create(name, around)
            self._load(name, around)
            counts = self._compare(name)
            kept = self._finish(name, around)
        except BaseException as error:
            try:
                targets.drop_surely(self._server, self._maintenance, self._target.database, name)
            except (BackupError, driver_error()) as further:
                error.add_note(f"left behind: DROP DATABASE {identifier(name)}; ({further})")
            raise
        return Restored(
            database=self._target.database,
            kept_as=kept,
            counts=counts,
            warnings=tuple(self._warnings),
        )

    def _create(self, name: str, around: Globals) -> None:
        create = f"CREATE DATABASE {identifier(name)} TEMPLATE template0 "
        with cancelling(self._maintenance, self._context.cancelled):
            try:
                self._maintenance.execute(sql(create + around.locale.create_options()))
                # Nobody needs to see a database that is half there.
                self._maintenance.execute(
                    sql(f"REVOKE ALL ON DATABASE {identifier(name)} FROM PUBLIC")
                )
            except driver_error() as error:
                if getattr(error, "sqlstate", None) in ("42809", "22023", "0A000", "42704"):
                    raise PreflightFailed(
                        f"the server cannot make a database with this locale: {error}; install "
                        f'the locale "{around.locale.locale or around.locale.collate}" there'
                    ) from error
                raise from_driver(error, "while creating the database") from error

    def _load(self, name: str, around: Globals) -> None:
        contents = archive.save_contents(self._source, self._facts, self._tools, self._context)
        order = BuildOrder(self._context.scratch)
        with _explained():
            listed = archive.listing(self._tools, contents, self._context.cancelled)
            teller = self._teller(Contents.of(order.noting(listed)))
        if not around.public_schema:
            with self._server.session(name) as session, driver_errors("while preparing"):
                session.execute("DROP SCHEMA IF EXISTS public")
        with progress.watched(self._server, name, teller):
            self._from_file(name, contents, teller, "--section=pre-data")
            streams = archive.data_streams(self._facts)
            process.run_together(
                [self._data_job(name, stream, teller) for stream in streams],
                self._context.cancelled,
                at_once=self._target.parallel,
            )
            teller.build()
            for options in order.steps(parallel=self._target.parallel):
                self._from_file(name, contents, teller, "--section=post-data", *options)
            self._analyze(name, teller)

    def _teller(self, contents: Contents) -> RestoreTeller:
        tables = contents.tables
        if not tables and not contents.has_partitions:
            tables = self._facts.counts.get("tables", 0)
        return RestoreTeller(
            self._context.report,
            total_bytes=sum(map(self._source.size, archive.data_streams(self._facts))),
            tables=tables,
            contents=contents,
            parallel=self._target.parallel,
        )

    def _from_file(self, name: str, contents: Path, teller: RestoreTeller, *options: str) -> None:
        command = self._command(name, teller, [*options, str(contents)])
        with _explained():
            process.run(command, self._context.cancelled)

    def _data_job(
        self, name: str, stream: StreamName, teller: RestoreTeller
    ) -> Callable[[threading.Event], None]:
        command = self._command(name, teller, ["--section=data"])

        def load(stop: threading.Event) -> None:
            reader = self._source.open(stream)
            try:
                with _explained():
                    process.feed_from(command, reader, stop, teller.moved)
            finally:
                reader.close()

        return load

    def _command(
        self, database: str, teller: RestoreTeller, options: Sequence[str]
    ) -> process.Command:
        argv = [
            self._tools.path("pg_restore"),
            f"--dbname={self._server.conninfo(database, receiving=False)}",
            "--format=custom",
            "--exit-on-error",
            "--no-password",
            "--verbose",
        ]
        if not self._target.owners:
            argv += ["--no-owner", "--no-privileges"]
        if self._missing_tablespaces():
            argv.append("--no-tablespaces")
        return process.Command(
            argv=[*argv, *options],
            environment=self._server.child_environment(**self._settings),
            secrets=self._server.secrets(),
            on_line=teller,
        )

    def _missing_tablespaces(self) -> list[str]:
        wanted = [
            key.removeprefix("tablespace:")
            for key in self._facts.needs
            if key.startswith("tablespace:")
        ]
        if not wanted:
            return []
        with (
            self._server.session(targets.maintenance_database(self._target.database)) as session,
            driver_errors("while looking at tablespaces"),
        ):
            there = session.execute("SELECT spcname FROM pg_catalog.pg_tablespace").fetchall()
        missing = sorted(set(wanted) - {name for (name,) in there})
        warning = f"missing tablespaces, everything went into the default one: {', '.join(missing)}"
        if missing and warning not in self._warnings:
            self._warnings.append(warning)
        return missing

    def _analyze(self, name: str, teller: RestoreTeller) -> None:
        """Without statistics the first queries would plan blindly; a failure costs only that."""
        with self._server.session(name) as session, driver_errors("while listing tables"):
            alone, partitioned = catalogue.analyzable(session)
        shares = [alone[start :: self._target.parallel] for start in range(self._target.parallel)]
        done = itertools.count(1)
        total = len(alone) + len(partitioned)

        def analyze(tables: Sequence[str]) -> Callable[[threading.Event], None]:
            def run(stop: threading.Event) -> None:
                with self._server.session(name) as session:
                    for setting, value in self._settings.items():
                        session.execute(sql(f"SET {setting} = '{value}'"))
                    for table in tables:
                        with cancelling(session, stop):
                            session.execute(sql(f"ANALYZE {table}"))
                        teller.report(
                            Progress(
                                stage="analyze",
                                done=next(done),
                                total=total,
                                unit="objects",
                                detail=table,
                            )
                        )

            return run

        try:
            process.run_together(
                [analyze(share) for share in shares if share], self._context.cancelled
            )
            # Partitions first: a parent's own statistics are over all of them.
            process.run_together([analyze(partitioned)], self._context.cancelled)
        except driver_error() as error:
            self._warnings.append(f"ANALYZE failed, run it by hand: {str(error).strip()}")

    def _compare(self, name: str) -> dict[str, int]:
        found = self._counts(name)
        if wrong := self._differences(found):
            raise IntegrityError(f"the restored database is not what was backed up: {wrong}")
        return found

    def _counts(self, name: str) -> dict[str, int]:
        with self._server.session(name) as session, driver_errors("while counting"):
            return catalogue.counts(session)

    def _differences(self, found: Mapping[str, int], before: Mapping[str, int] = _NOTHING) -> str:
        """What is not as in the backup, in words; what was there `before` may be in it, or not."""
        return "; ".join(
            f"{kind}: {found[kind]} instead of {number}"
            for kind, number in self._facts.counts.items()
            if kind in found and not found[kind] - before.get(kind, 0) <= number <= found[kind]
        )

    def _finish(self, name: str, around: Globals) -> str | None:
        """Privileges, settings, name. Not cancelled any more: it takes well under a second."""
        database = self._target.database
        process.raise_if(self._context.cancelled)
        if not self._state.exists:
            self._apply(name, around.properties, owner=self._target.owners, acl=self._target.owners)
            swap.give_name(self._server, self._maintenance, name, database)
            return None
        with driver_errors("while reading the replaced database's settings"):
            there = database_globals.read(self._maintenance, database).properties
        if self._state.empty and self._target.owners:
            there = swap.merged(there, around.properties)
        self._apply(name, there, owner=True, acl=True)
        kept = swap.swap(self._server, self._maintenance, name, database)
        if not self._state.empty:
            return kept
        # The database has its name: what happens to the empty one is no failure any more.
        with contextlib.suppress(BackupError, driver_error()):
            if swap.drop_if_bare(self._server, self._maintenance, kept):
                return None
        self._warnings.append(f'what had been the empty database is kept as "{kept}"')
        return kept

    def _apply(self, name: str, properties: DatabaseProperties, *, owner: bool, acl: bool) -> None:
        """What needs more rights than we have is a warning with the statement to run."""
        if not acl:  # --no-owner: the roles may be missing; PUBLIC gets back what it has by default
            properties = DatabaseProperties(
                owner=properties.owner,
                connection_limit=properties.connection_limit,
                comment=properties.comment,
                settings=properties.settings,
            )
        statements = properties.statements(name, owner=owner)
        final = identifier(self._target.database)
        for statement in sorted(statements, key=lambda text: " OWNER TO " in text):
            try:
                self._maintenance.execute(sql(statement))
            except driver_error() as error:
                if isinstance(from_driver(error, ""), DatabaseUnavailable):
                    raise from_driver(error, "while applying settings") from error
                shown = statement.replace(identifier(name), final)
                self._warnings.append(f"could not run {shown}; ({str(error).strip()})")

    def _in_place(self) -> Restored:
        database = self._target.database
        before = self._counts(database)  # services put schemas and extensions into a new database
        teller = self._teller(Contents())
        command = self._command(database, teller, ["--single-transaction"])
        reader = self._source.open(archive.data_streams(self._facts)[0])
        try:
            with progress.watched(self._server, database, teller), _explained():
                # Commits when it has read the last block, which is given out verified.
                process.feed_from(command, reader, self._context.cancelled, teller.moved)
        finally:
            reader.close()
        counts = self._look_after(database, before, teller)
        return Restored(database=database, counts=counts, warnings=tuple(self._warnings))

    def _look_after(
        self, database: str, before: Mapping[str, int], teller: RestoreTeller
    ) -> Mapping[str, int]:
        """It is committed: from here on nothing is a failure, which would say that it is not."""
        try:
            self._analyze(database, teller)
            found = self._counts(database)
        except (BackupError, driver_error()) as error:
            self._warnings.append(
                f"everything was restored; what comes after it was not done, run ANALYZE: {error}"
            )
            return _NOTHING
        if wrong := self._differences(found, before):
            self._warnings.append(f"the restored database is not what was backed up: {wrong}")
        return found

    def _drop_roles(self, made: Sequence[str], error: BaseException) -> None:
        for role in reversed(made):
            try:
                self._maintenance.execute(sql(f"DROP ROLE IF EXISTS {identifier(role)}"))
            except driver_error() as further:
                error.add_note(f"left behind: DROP ROLE {identifier(role)}; ({further})")


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    """The cause behind pg_restore's last words. Its own messages are in English (LC_ALL)."""
    try:
        yield
    except process.ProcessFailed as failed:
        text = failed.stderr
        if "connection" in text and "server" in text:
            raise DatabaseUnavailable(str(failed)) from failed
        if "unexpected end of file" in text or "could not read from input file" in text:
            raise IntegrityError(f"the archive ends early: {failed}") from failed
        if "permission denied" in text or "must be owner" in text or "must be able to" in text:
            raise AccessDenied(f"{failed}\nrestore as an owner, or with --no-owner") from failed
        raise BackupError(str(failed)) from failed
