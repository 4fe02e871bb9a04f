"""A backup that the database stores by itself: a layer of a chain, proven, copied, committed.

The database writes into one location, the chain's home. What it wrote is copied to the others,
so that it reads its data once. ADR 0016.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from controller.api.errors import (
    BackupError,
    Cancelled,
    ChecksumMismatch,
    DatabaseUnavailable,
    FormatError,
    InvalidSpec,
    ObjectExists,
    Problem,
    TerminalError,
)
from controller.api.version import version
from engines.external_store import ChainEnded, Collection, ExternalStore, StoredLayer
from runner.jobs.collections import to_write
from runner.jobs.environment import JobEnvironment, JobFailure
from runner.jobs.fates import Fates
from runner.jobs.inspect import inspect
from runner.jobs.prune import candidates
from runner.locations import Location, Locations
from runner.outcome import JobOutcome
from runner.repository.catalogue import Listing
from runner.repository.chain import Chain, to_extend
from runner.repository.layout import BackupId, new_backup_id, parse_backup_id
from runner.repository.manifest import (
    ENGINE_COMPRESSION,
    LAYER_VERSION,
    Encryption,
    EncryptionKind,
    Layer,
    Manifest,
    Owner,
)
from runner.retention.policy import labels_at_birth, policy_of
from runner.storage.base import ObjectInfo
from runner.storage.copying import copy_object

#: The database does not answer, or a person has to change something, or wants it so.
_ENDS_THE_JOB = (DatabaseUnavailable, TerminalError, Cancelled)
#: The database's own commit records of a layer: copied after everything that they name.
_RECORDS = ("BACKUP_METADATA", "BACKUP_MANIFEST")


class StoredBackup:
    """The steps of one backup, in their order."""

    def __init__(
        self,
        job: JobEnvironment,
        engine: ExternalStore,
        locations: Locations,
        started_at: datetime,
        cluster_id: str,
    ) -> None:
        self._job = job
        self._engine = engine
        self._locations = locations
        self._started_at = started_at
        self._cluster_id = cluster_id
        self._id = new_backup_id(started_at)
        self._fates = Fates(job, locations, started_at)
        self._listed: list[tuple[Location, Listing]] = []

    def run(self) -> JobOutcome:
        self._listed = self._fates.check(self._cluster_id)
        ready = [location for location, _ in self._listed]
        if not ready:
            raise self._fates.incomplete(self._id, 0)
        self._check_passphrases(ready)
        while True:
            home, chain, stored = self._store(ready)
            self._job.events.stage("commit")
            below = [home.catalogue.manifest(one) for one in chain.ids] if chain else []
            manifest = self._commit(home, below, stored)
            committed = [home, *self._copy(home, [*below, manifest], ready)]
            if not stored.was_found:
                break
            ready = self._after_found(manifest)
        if self._fates.are_enough:
            self._fates.prune(committed, self._cluster_id)
        inspect(self._job, self._locations)
        incremental = bool(below)
        if not self._fates.are_enough:
            raise self._fates.incomplete(self._id, manifest.plain_bytes, incremental=incremental)
        return self._fates.outcome(self._id, manifest.plain_bytes, incremental=incremental)

    def _after_found(self, manifest: Manifest) -> list[Location]:
        """Make ready for a backup of now. Returns: the locations that can take it.

        What an earlier job began is kept, but is no answer to whoever asks for a backup today.
        """
        self._job.events.warning(
            f"{manifest.id} was begun by an earlier job and holds the state of "
            f"{manifest.facts.coverage.end:%Y-%m-%d %H:%M:%S} UTC; one of now follows"
        )
        self._id = new_backup_id(self._started_at)
        self._fates.stored_bytes.clear()
        self._listed = [
            one
            for one in self._fates.check(self._cluster_id)
            if one[0].name not in self._fates.errors
        ]
        ready = [location for location, _ in self._listed]
        if not ready:
            raise self._fates.incomplete(manifest.id, 0)
        return ready

    # -- the database's part ----------------------------------------------------

    def _store(self, ready: Sequence[Location]) -> tuple[Location, Chain | None, StoredLayer]:
        """Have a layer stored: where, onto which chain (None: it begins one), and what it is.

        Raises: JobFailure; DatabaseUnavailable, Cancelled, and what only a person can mend.
        """
        stored = self._adopt(ready) or self._extend(ready)
        if stored is not None:
            return stored
        last: BackupError | None = None
        for home in ready:
            try:
                return home, None, self._begin(home)
            except _ENDS_THE_JOB:
                raise
            except BackupError as error:
                # The bucket may be what the database cannot reach, while we can.
                self._fates.fail(home.name, error, "backup")
                last = error
        assert last is not None  # noqa: S101 - there was a location to try
        raise JobFailure(last, self._fates.outcome(self._id, 0))

    def _adopt(self, ready: Sequence[Location]) -> tuple[Location, None, StoredLayer] | None:
        """Go on with a full backup whose runner died, if there is one that is of use."""
        found = self._unfinished(ready)
        if found is None:
            return None
        home, self._id = found
        self._job.events.warning(
            f"going on with the backup {self._id} in {home.name}: the database's job outlived the "
            "runner's"
        )
        try:
            return home, None, self._begin(home)
        except _ENDS_THE_JOB:
            raise
        except BackupError as error:
            self._job.events.warning(f"{self._id} is of no use, another one is begun: {error}")
            self._id = new_backup_id(self._started_at)
            return None

    def _unfinished(self, ready: Sequence[Location]) -> tuple[Location, BackupId] | None:
        """Where the job of a runner that died writes, or wrote, the first layer of a chain.

        Its folder has the id that the backup was to have.
        """
        known = {backup.id for _, listing in self._listed for backup in listing.backups}
        known |= {one.id for _, listing in self._listed for one in listing.unreadable}
        for location in ready:
            folders = self._engine.folders_in_use(
                location.spec, location.layout.data, self._job.context
            )
            for name, is_at_it in folders.items():
                try:
                    found = parse_backup_id(name)
                except FormatError:
                    continue
                # What a job has finished may have been deleted since.
                if found not in known and (is_at_it or self._holds_data(location, found)):
                    return location, found
        return None

    @staticmethod
    def _holds_data(location: Location, backup_id: BackupId) -> bool:
        return any(True for _ in location.storage.list(location.layout.backup_data(backup_id)))

    def _extend(self, ready: Sequence[Location]) -> tuple[Location, Chain, StoredLayer] | None:
        """Go on with the newest chain; None if that is not possible."""
        chain = to_extend(
            {
                backup.id: backup for _, listing in self._listed for backup in listing.backups
            }.values(),
            {
                location.name: {backup.id for backup in listing.backups}
                for location, listing in self._listed
            },
            now=self._started_at,
        )
        if chain is None:
            return None
        (home,) = (location for location in ready if location.name == chain.home)
        self._job.events.started("backup", backupId=self._id)
        try:
            since = home.catalogue.manifest(chain.newest.id).facts
            stored = self._engine.store_layer(
                self._collection(home, chain.id), self._job.context, since=since
            )
        except ChainEnded as ended:
            self._job.events.warning(f"the chain {chain.id} ends, a full backup follows: {ended}")
            return None
        return home, chain, stored

    def _begin(self, home: Location) -> StoredLayer:
        """A full backup in a folder of its own, which is taken back if it fails."""
        self._job.events.started("backup", backupId=self._id)
        try:
            return self._engine.store_layer(
                self._collection(home, self._id), self._job.context, since=None
            )
        except DatabaseUnavailable:
            raise  # the database may go on: what it writes is found again, or swept
        except BackupError as error:
            self._discard(home, error)
            raise

    def _discard(self, home: Location, error: BackupError) -> None:
        """Each step for itself: without the right to list uploads, data can still be deleted."""
        folder = home.layout.backup_data(self._id)
        for step in (
            lambda: home.storage.abort_stale_uploads(folder),
            lambda: home.catalogue.discard(self._id),
        ):
            try:
                step()
            except BackupError as further:
                error.add_note(f"not all of {self._id} could be taken back: {further}")

    def _collection(self, location: Location, chain: BackupId) -> Collection:
        return to_write(location, self._job.config.backup.spec.database_type, chain)

    def _check_passphrases(self, ready: Sequence[Location]) -> None:
        """Copies are opened with the passphrase of the home: there can be but one.

        Raises: InvalidSpec.
        """
        made = {self._collection(location, self._id).passphrase for location in ready}
        if len(made) > 1:
            raise InvalidSpec(
                [
                    Problem(
                        "backupLocations",
                        "have different passphrases: the database encrypts once, and what it wrote "
                        "is copied; give all of them the same encryptionPass",
                    )
                ]
            )

    # -- ours ---------------------------------------------------------------------

    def _commit(self, home: Location, below: Sequence[Manifest], stored: StoredLayer) -> Manifest:
        """Make the backup exist at home: everything of it is there, the database has looked."""
        began_at = self._started_at
        if stored.was_found:
            began_at = min(began_at, stored.facts.coverage.end)
            # That of a full one is its folder's, which has it from its beginning.
            self._id = new_backup_id(began_at) if below else self._id
        manifest = self._manifest(home, below, stored, began_at)
        manifest.check()
        home.catalogue.commit(manifest)
        self._fates.stored_bytes[home.name] = manifest.stored_bytes
        return manifest

    def _manifest(
        self, home: Location, below: Sequence[Manifest], stored: StoredLayer, began_at: datetime
    ) -> Manifest:
        chain_id = below[0].id if below else self._id
        layers = [one.layer for one in below if one.layer]
        objects = self._objects(home, chain_id)
        metadata = self._job.config.backup.metadata
        return Manifest(
            format_version=LAYER_VERSION,
            id=self._id,
            owner=Owner(namespace=metadata.namespace, name=metadata.name),
            cluster_id=self._cluster_id,
            runner_version=version(),
            config_digest=self._job.config.digest(),
            started_at=began_at,
            finished_at=self._job.clock.now(),
            facts=stored.facts,
            streams=(),
            encryption=Encryption(
                kind=EncryptionKind.ENGINE if home.keyring.encrypts else EncryptionKind.NONE
            ),
            compression=ENGINE_COMPRESSION,
            labels=labels_at_birth(
                began_at,
                [tuple(candidates(listing)) for _, listing in self._listed],
                policy_of(self._job.config.backup.spec),
            ),
            layer=Layer(
                chain=chain_id,
                number=len(below),
                home=home.name,
                plain_bytes=stored.plain_bytes,
                stored_bytes=max(
                    0,
                    sum(info.size_bytes for info in objects)
                    - sum(layer.stored_bytes for layer in layers),
                ),
                objects=max(0, len(objects) - sum(layer.objects for layer in layers)),
            ),
        )

    @staticmethod
    def _objects(location: Location, chain: BackupId) -> list[ObjectInfo]:
        return list(location.storage.list(location.layout.backup_data(chain)))

    # -- the other locations ---------------------------------------------------------

    def _copy(
        self, home: Location, layers: Sequence[Manifest], ready: Sequence[Location]
    ) -> list[Location]:
        """Bring the whole chain to the other locations, the layers that they missed, too."""
        others = [location for location in self._fates.left(ready) if location is not home]
        if not others:
            return []
        objects = self._objects(home, layers[0].id)
        answers = self._job.ask(
            "copy", others, lambda location: self._copy_to(location, home, objects, layers)
        )
        copied = []
        for location in others:
            answer = answers[location.name]
            if isinstance(answer, BackupError):
                self._fates.fail(location.name, answer, "copy")
            else:
                self._fates.stored_bytes[location.name] = layers[-1].stored_bytes
                copied.append(location)
        return copied

    def _copy_to(
        self,
        location: Location,
        home: Location,
        objects: Sequence[ObjectInfo],
        layers: Sequence[Manifest],
    ) -> None:
        """Copy what is missing, the database's own records last, then commit layer by layer."""
        chain = layers[0].id
        source, target = home.layout.backup_data(chain), location.layout.backup_data(chain)
        there = {
            info.key.removeprefix(target): info.size_bytes
            for info in self._objects(location, chain)
        }
        for info in sorted(objects, key=_is_record):
            name = info.key.removeprefix(source)
            if there.get(name) == info.size_bytes:
                continue
            if self._job.context.cancelled.is_set():
                raise Cancelled("the job was ended")
            copied = copy_object(home.storage, info.key, location.storage, target + name)
            if copied.size_bytes != info.size_bytes:
                raise ChecksumMismatch(f"the copy of {info.key} has another size")
        held = {backup.id for backup in self._listing(location).backups}
        for manifest in layers:
            if manifest.id not in held:
                try:
                    location.catalogue.commit(manifest)
                except ObjectExists:
                    continue

    def _listing(self, location: Location) -> Listing:
        return next(listing for one, listing in self._listed if one is location)


def _is_record(info: ObjectInfo) -> tuple[bool, str]:
    name = info.key.rpartition("/")[2]
    return name.startswith(_RECORDS), info.key
