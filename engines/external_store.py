"""What an engine is whose database stores its backups by itself, in place of streams.

A backup of an `ExternalStore` is one layer of a chain, in a folder that the runner
chose. What all engines have, and what holds for every call, is in `interface.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol, runtime_checkable

from attrs import frozen

from controller.api.locations import BackupLocation
from controller.api.secrets import Secret
from engines.interface import BackupFacts, Engine, JobContext, Restored, Target


@frozen(kw_only=True)
class Collection:
    """A folder of one location that holds one chain, as the database is to reach it.

    Args:
        folder: prefix of its keys in the bucket, the location's own included; ends with a slash.
        passphrase: what the database encrypts with; None for not at all.
    """

    location: BackupLocation
    folder: str
    passphrase: Secret | None = None


@frozen(kw_only=True)
class StoredLayer:
    """One layer that a collection holds whole.

    Args:
        facts: without streams. Its coverage is one instant, or a span that is open at its start.
        plain_bytes: as the database counts its data.
        was_found: an earlier call began it, so that its state is older than this call.
    """

    facts: BackupFacts
    plain_bytes: int
    was_found: bool = False


class ChainEnded(Exception):
    """A chain cannot be gone on with, for the reason that it says: a full backup is due."""


@runtime_checkable
class ExternalStore(Engine, Protocol):
    """An engine whose database stores its backups by itself, in chains of layers.

    The runner decides where a chain lies and when a new one begins, copies layers to further
    locations, and keeps the manifests. Credentials and passphrases never are part of a
    statement's text, a log line or an error.
    """

    def folders_in_use(
        self, location: BackupLocation, parent: str, context: JobContext, /
    ) -> Mapping[str, bool]:
        """The folders directly below `parent` that the database's jobs write to, the latest first.

        Also those that a job has finished lately. So a job is found again whose runner died.

        Args:
            parent: prefix of keys, as `Collection.folder`.
        Returns: name of the folder -> whether its job is still at it.
        Raises: DatabaseUnavailable, AccessDenied.
        """
        ...

    def store_layer(
        self, collection: Collection, context: JobContext, /, *, since: BackupFacts | None
    ) -> StoredLayer:
        """Store a full backup (`since` is None), or what changed since the newest layer.

        What an earlier call began is waited for, what it finished is returned (`was_found`), and
        nothing is begun twice. Returns only what the server says is whole, every file of it there.
        Ends its own job when the context is cancelled; a server that does not answer any more
        may still be at it.

        Raises: ChainEnded; DatabaseUnavailable, AccessDenied, Cancelled.
        """
        ...

    def stored_layers(
        self, collection: Collection, context: JobContext, /, *, check_files: bool = True
    ) -> Sequence[StoredLayer]:
        """The layers of a collection, the full one first.

        Args:
            check_files: have the database look for every file of every layer first.
        Raises: NoKey, TruncatedBackup, DatabaseUnavailable, AccessDenied.
        """
        ...

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
        """Restore the state at `at`, which is within the coverage of `facts`.

        Reads no layer after that one. The promises are those of `StreamEngine.restore_backup`.
        """
        ...
