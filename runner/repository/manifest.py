"""The manifest: the record whose presence makes a backup, and all that a restore needs to know.

It is written last, create-only, once per location. It is untrusted input when
it is read: sizes, names and counts are checked before anything is believed.
The format is docs/format.md; unknown fields are kept because manifests are
never rewritten, only copied as bytes.
"""

from __future__ import annotations

import enum
import re
from datetime import datetime

import orjson
from attrs import frozen

from controller.api.errors import FormatError
from engines.interface import BackupFacts
from runner.records import from_json, to_json
from runner.repository.layout import BackupId, is_object_name, parse_backup_id
from runner.retention.policy import BirthLabel

#: The newest that we write. A reader takes every version up to its own, and of a newer one
#: says so: it never prunes or rewrites what it does not understand.
FORMAT_VERSION = 2
#: Of a backup that is made of streams, and of one that is a layer of a chain.
STREAMS_VERSION = 1
LAYER_VERSION = 2
#: Far above any real one (a backup of 5 TB has 80 objects, 16 KiB); parsed, it takes ten times
#: as much, which a runner must have to spare.
MAX_MANIFEST_BYTES = 1024**2
#: All bytes of a backup together, 1 PiB: sums over thousands of them still fit into 64 bits.
MAX_BACKUP_BYTES = 2**50
#: Every time zone can write a time of these years.
YEARS = range(1970, 9999)
#: `compression` of a layer: the database's own.
ENGINE_COMPRESSION = "engine"
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")


class EncryptionKind(enum.Enum):
    """How the data objects of a backup are stored."""

    NONE = "none"
    AGE = "age"
    #: By the database itself, with a passphrase that is derived from the location's.
    ENGINE = "engine"


class WrapKind(enum.Enum):
    """For whom `key.age` is encrypted."""

    PASSPHRASE = "passphrase"  # noqa: S105 - a kind, not a password
    RECIPIENTS = "recipients"


@frozen(kw_only=True)
class Owner:
    """The DatabaseBackup that made it: re-creating the object continues its past."""

    namespace: str
    name: str


@frozen(kw_only=True)
class ManifestObject:
    """One stored object; `name` is relative to the backup's data folder."""

    name: str
    size_bytes: int
    sha256: str


@frozen(kw_only=True)
class ManifestStream:
    """One stream: its plain bytes, and the objects that hold them."""

    name: str
    plain_bytes: int
    plain_sha256: str
    objects: tuple[ManifestObject, ...]

    @property
    def stored_bytes(self) -> int:
        return sum(stored.size_bytes for stored in self.objects)


@frozen(kw_only=True)
class Encryption:
    """How this location's copy is encrypted.

    Args:
        key_sha256: of `key.age`: who cannot open it can still tell whether it
            is the one that was written. Empty in manifests that are older than the field.
    """

    kind: EncryptionKind
    wrap: WrapKind | None = None
    recipients: tuple[str, ...] = ()
    key_sha256: str = ""


@frozen(kw_only=True)
class Layer:
    """One layer of a chain that the database stored by itself: a full backup, or what changed.

    Args:
        chain: id of the full backup that it begins with. All layers lie in that one's data folder.
        number: 0 of the full one.
        home: name of the location that the database writes to; the others hold copies.
        plain_bytes: as the database counts its data.
        stored_bytes, objects: what the layer added to the folder.
    """

    chain: BackupId
    number: int
    home: str
    plain_bytes: int
    stored_bytes: int
    objects: int


@frozen(kw_only=True)
class Manifest:
    """What one location knows of one backup.

    Args:
        streams: none of a layer.
        compression: "zstd" of streams, "engine" of a layer.
    """

    format_version: int
    id: BackupId
    owner: Owner
    cluster_id: str
    runner_version: str
    config_digest: str
    started_at: datetime
    finished_at: datetime
    facts: BackupFacts
    streams: tuple[ManifestStream, ...]
    encryption: Encryption
    compression: str
    labels: tuple[BirthLabel, ...] | None = None
    layer: Layer | None = None

    @property
    def plain_bytes(self) -> int:
        if self.layer:
            return self.layer.plain_bytes
        return sum(stream.plain_bytes for stream in self.streams)

    @property
    def stored_bytes(self) -> int:
        if self.layer:
            return self.layer.stored_bytes
        return sum(stream.stored_bytes for stream in self.streams)

    def check(self) -> None:
        """Refuse what no writer of ours would have written.

        Raises: FormatError.
        """
        parse_backup_id(self.id)
        if self.format_version < 1:
            raise FormatError(f"backup {self.id}: no format version {self.format_version}")
        coverage = self.facts.coverage
        times = (self.started_at, self.finished_at, coverage.start, coverage.end)
        if any(time.year not in YEARS for time in times) or coverage.end < coverage.start:
            raise FormatError(f"backup {self.id}: its times cannot be")
        self._check_encryption()
        if self.compression != (ENGINE_COMPRESSION if self.layer else "zstd"):
            raise FormatError(f"backup {self.id}: unknown compression {self.compression[:40]!r}")
        if self.layer is not None:
            self._check_layer(self.layer)
        names = [stream.name for stream in self.streams]
        if len(set(names)) != len(names):
            raise FormatError(f"backup {self.id}: a stream is named twice")
        if sorted(names) != sorted(self.facts.streams):
            raise FormatError(f"backup {self.id}: its streams are not those that its facts name")
        for stream in self.streams:
            self._check_stream(stream)
        if max(self.plain_bytes, self.stored_bytes) > MAX_BACKUP_BYTES:
            raise FormatError(f"backup {self.id}: its sizes cannot be")

    def _check_encryption(self) -> None:
        kind, key_sha256 = self.encryption.kind, self.encryption.key_sha256
        foreign = EncryptionKind.AGE if self.layer else EncryptionKind.ENGINE
        if kind is foreign or (kind is EncryptionKind.AGE) != (self.encryption.wrap is not None):
            raise FormatError(f"backup {self.id}: its encryption contradicts itself")
        if key_sha256 and not _SHA256.match(key_sha256):
            raise FormatError(f"backup {self.id}: the hash of its key file is none")

    def _check_layer(self, layer: Layer) -> None:
        parse_backup_id(layer.chain)
        if self.format_version < LAYER_VERSION:
            raise FormatError(f"backup {self.id}: version {self.format_version} knows no layers")
        if self.streams:
            raise FormatError(f"backup {self.id}: a layer of a chain has no streams")
        if layer.number < 0 or (layer.number == 0) != (layer.chain == self.id):
            raise FormatError(f"backup {self.id}: its place in the chain {layer.chain} cannot be")
        if min(layer.plain_bytes, layer.stored_bytes, layer.objects) < 0:
            raise FormatError(f"backup {self.id}: its sizes cannot be")

    def _check_stream(self, stream: ManifestStream) -> None:
        if not stream.objects:
            raise FormatError(f"backup {self.id}: stream {stream.name[:80]!r} has no objects")
        for number, stored in enumerate(stream.objects):
            if not is_object_name(stored.name, stream.name, number):
                raise FormatError(
                    f"backup {self.id}: {stored.name[:80]!r} is not object {number} of "
                    f"stream {stream.name[:80]!r}"
                )
        sizes = [stream.plain_bytes, *(stored.size_bytes for stored in stream.objects)]
        hashes = [stream.plain_sha256, *(stored.sha256 for stored in stream.objects)]
        if min(sizes) < 0 or not all(map(_SHA256.match, hashes)):
            raise FormatError(f"backup {self.id}: stream {stream.name}: a size or hash is none")


def encode_manifest(manifest: Manifest) -> bytes:
    """The manifest's file: JSON, indented, for a person may have to read it one day.

    Raises: FormatError for one that no reader would take.
    """
    raw = to_json(manifest, indent=True) + b"\n"
    if len(raw) > MAX_MANIFEST_BYTES:
        raise FormatError(f"the manifest would be larger than {MAX_MANIFEST_BYTES} bytes")
    return raw


def decode_manifest(raw: bytes) -> Manifest:
    """Read a manifest that anybody may have written.

    Raises: FormatError, which says so if the writer was newer than this reader.
    """
    if len(raw) > MAX_MANIFEST_BYTES:
        raise FormatError(f"the manifest is larger than {MAX_MANIFEST_BYTES} bytes")
    try:
        document = orjson.loads(raw)
    except ValueError as error:
        raise FormatError(f"the manifest is not JSON: {error}") from error
    version = document.get("formatVersion") if isinstance(document, dict) else None
    if type(version) is int and version > FORMAT_VERSION:
        raise FormatError(
            f"the manifest has format version {version}, this runner reads up to "
            f"{FORMAT_VERSION}: use a newer runner"
        )
    manifest = from_json(Manifest, document, "the manifest")
    manifest.check()
    return manifest
