"""Where the objects of one DatabaseBackup lie in a location.

    <prefix>/<namespace>/<name>/_manifests/<id>.json     the commit record
                               /_data/<id>/<stream>.<nnnn>
                               /_data/<id>/key.age
                               /_index.json   a cache, checked against the listing
                               /_state.json   what a restart wants to know
                               /_owner.json   which cluster writes here

No Kubernetes name holds an underscore, so no object's folder can lie inside
another's. Only `<id>.json` directly below `_manifests/` is a backup.
"""

from __future__ import annotations

import re
import secrets
from datetime import UTC, datetime
from typing import NewType

from attrs import field, frozen
from attrs.validators import matches_re

from controller.api.errors import FormatError

#: `<UTC start, YYYY-MM-DDThh-mm-ssZ>-<4 hex>`. A label only: times are read from manifests.
BackupId = NewType("BackupId", str)

_BACKUP_ID = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}-[0-9]{2}-[0-9]{2}Z-[0-9a-f]{4}\Z")
#: A stream's name; it is part of object keys and of file names.
STREAM_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}\Z")
_OBJECT_NAME = re.compile(r"(?P<stream>[a-z0-9][a-z0-9._-]{0,62})\.(?P<number>[0-9]{4})\Z")
_KUBERNETES_NAME = r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?"
KEY_FILE = "key.age"


def new_backup_id(started_at: datetime) -> BackupId:
    """A fresh id; two runners that start in the same second still differ."""
    stamp = started_at.astimezone(UTC).strftime("%Y-%m-%dT%H-%M-%SZ")
    return BackupId(f"{stamp}-{secrets.token_hex(2)}")


def parse_backup_id(text: str) -> BackupId:
    """Check that `text` is an id: it becomes part of keys and file names."""
    if not _BACKUP_ID.match(text):
        raise FormatError(f"not a backup id: {text[:80]!r} (expected YYYY-MM-DDThh-mm-ssZ-xxxx)")
    return BackupId(text)


def object_name(stream: str, number: int) -> str:
    """The name below `_data/<id>/` of a stream's object, numbered from 0."""
    if not STREAM_NAME.match(stream):
        raise FormatError(f"not a stream name: {stream[:80]!r}")
    return f"{stream}.{number:04d}"


def is_object_name(text: str, stream: str, number: int) -> bool:
    match = _OBJECT_NAME.match(text)
    return match is not None and match["stream"] == stream and int(match["number"]) == number


@frozen(kw_only=True)
class Layout:
    """The keys of one DatabaseBackup below a location's prefix."""

    prefix: str = ""
    namespace: str = field(validator=matches_re(_KUBERNETES_NAME))
    name: str = field(validator=matches_re(_KUBERNETES_NAME))

    @property
    def root(self) -> str:
        """Ends with a slash; every key of this object starts with it."""
        prefix = self.prefix.strip("/")
        return f"{prefix}/{self.namespace}/{self.name}/".lstrip("/")

    @property
    def manifests(self) -> str:
        return f"{self.root}_manifests/"

    @property
    def data(self) -> str:
        return f"{self.root}_data/"

    @property
    def index(self) -> str:
        return f"{self.root}_index.json"

    @property
    def state(self) -> str:
        return f"{self.root}_state.json"

    @property
    def owner(self) -> str:
        return f"{self.root}_owner.json"

    def manifest(self, backup_id: BackupId) -> str:
        return f"{self.manifests}{backup_id}.json"

    def backup_data(self, backup_id: BackupId) -> str:
        return f"{self.data}{backup_id}/"

    def data_object(self, backup_id: BackupId, name: str) -> str:
        return f"{self.backup_data(backup_id)}{name}"

    def key_file(self, backup_id: BackupId) -> str:
        return self.data_object(backup_id, KEY_FILE)

    def backup_id_of_manifest(self, key: str) -> BackupId | None:
        """The id that a listed key commits; None for anything else that lies there."""
        if not key.startswith(self.manifests) or not key.endswith(".json"):
            return None
        stem = key.removeprefix(self.manifests).removesuffix(".json")
        return BackupId(stem) if _BACKUP_ID.match(stem) else None

    def backup_id_of_data(self, key: str) -> BackupId | None:
        """The id whose data a listed key is; None for anything else that lies there."""
        folder, slash, _ = key.removeprefix(self.data).partition("/")
        if not slash or not key.startswith(self.data) or not _BACKUP_ID.match(folder):
            return None
        return BackupId(folder)
