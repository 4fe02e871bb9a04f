"""The manifest: the record whose presence makes a backup, and all that a restore needs to know.

It is written last, create-only, once per location. It is untrusted input when
it is read: sizes, names and counts are checked before anything is believed.
The format is docs/format.md; unknown fields are kept because manifests are
never rewritten, only copied as bytes.
"""

from __future__ import annotations

import enum
from datetime import datetime

import orjson
from attrs import frozen

from controller.api.errors import FormatError
from engines.interface import BackupFacts
from runner.records import from_json, to_json
from runner.repository.layout import BackupId, is_object_name, parse_backup_id
from runner.retention.policy import BirthLabel

#: What we write. A reader takes every version up to its own, and of a newer one
#: says so: it never prunes or rewrites what it does not understand.
FORMAT_VERSION = 1
#: Far above any real one (a backup of 5 TB has 80 objects); below what hurts.
MAX_MANIFEST_BYTES = 16 * 1024**2


class EncryptionKind(enum.Enum):
    """How the data objects of a backup are stored."""

    NONE = "none"
    AGE = "age"


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
    """How this location's copy is encrypted."""

    kind: EncryptionKind
    wrap: WrapKind | None = None
    recipients: tuple[str, ...] = ()


@frozen(kw_only=True)
class Manifest:
    """What one location knows of one backup."""

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

    @property
    def plain_bytes(self) -> int:
        return sum(stream.plain_bytes for stream in self.streams)

    @property
    def stored_bytes(self) -> int:
        return sum(stream.stored_bytes for stream in self.streams)

    def check(self) -> None:
        """Refuse what no writer of ours would have written.

        Raises: FormatError.
        """
        parse_backup_id(self.id)
        if self.compression != "zstd":
            raise FormatError(f"backup {self.id}: unknown compression {self.compression[:40]!r}")
        if {stream.name for stream in self.streams} != set(self.facts.streams):
            raise FormatError(f"backup {self.id}: its streams are not those that its facts name")
        if len(self.facts.streams) != len(self.streams):
            raise FormatError(f"backup {self.id}: a stream is named twice")
        for stream in self.streams:
            if stream.plain_bytes < 0 or not stream.objects:
                raise FormatError(f"backup {self.id}: stream {stream.name[:80]!r} has no objects")
            for number, stored in enumerate(stream.objects):
                if not is_object_name(stored.name, stream.name, number) or stored.size_bytes < 0:
                    raise FormatError(
                        f"backup {self.id}: {stored.name[:80]!r} is not object {number} of "
                        f"stream {stream.name}"
                    )


def encode_manifest(manifest: Manifest) -> bytes:
    """The manifest's file: JSON, indented, for a person may have to read it one day."""
    return to_json(manifest, indent=True) + b"\n"


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
