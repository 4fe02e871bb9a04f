"""A restore: into a name that is free, or beside what is to be replaced and then by rename."""

from __future__ import annotations

from datetime import datetime

from attrs import frozen

from controller.api.errors import BackupError, TargetExists
from controller.api.secrets import Secret
from engines.cockroach import databases, jobs, statements
from engines.cockroach.connection import Cluster
from engines.cockroach.databases import Database
from engines.interface import BackupFacts, JobContext, Restored, Target

_STAGE = "restore"
_NOT_THERE = (
    "privileges and zone configurations are not part of the backup, and the restored database is "
    "owned by who restored it: GRANT what its users need, and set gc.ttlseconds again if it was "
    "raised"
)


@frozen(kw_only=True)
class Restore:
    """One state of a chain into one target.

    Args:
        found: what is there under the target's name.
        warnings: what was met before.
    """

    cluster: Cluster
    uri: Secret
    passphrase: Secret | None
    facts: BackupFacts
    at: datetime
    target: Target
    found: Database | None
    context: JobContext
    warnings: tuple[str, ...] = ()

    def run(self) -> Restored:
        """Restore under the target's name if that is free, else beside it, and swap.

        The cluster shows nothing of a database before all of it is restored; a job that fails or is
        cancelled takes back what it made. So a free name needs no rename, which is as well: a
        database with views cannot be renamed.
        """
        name = self.target.database
        if self.found is None:
            tables, kept = self._fill(name), None
        elif not self.found.tables:
            tables, kept = self._fill_empty(name)
        elif self.target.replace:
            tables, kept = self._replace(name)
        else:
            raise TargetExists(self.target.in_the_way)
        return Restored(
            database=name,
            kept_as=kept,
            counts={"tables": tables},
            warnings=(*self.warnings, *self._words(tables)),
        )

    def _fill(self, name: str) -> int:
        """Make the database `name`. Returns: how many tables it has."""
        self.context.report(jobs.beginning(_STAGE))
        row = self.cluster.row(
            "while beginning the restore",
            *statements.restore(
                self.facts.database, self.uri, self.passphrase, at=self.at, into=name
            ),
        )
        jobs.wait(self.cluster, jobs.started(row), self.context, stage=_STAGE)
        return databases.count_tables(self.cluster, name)

    def _fill_empty(self, name: str) -> tuple[int, str | None]:
        """In the place of a database without tables, which may hold something else yet."""
        shell = databases.move_away(self.cluster, name)
        try:
            tables = self._fill(name)
        except BaseException as error:
            databases.move_back(self.cluster, shell, name, error)
            raise
        return tables, None if databases.dropped_if_empty(self.cluster, shell) else shell

    def _replace(self, name: str) -> tuple[int, str | None]:
        made = databases.beside(name, self.target.label)
        try:
            return self._fill(made), databases.swap(self.cluster, made, name)
        except BaseException as error:
            self._drop(made, error)
            raise

    def _words(self, tables: int) -> list[str]:
        words = [_NOT_THERE]
        there = self.facts.counts.get("tables", tables)
        if self.at == self.facts.coverage.end and tables != there:
            words.append(f"{tables} tables were restored, the backup has {there}")
        return words

    def _drop(self, made: str, error: BaseException) -> None:
        try:
            databases.drop(self.cluster, made)
        except BackupError as further:
            error.add_note(f'"{made}" may be left on the cluster: {further}')
