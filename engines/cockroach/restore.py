"""A restore: under a name of its own, then by rename."""

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
_PRIVILEGES = (
    "privileges are not part of the backup, and the restored database is owned by who restored "
    "it: GRANT what its users need"
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
        """Restore beside, then give the name.

        The cluster shows nothing of a database before all of it is restored; a job that fails or is
        cancelled takes back what it made.
        """
        made = databases.beside(self.target.database, self.target.label)
        self.context.report(jobs.beginning(_STAGE))
        try:
            row = self.cluster.row(
                "while beginning the restore",
                *statements.restore(
                    self.facts.database, self.uri, self.passphrase, at=self.at, into=made
                ),
            )
            jobs.wait(self.cluster, jobs.started(row), self.context, stage=_STAGE)
            tables = databases.count_tables(self.cluster, made)
            kept = self._name(made)
        except BaseException as error:
            self._take_back(made, error)
            raise
        return Restored(
            database=self.target.database,
            kept_as=kept,
            counts={"tables": tables},
            warnings=(*self.warnings, *self._words(tables)),
        )

    def _name(self, made: str) -> str | None:
        name = self.target.database
        if self.found is None:
            databases.give_name(self.cluster, made, name)
            return None
        if self.found.tables and not self.target.replace:
            raise TargetExists(self.target.in_the_way)
        kept = databases.swap(self.cluster, made, name)
        if self.found.tables or databases.count_tables(self.cluster, kept):
            return kept
        databases.drop(self.cluster, kept)
        return None

    def _words(self, tables: int) -> list[str]:
        words = [_PRIVILEGES]
        there = self.facts.counts.get("tables", tables)
        if self.at == self.facts.coverage.end and tables != there:
            words.append(f"{tables} tables were restored, the backup has {there}")
        return words

    def _take_back(self, made: str, error: BaseException) -> None:
        try:
            databases.drop(self.cluster, made)
        except BackupError as further:
            error.add_note(f'"{made}" may be left on the cluster: {further}')
