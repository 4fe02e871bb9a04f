"""Chains as the database reaches them: a folder of a location, and the passphrase for it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from attrs import evolve

from controller.api.errors import NoKey, TruncatedBackup
from engines.external_store import Collection, ExternalStore, StoredLayer
from engines.interface import JobContext
from runner.locations import Location
from runner.repository.layout import BackupId
from runner.repository.manifest import EncryptionKind, Layer, Manifest


def to_write(location: Location, engine: str, chain: BackupId) -> Collection:
    """The collection of a chain that is written with today's passphrase."""
    passphrases = location.keyring.passphrases_for(_use(engine, chain))
    return Collection(
        location=location.spec,
        folder=location.layout.backup_data(chain),
        passphrase=passphrases[0] if location.keyring.encrypts else None,
    )


def to_read(
    location: Location,
    manifest: Manifest,
    layer: Layer,
    engine: ExternalStore,
    context: JobContext,
    *,
    check_files: bool = True,
) -> Collection:
    """The collection that holds a stored layer, opened by one of the passphrases that there are.

    As many bytes are there as were written: what the database compares with its own checksums it
    does while it restores.

    Args:
        check_files: the database has looked for every file of the chain, also of later layers.
    Raises: NoKey, TruncatedBackup; DatabaseUnavailable, AccessDenied.
    """
    _check_sizes(location, layer)
    collection = Collection(location=location.spec, folder=location.layout.backup_data(layer.chain))

    def look(collection: Collection) -> None:
        stored = engine.stored_layers(collection, context, check_files=check_files)
        _check_holds(stored, manifest.facts.coverage.end, collection.folder)

    if manifest.encryption.kind is EncryptionKind.NONE:
        look(collection)
        return collection
    refused: NoKey | None = None
    for passphrase in location.keyring.passphrases_for(_use(manifest.facts.engine, layer.chain)):
        opened = evolve(collection, passphrase=passphrase)
        try:
            look(opened)
        except NoKey as error:
            refused = error
        else:
            return opened
    raise refused or NoKey(
        f"the backup is encrypted and location {location.name} has no encryptionPass"
    )


def has_later_layers(location: Location, layer: Layer) -> bool:
    """Whether its chain goes on after a layer, there."""
    return any(
        one.layer and one.layer.chain == layer.chain and one.layer.number > layer.number
        for one in location.catalogue.list().backups
    )


def _check_sizes(location: Location, layer: Layer) -> None:
    """Raises: TruncatedBackup."""
    needed = {
        one.layer.number: one.stored_bytes
        for one in location.catalogue.list().backups
        if one.layer and one.layer.chain == layer.chain and one.layer.number <= layer.number
    }
    if missing := set(range(layer.number + 1)) - needed.keys():
        raise TruncatedBackup(
            f"location {location.name} has not the layers {sorted(missing)} of the chain "
            f"{layer.chain}, which this one needs"
        )
    folder = location.layout.backup_data(layer.chain)
    held = sum(info.size_bytes for info in location.storage.list(folder))
    if held < sum(needed.values()):
        raise TruncatedBackup(
            f"{folder} in location {location.name} holds {held} bytes, {sum(needed.values())} "
            "were written"
        )


def _check_holds(stored: Sequence[StoredLayer], end: datetime, folder: str) -> None:
    """Raises: TruncatedBackup."""
    if all(one.facts.coverage.end != end for one in stored):
        raise TruncatedBackup(
            f"the chain in {folder} has no layer that ends at {end:%Y-%m-%d %H:%M:%S}"
        )


def _use(engine: str, chain: BackupId) -> str:
    return f"{engine}/{chain}"
