"""The CockroachDB engine: the protocol's methods, each a few lines over this folder's nouns."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from controller.api.errors import (
    FormatError,
    InvalidSpec,
    ObjectNotFound,
    PreflightFailed,
    Problem,
    TargetExists,
)
from controller.api.locations import BackupLocation
from controller.api.v1 import CockroachSpec
from engines.cockroach import databases, jobs, locations, rights, statements, versions
from engines.cockroach.connection import Cluster, connected, server_of
from engines.cockroach.databases import NO_SWAP, Database
from engines.cockroach.layers import Chain, extend_or_end
from engines.cockroach.restore import Restore
from engines.external_store import Collection, StoredLayer
from engines.interface import (
    BackupFacts,
    InitOptions,
    JobContext,
    PodSpec,
    Purpose,
    Restored,
    Target,
)


class CockroachEngine:
    """Backups that the cluster writes by itself; restores beside the target and swaps."""

    _options: InitOptions
    _spec: CockroachSpec

    def init(self, options: InitOptions, /) -> None:
        if not isinstance(options.spec, CockroachSpec):
            raise InvalidSpec([Problem("spec.cockroach", "is missing")])
        self._options = options
        self._spec = options.spec
        problems = list(locations.problems_of(options.locations))
        if options.version and not versions.is_known(options.version):
            problems.append(
                Problem(
                    "spec.databaseVersion",
                    f"must be a version of CockroachDB from {versions.OLDEST} on",
                )
            )
        if bool(self._spec.cert) != bool(self._spec.cert_key):
            name = "certKey" if self._spec.cert else "cert"
            problems.append(
                Problem(f"spec.cockroach.{name}", "is missing: a certificate needs its key")
            )
        if problems:
            raise InvalidSpec(problems)

    def pod_spec(self, *, image_prefix: str, release: str) -> PodSpec:
        (image,) = versions.SUPPORTED
        return PodSpec(image=f"{image_prefix}-cockroach:{image}-{release}")

    def preflight(
        self,
        context: JobContext,
        /,
        *,
        purpose: Purpose,
        facts: BackupFacts | None = None,
        target: Target | None = None,
    ) -> Sequence[Problem]:
        with self._connected(context) as cluster:
            if purpose is Purpose.BACKUP:
                for said in versions.LOSES_DATA.told(cluster.version):
                    context.warn(said)
                return self._backup_problems(cluster)
            if facts is None or target is None:
                raise TypeError("a restore's preflight needs facts and a target")
            found = databases.look(cluster, target.database)
            problems = self._restore_problems(cluster, facts, target, found)
        if found and found.tables and not target.replace:
            problems.append(Problem("target", target.in_the_way))
        return problems

    def by_hand(self, facts: BackupFacts, /) -> Sequence[str]:
        return statements.by_hand(facts.database, facts.coverage.end)

    # -- the database stores by itself -----------------------------------------

    def folders_in_use(
        self, location: BackupLocation, parent: str, context: JobContext, /
    ) -> Mapping[str, bool]:
        place = locations.place_of(location, parent)
        with self._connected(context) as cluster:
            found: dict[str, bool] = {}
            for job in jobs.jobs(cluster, "BACKUP"):
                folder = job.folder_below(place)
                if folder and (job.has_succeeded or not job.is_ended):
                    found.setdefault(folder, not job.is_ended)
            return found

    def store_layer(
        self, collection: Collection, context: JobContext, /, *, since: BackupFacts | None
    ) -> StoredLayer:
        with self._connected(context) as cluster:
            problems = self._backup_problems(cluster)
            if problems:
                raise PreflightFailed(problems)
            chain = self._chain(cluster, collection)
            if since is None:
                return chain.begin(context)
            return extend_or_end(chain, since, context)

    def stored_layers(
        self, collection: Collection, context: JobContext, /, *, check_files: bool = True
    ) -> Sequence[StoredLayer]:
        with self._connected(context) as cluster:
            return self._chain(cluster, collection).layers(context, check_files=check_files)

    def restore_layer(
        self,
        collection: Collection,
        facts: BackupFacts,
        context: JobContext,
        /,
        *,
        at: datetime,
        target: Target,
    ) -> Restored:
        with self._connected(context, target.label) as cluster:
            parent = _parent(collection)
            warnings = databases.clear_leftovers(
                cluster,
                target.database,
                context,
                is_ours=lambda job: bool(job.folder_below(parent)),
            )
            found = databases.look(cluster, target.database)
            if found and found.tables and not target.replace:
                raise TargetExists(target.in_the_way)
            problems = self._restore_problems(cluster, facts, target, found)
            if problems:
                raise PreflightFailed(problems)
            theirs = versions.version_of(facts.server_version)
            warnings += [
                f"look at what was restored: {said}" for said in versions.LOSES_DATA.told(theirs)
            ]
            chain = self._chain(cluster, collection)
            return Restore(
                cluster=chain.cluster,
                uri=chain.uri,
                passphrase=chain.passphrase,
                facts=facts,
                at=at,
                target=target,
                found=found,
                context=context,
                warnings=tuple(warnings),
            ).run()

    # -- parts ------------------------------------------------------------------

    @contextlib.contextmanager
    def _connected(self, context: JobContext, label: str = "") -> Iterator[Cluster]:
        server = server_of(self._spec, self._options, context, label=label or secrets.token_hex(6))
        with connected(server) as cluster:
            yield cluster

    def _chain(self, cluster: Cluster, collection: Collection) -> Chain:
        uri = locations.uri_of(collection, cluster.version, self._options.resolve)
        hidden = uri.secrets + ((collection.passphrase,) if collection.passphrase else ())
        parent = _parent(collection)
        place = locations.place_of(collection.location, collection.folder)
        folder = place.removeprefix(parent).rstrip("/")
        return Chain(
            cluster=cluster.hiding(*hidden),
            database=self._spec.database,
            uri=uri.text,
            passphrase=collection.passphrase,
            is_job_ours=lambda job: job.folder_below(parent) == folder,
        )

    def _backup_problems(self, cluster: Cluster) -> list[Problem]:
        found = self._release_problems(cluster)
        database = databases.look(cluster, self._spec.database)
        if database is None:
            raise ObjectNotFound(
                f'the database "{self._spec.database}" does not exist on '
                f"{self._spec.host}:{self._spec.port}, or {self._spec.user} may not CONNECT to it"
            )
        mine = rights.read(cluster, self._spec.user)
        granted = rights.on_database(cluster, self._spec.database, mine)
        found += rights.missing_for_backup(
            mine,
            self._spec.database,
            granted,
            owner=database.owner,
            external_io=self._needs_external_io(),
        )
        return found

    def _restore_problems(
        self, cluster: Cluster, facts: BackupFacts, target: Target, found: Database | None
    ) -> list[Problem]:
        if facts.engine != "cockroach" or facts.engine_version != versions.LAYOUT:
            raise FormatError(
                f"a backup of {facts.engine}, layout {facts.engine_version[:40]!r}: this engine "
                f"reads layout {versions.LAYOUT} of cockroach"
            )
        problems = self._release_problems(cluster)
        problems += [Problem("server", said) for said in versions.SPLITS_ROWS.told(cluster.version)]
        theirs = versions.version_of(facts.server_version)
        if cluster.version < theirs:
            problems.append(
                Problem(
                    "server",
                    f"the backup is of {facts.server_version}, and {cluster.server_version} cannot "
                    f"read it: restore into {theirs} or the version after it",
                )
            )
        mine = rights.read(cluster, self._spec.user)
        problems += rights.missing_for_restore(
            mine,
            external_io=self._needs_external_io(),
            replaced=(target.database, found.owner) if found else None,
        )
        if found and found.has_views and target.replace:
            problems.append(Problem("target", f'"{target.database}" has views. {NO_SWAP}'))
        return problems

    def _release_problems(self, cluster: Cluster) -> list[Problem]:
        return [
            *_old(cluster),
            *locations.problems_with(self._options.locations, cluster.version),
        ]

    def _needs_external_io(self) -> bool:
        return locations.needs_external_io(self._options.locations)


def _parent(collection: Collection) -> str:
    """The folder of all of an object's collections, as it stands in a job's description."""
    place = locations.place_of(collection.location, collection.folder).rstrip("/")
    return place[: place.rfind("/") + 1]


def _old(cluster: Cluster) -> list[Problem]:
    if cluster.version >= versions.OLDEST:
        return []
    text = f"{cluster.server_version} is too old; {versions.OLDEST} is the oldest known"
    return [Problem("server", text)]
