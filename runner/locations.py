"""The locations of a configuration, opened: each a storage, a catalogue and its keys."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from attrs import frozen

from controller.api.errors import (
    BackupError,
    ChecksumMismatch,
    FormatError,
    IntegrityError,
    ObjectNotFound,
    StorageUnavailable,
    TruncatedBackup,
    UsageError,
)
from controller.api.secrets import Secret, SecretValue
from controller.api.v1 import BackupLocation, ObjectMeta
from engines.interface import StreamName
from runner.config import RunnerConfig
from runner.crypto import age
from runner.pipeline.restore import BackupSource, ObjectToRead, StreamToRead, check_objects
from runner.repository.catalogue import Catalogue
from runner.repository.keys import MAX_KEY_FILE_BYTES, Keyring
from runner.repository.layout import BackupId, Layout, parse_backup_id
from runner.repository.manifest import EncryptionKind, Manifest, ManifestStream, WrapKind
from runner.storage.base import Storage
from runner.storage.registry import open_storage
from runner.storage.usage import UsageMeter

T = TypeVar("T")

#: How long a location may be silent while it is asked.
ANSWER_S = 90.0
#: Between two looks at who has answered a request meanwhile.
_BEAT_S = 1.0


@frozen(kw_only=True, eq=False)
class Location:
    """One open location of one owner."""

    name: str
    spec: BackupLocation
    storage: Storage
    catalogue: Catalogue
    keyring: Keyring
    usage: UsageMeter

    @property
    def layout(self) -> Layout:
        return self.catalogue.layout

    def is_trusted(self, kind: EncryptionKind) -> bool:
        """Whether a backup of this kind is one that this location's configuration makes.

        Where backups are encrypted, one that is not may have been put there by
        whoever can write the bucket: what it holds would run as SQL.
        """
        return kind is not EncryptionKind.NONE or not self.keyring.encrypts

    def check_trusted(self, manifest: Manifest, *, accept_unencrypted: bool) -> None:
        """Refuse a backup that is not trusted, unless a person says that it is theirs.

        Raises: IntegrityError.
        """
        if not accept_unencrypted and not self.is_trusted(manifest.encryption.kind):
            raise IntegrityError(
                f"backup {manifest.id} in {self.name} is not encrypted and this location's "
                "backups are: anybody who can write there may have made it. If it is yours, from "
                "before encryption was switched on, add --accept-unencrypted"
            )

    def is_for_others(self, manifest: Manifest) -> bool:
        """Whether only holders of a key that the runner has not can read it, as configured.

        The manifest says so, and is not signed: it counts only where this
        location's backups are made for recipients.
        """
        ours = self.keyring.encryption().wrap
        return ours is manifest.encryption.wrap is WrapKind.RECIPIENTS

    def identity(self, manifest: Manifest) -> age.Identity | None:
        """The key of a backup's streams; None of one that is not encrypted.

        Raises: NoKey, TruncatedBackup, FormatError, StorageUnavailable.
        """
        if manifest.encryption.kind is EncryptionKind.NONE:
            return None
        return self.keyring.unwrap(self._key_file(manifest), manifest.encryption)

    def _key_file(self, manifest: Manifest) -> bytes:
        key = self.layout.key_file(manifest.id)
        try:
            return self.catalogue.read_small(key, limit_bytes=MAX_KEY_FILE_BYTES)
        except ObjectNotFound as error:
            raise TruncatedBackup(f"{key} is missing: {error}") from error

    def source(
        self, manifest: Manifest, *, on_bytes: Callable[[int], None] = lambda _: None
    ) -> BackupSource:
        """Open a backup for reading; its key is unwrapped now, nothing else is read."""
        streams = [self._stream_to_read(manifest, stream) for stream in manifest.streams]
        return BackupSource(
            self.storage, streams, identity=self.identity(manifest), on_bytes=on_bytes
        )

    def check_stored(
        self, manifest: Manifest, *, on_bytes: Callable[[int], None] = lambda _: None
    ) -> None:
        """Read every stored byte and compare it with the manifest; needs no key.

        Raises: TruncatedBackup, ChecksumMismatch, FormatError, ObjectNotFound,
            StorageUnavailable.
        """
        if manifest.encryption.kind is EncryptionKind.AGE:
            self._check_key_file(manifest)
        for stream in manifest.streams:
            check_objects(self.storage, self._stream_to_read(manifest, stream).objects, on_bytes)

    def _check_key_file(self, manifest: Manifest) -> None:
        key, encryption = self.layout.key_file(manifest.id), manifest.encryption
        key_file = self._key_file(manifest)
        if encryption.key_sha256 not in ("", hashlib.sha256(key_file).hexdigest()):
            raise ChecksumMismatch(f"{key} differs from what was stored")
        try:
            age.check_for_recipients(key_file, max(1, len(encryption.recipients)))
        except IntegrityError as error:
            raise type(error)(f"{key}: {error}") from error

    def _stream_to_read(self, manifest: Manifest, stream: ManifestStream) -> StreamToRead:
        return StreamToRead(
            name=StreamName(stream.name),
            plain_bytes=stream.plain_bytes,
            plain_sha256=stream.plain_sha256,
            objects=tuple(
                ObjectToRead(
                    key=self.layout.data_object(manifest.id, stored.name),
                    size_bytes=stored.size_bytes,
                    sha256=stored.sha256,
                )
                for stored in stream.objects
            ),
        )


@frozen(kw_only=True)
class Locations:
    """All configured locations: those that opened, and why the others did not."""

    opened: tuple[Location, ...]
    failed: tuple[tuple[str, BackupError], ...]

    def chosen(self, name: str) -> Locations:
        """The one of that name, or all for an empty one.

        Raises: UsageError, which names the locations that there are.
        """
        if not name:
            return self
        one = Locations(
            opened=tuple(location for location in self.opened if location.name == name),
            failed=tuple(failure for failure in self.failed if failure[0] == name),
        )
        if not one.opened and not one.failed:
            names = [location.name for location in self.opened] + [name for name, _ in self.failed]
            raise UsageError(f"no location is named {name!r}; there are: {', '.join(names)}")
        return one


@contextmanager
def open_locations(
    config: RunnerConfig, stop: threading.Event | None = None
) -> Iterator[Locations]:
    """Open every location of the class; one that cannot be opened stops no other.

    Args:
        stop: ends waits between the tries of a storage call.
    """
    opened: list[Location] = []
    failed: list[tuple[str, BackupError]] = []
    metadata = config.backup.metadata
    for spec in config.storage.backup_locations:
        try:
            opened.append(_open(spec, metadata, config.resolve, stop))
        except BackupError as error:
            failed.append((spec.name, error))
    try:
        yield Locations(opened=tuple(opened), failed=tuple(failed))
    finally:
        for location in opened:
            location.storage.close()


def _open(
    spec: BackupLocation,
    owner: ObjectMeta,
    resolve: Callable[[SecretValue], Secret],
    stop: threading.Event | None,
) -> Location:
    usage = UsageMeter(spec.name)
    storage = open_storage(spec, resolve, meter=usage, stop=stop)
    layout = Layout(prefix=spec.storage_prefix, namespace=owner.namespace, name=owner.name)
    return Location(
        name=spec.name,
        spec=spec,
        storage=storage,
        catalogue=Catalogue(storage, layout),
        keyring=Keyring(spec, resolve),
        usage=usage,
    )


def ask_each(
    locations: Sequence[Location],
    ask: Callable[[Location], T],
    *,
    limit_s: float,
    on_progress: Callable[[int], None] = lambda _: None,
) -> dict[str, T | BackupError]:
    """Ask all locations at once; who completes nothing for `limit_s` has failed.

    Completing is a request to the store that succeeded: thousands of manifests
    on a slow store take their time. A location that hangs costs `limit_s` and
    nothing else: its thread is left behind, and what it finds out is dropped.

    Args:
        on_progress: is told now and then how many requests succeeded.
    Returns: by the location's name, its answer or its error.
    """
    answers: dict[str, T | BackupError] = {}
    defects: list[Exception] = []

    def run(location: Location) -> None:
        try:
            answers[location.name] = ask(location)
        except BackupError as error:
            answers[location.name] = error
        except Exception as error:  # noqa: BLE001 - thread top: raised below
            defects.append(error)

    threads = [
        threading.Thread(target=run, args=(location,), name=f"ask-{location.name}", daemon=True)
        for location in locations
    ]
    for thread in threads:
        thread.start()
    _await(dict(zip(threads, locations, strict=True)), limit_s, on_progress)
    if defects:
        raise defects[0]
    silent = StorageUnavailable(f"no answer for {limit_s:.0f} s")
    found = dict(answers)
    return {location.name: found.get(location.name, silent) for location in locations}


def _await(
    asking: dict[threading.Thread, Location], limit_s: float, on_progress: Callable[[int], None]
) -> None:
    """Wait for the threads that end, and for the others while their location answers requests."""
    done = {thread: location.usage.succeeded for thread, location in asking.items()}
    heard_mono = dict.fromkeys(asking, time.monotonic())
    waiting = list(asking)
    while waiting:
        soonest_mono = min(heard_mono[thread] for thread in waiting) + limit_s
        waiting[0].join(max(0.0, min(_BEAT_S, soonest_mono - time.monotonic())))
        now_mono = time.monotonic()
        for thread in waiting:
            count = asking[thread].usage.succeeded
            if count != done[thread]:
                done[thread], heard_mono[thread] = count, now_mono
        before = len(waiting)
        waiting = [
            thread
            for thread in waiting
            if thread.is_alive() and now_mono - heard_mono[thread] < limit_s
        ]
        if waiting and len(waiting) == before:
            on_progress(sum(done.values()))


def asked_id(text: str) -> BackupId:
    """Read an id that a person gave; raises UsageError."""
    try:
        return parse_backup_id(text)
    except FormatError as error:
        raise UsageError(str(error)) from error


def find_manifest(
    locations: Sequence[Location], backup_id: str
) -> Iterator[tuple[Location, Manifest | BackupError]]:
    """Ask each location for one backup; those that do not have it are left out."""
    wanted = asked_id(backup_id)
    for location in locations:
        try:
            yield location, location.catalogue.manifest(wanted)
        except ObjectNotFound:
            continue
        except BackupError as error:
            yield location, error
