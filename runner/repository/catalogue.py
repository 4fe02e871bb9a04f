"""The backups of one owner in one location, as its listing says.

The bucket is the only catalogue. `_manifests/` is listed each time; the index
spares reading every manifest anew and is believed entry by entry, only where
the listing shows the same object. Deleting it costs time, nothing else.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection, Iterable, Sequence, Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

from attrs import frozen

from controller.api.errors import (
    BackupError,
    ForeignOwner,
    FormatError,
    IntegrityError,
    ObjectExists,
    ObjectNotFound,
)
from controller.process.logging import kv
from runner.records import from_json, to_json
from runner.repository.index import Index, IndexEntry, Summary
from runner.repository.layout import BackupId, Layout
from runner.repository.manifest import (
    MAX_MANIFEST_BYTES,
    Manifest,
    decode_manifest,
    encode_manifest,
)
from runner.repository.owner import OwnerRecord
from runner.storage.base import ObjectInfo, Storage

log = logging.getLogger(__name__)

#: Manifests fetched at once when the index does not have them.
_FETCHES = 16
#: Manifests read between two writes of the index.
_BATCH = 500
#: Owner and state are small; a larger one is not ours, and parsed it takes thirty times as much.
MAX_RECORD_BYTES = 64 * 1024
#: An entry of the index has 500 bytes, 2 KiB with the 32 labels that there may be.
MAX_INDEX_ENTRY_BYTES = 2 * 1024
#: Manifests are fetched many at a time and taken apart one by one: what a hostile one costs is
#: spent once, and threads would not make it faster.
_decoding = threading.Lock()


@frozen(kw_only=True)
class Unreadable:
    """A committed backup whose manifest this version cannot read: kept, never touched."""

    id: BackupId
    problem: str


@frozen(kw_only=True)
class Listing:
    """All committed backups, the oldest first by their own start."""

    backups: tuple[Summary, ...]
    unreadable: tuple[Unreadable, ...] = ()


class Catalogue:
    """Reads and changes what one location holds of one owner.

    Threads: not thread-safe; made once per job and location.
    """

    def __init__(self, storage: Storage, layout: Layout) -> None:
        self._storage = storage
        self._layout = layout
        self._removed: set[BackupId] = set()
        self._vanished: set[BackupId] = set()

    @property
    def layout(self) -> Layout:
        return self._layout

    @property
    def vanished(self) -> AbstractSet[BackupId]:
        """Backups that the index had, that are gone, and that no prune removed.

        A lifecycle rule of the bucket does that, or a person. Each is missed until a listing
        writes the index: whoever counts them does that. Where the index is lost, or far too large
        for the few that are left, nothing is missed: that shows in their count.
        """
        return self._vanished

    def list(self, *, use_index: bool = True, update_index: bool = False) -> Listing:
        """List every committed backup.

        Args:
            use_index: believe the index where it fits. Who deletes does not:
                only the manifests themselves say what may go.
            update_index: write what was missing into the index; best effort.
        Raises: StorageUnavailable, AccessDenied. One bad manifest fails nothing.
        """
        present = self._committed()
        known = self._read_index(len(present)) if use_index else {}
        entries = {
            backup_id: entry
            for backup_id, entry in known.items()
            if backup_id in present and entry.describes(present[backup_id])
        }
        missing = [info for backup_id, info in present.items() if backup_id not in entries]
        stale = len(entries) != len(known)
        self._miss(known.keys() - present.keys() - self._removed, is_last=update_index)
        unreadable: list[Unreadable] = []
        # In batches, so that a look that is cut off spares the next one what it read.
        for start in range(0, len(missing), _BATCH):
            fetched, bad = self._fetch(missing[start : start + _BATCH])
            entries.update(fetched)
            unreadable += bad
            stale = stale or bool(fetched)
            if update_index and use_index and stale:
                self._write_index(entries)
                stale = False
        if update_index and stale:
            self._write_index(entries)
        backups = sorted(
            (entry.summary for entry in entries.values()),
            key=lambda summary: (summary.started_at, summary.id),
        )
        return Listing(backups=tuple(backups), unreadable=tuple(unreadable))

    def manifest(self, backup_id: BackupId) -> Manifest:
        """Read one backup's manifest.

        Raises: ObjectNotFound, FormatError.
        """
        try:
            raw = self._read(self._layout.manifest(backup_id), MAX_MANIFEST_BYTES)
        except ObjectNotFound as error:
            # A missing bucket is told the same way; only a listing tells them apart.
            self._committed()
            raise ObjectNotFound(f"there is no backup {backup_id} here") from error
        with _decoding:
            manifest = decode_manifest(raw)
        if manifest.id != backup_id:
            raise FormatError(f"the manifest of {backup_id} says that it is {manifest.id}")
        owner = manifest.owner
        if (owner.namespace, owner.name) != (self._layout.namespace, self._layout.name):
            raise FormatError(
                f"backup {backup_id} belongs to {owner.namespace}/{owner.name}: it was copied here"
            )
        return manifest

    def commit(self, manifest: Manifest) -> ObjectInfo:
        """Make the backup exist: its manifest, last and create-only."""
        return self._storage.put_new(self._layout.manifest(manifest.id), encode_manifest(manifest))

    def remove(self, backup_id: BackupId) -> None:
        """Delete a backup: the manifest first, so that half a deletion is no backup."""
        self._removed.add(backup_id)
        self._storage.delete([self._layout.manifest(backup_id)])
        self.discard(backup_id)

    def discard(self, backup_id: BackupId) -> None:
        """Delete the data of a backup that has no manifest.

        Raises: ObjectExists if it has one: that is not ours to discard.
        """
        try:
            self._storage.stat(self._layout.manifest(backup_id))
        except ObjectNotFound:
            folder = self._layout.backup_data(backup_id)
            self._storage.delete([info.key for info in self._storage.list(folder)])
        else:
            raise ObjectExists(f"backup {backup_id} is committed: its data stays")

    def orphans(self, now: datetime, grace: timedelta) -> Sequence[BackupId]:
        """What interrupted deletions and failed backups left: data without a manifest.

        Args:
            grace: data whose newest object is younger is left out: its backup may
                be under way in another runner. Longer than any job may take.
        """
        newest: dict[BackupId, datetime] = {}
        for info in self._storage.list(self._layout.data):
            backup_id = self._layout.backup_id_of_data(info.key)
            if backup_id is not None:
                newest[backup_id] = max(newest.get(backup_id, info.modified_at), info.modified_at)
        committed = self._committed()
        return [
            backup_id
            for backup_id, modified_at in sorted(newest.items())
            if backup_id not in committed and now - modified_at > grace
        ]

    def sweep(self, orphans: Iterable[BackupId]) -> Sequence[BackupId]:
        """Delete the data of those that have no manifest still; returns which that were."""
        swept = []
        for backup_id in orphans:
            try:
                self.discard(backup_id)
            except ObjectExists:
                continue  # committed since the listing, after all
            swept.append(backup_id)
        return swept

    def store_time(self, going: Collection[BackupId] = ()) -> datetime:
        """Ask the store for its time: it is that of the index, once that is written anew.

        Args:
            going: left out of the index, as they are about to be removed: those of a prune that is
                cut off have not vanished.
        """
        known = self._read_index(len(self._committed()))
        kept = {backup_id: entry for backup_id, entry in known.items() if backup_id not in going}
        return self._storage.put(self._layout.index, Index.encode(kept)).modified_at

    def owner(self) -> OwnerRecord | None:
        """Which cluster writes here; None where nobody did yet."""
        try:
            raw = self._read(self._layout.owner, MAX_RECORD_BYTES)
        except ObjectNotFound:
            return None
        return from_json(OwnerRecord, raw, "_owner.json")

    def claim(self, cluster_id: str) -> None:
        """Make sure that this cluster may write and prune here, from now on for good.

        Raises: ForeignOwner when another one does.
        """
        if self.check_owner(cluster_id):
            return
        try:
            self._storage.put_new(self._layout.owner, to_json(OwnerRecord(cluster_id=cluster_id)))
        except ObjectExists:
            self.check_owner(cluster_id)

    def check_owner(self, cluster_id: str) -> bool:
        """Whether this cluster writes here; False if nobody does yet.

        Raises: ForeignOwner when another one does.
        """
        record = self.owner()
        if record is not None and record.cluster_id != cluster_id:
            raise ForeignOwner(
                f"cluster {record.cluster_id} writes backups of "
                f"{self._layout.namespace}/{self._layout.name} "
                f"here and this is cluster {cluster_id}. If that cluster is gone, run "
                "`runner adopt`; if not, give this class another bucket or storagePrefix"
            )
        return record is not None

    def adopt(self, cluster_id: str) -> OwnerRecord | None:
        """Take over writing; returns who wrote before, None if nobody or nobody can tell."""
        try:
            before = self.owner()
        except FormatError:
            before = None
        self._storage.put(self._layout.owner, to_json(OwnerRecord(cluster_id=cluster_id)))
        return before

    def read_small(self, key: str, *, limit_bytes: int = MAX_RECORD_BYTES) -> bytes:
        """A whole small object.

        Raises: ObjectNotFound; FormatError if it is larger than ours ever are.
        """
        return self._read(key, limit_bytes)

    def write_small(self, key: str, data: bytes) -> None:
        self._storage.put(key, data)

    def _miss(self, gone: AbstractSet[BackupId], *, is_last: bool) -> None:
        """Remember what is gone; who is the last to miss it logs it."""
        if not gone:
            return
        # Listed anew: somebody may have committed one, and indexed it, since the first listing.
        missed = gone - self._committed().keys()
        self._vanished |= missed
        for backup_id in sorted(missed if is_last else ()):
            log.warning("backup vanished: nobody pruned it", extra=kv(backup_id=backup_id))

    def _committed(self) -> dict[BackupId, ObjectInfo]:
        found = {}
        for info in self._storage.list(self._layout.manifests):
            backup_id = self._layout.backup_id_of_manifest(info.key)
            if backup_id is not None:
                found[backup_id] = info
        return found

    def _fetch(
        self, infos: Sequence[ObjectInfo]
    ) -> tuple[dict[BackupId, IndexEntry], Iterable[Unreadable]]:
        found: dict[BackupId, IndexEntry] = {}
        unreadable: list[Unreadable] = []
        with ThreadPoolExecutor(_FETCHES, thread_name_prefix="manifest") as pool:
            for result in pool.map(self._fetch_one, infos):
                if isinstance(result, IndexEntry):
                    found[result.summary.id] = result
                elif result is not None:
                    unreadable.append(result)
        return found, unreadable

    def _fetch_one(self, info: ObjectInfo) -> IndexEntry | Unreadable | None:
        backup_id = self._layout.backup_id_of_manifest(info.key)
        if backup_id is None:
            return None
        try:
            manifest = self.manifest(backup_id)
        except ObjectNotFound:
            return None  # pruned since it was listed
        except IntegrityError as error:
            return Unreadable(id=backup_id, problem=str(error))
        return IndexEntry.of(info, manifest)

    def _read(self, key: str, limit_bytes: int) -> bytes:
        chunks = []
        count = 0
        stream = self._storage.open_stream(key)
        try:
            for chunk in stream:
                count += len(chunk)
                if count > limit_bytes:
                    raise FormatError(f"{key} is larger than {limit_bytes} bytes: not one of ours")
                chunks.append(chunk)
        finally:
            close = getattr(stream, "close", None)
            if close is not None:
                close()
        return b"".join(chunks)

    def _read_index(self, count: int) -> dict[BackupId, IndexEntry]:
        """The index, if it is no larger than one of `count` backups can be."""
        limit_bytes = MAX_RECORD_BYTES + count * MAX_INDEX_ENTRY_BYTES
        try:
            return Index.decode(self.read_small(self._layout.index, limit_bytes=limit_bytes))
        except ObjectNotFound:
            return {}
        except BackupError as error:
            log.warning("index not usable, reading every manifest", extra=kv(error=str(error)))
            return {}

    def _write_index(self, entries: dict[BackupId, IndexEntry]) -> None:
        try:
            self._storage.put(self._layout.index, Index.encode(entries))
        except BackupError as error:
            log.warning("index not written", extra=kv(error=str(error)))
