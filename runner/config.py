"""The runner's configuration: mounted files, or one file on a laptop.

A directory, as the controller mounts it:

    backup.yaml               the DatabaseBackup; references to Secrets stay references
    storageSpec.yaml          the class's spec, its values filled in
    cluster                   the cluster's id; without it nothing is written or pruned
    secrets/<name>/<key>      what the references point to

Or one YAML file with both objects, ``---`` between them, and `secrets` and
`cluster` beside it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TypeVar

from attrs import evolve, field, frozen

from controller.api import codec
from controller.api.errors import AccessDenied, BackupError, DependencyMissing, InvalidSpec, Problem
from controller.api.secrets import AccountName, Secret, SecretValue, secret_values
from controller.api.v1 import DatabaseBackup, DatabaseBackupStorageClass, StorageClassSpec
from controller.process.documents import MAX_BYTES, read_documents

BACKUP_FILE = "backup.yaml"
STORAGE_FILE = "storageSpec.yaml"
CLUSTER_FILE = "cluster"
SECRETS_FOLDER = "secrets"

#: The kubelet swaps this link to publish all files of a volume at once.
_PUBLISHED = "..data"
_T = TypeVar("_T")
_CLUSTER_ID = re.compile(r"[A-Za-z0-9][-A-Za-z0-9]{0,63}")


@frozen(kw_only=True, eq=False)
class RunnerConfig:
    """What one runner works with; a changed file makes a new one.

    Args:
        storage: the class's spec.
        cluster_id: None on a laptop: list, show and restore need none.
        secrets_folder: where references are looked up.
        fingerprint: changes whenever a byte of the configuration does, secrets
            included; it stays in memory, `digest` is its form for records.
        warnings: unknown fields, by path.
    """

    backup: DatabaseBackup
    storage: StorageClassSpec
    cluster_id: str | None
    secrets_folder: Path
    fingerprint: bytes = field(repr=False)
    warnings: tuple[str, ...] = ()
    _resolved: set[str] = field(factory=set, repr=False)

    @property
    def database(self) -> str:
        """The database that is backed up, by its own name."""
        spec = self.backup.spec
        return str(getattr(spec, spec.database_type).database)

    def resolve(self, value: SecretValue) -> Secret:
        """Turn a secret value into its text; a file is read now, so a rotated one counts.

        One newline at its end is dropped: editors and `echo` leave it there.

        Raises:
            DependencyMissing: the file is not there (yet); it is named.
            AccessDenied: it cannot be read.
            InvalidSpec: it is empty or no text. An empty secret never means "none".
        """
        if value.value is not None:
            return value.value
        if value.from_secret is None:
            raise InvalidSpec("a secret value needs value or fromSecret")
        reference = value.from_secret
        text = _secret_text(self.secrets_folder / reference.name / reference.key)
        if not isinstance(value, AccountName):
            self._resolved.add(text)
        return Secret(text)

    def digest(self) -> str:
        """Hash the fingerprint slowly (16 MiB, 40 ms), for records that others may read.

        A fast hash in a manifest would let who reads a bucket try passphrases
        faster than the encryption itself does.
        """
        return hashlib.scrypt(
            self.fingerprint, salt=b"db-backup-controller/config", n=2**14, r=8, p=1, dklen=16
        ).hex()

    def redactions(self) -> frozenset[str]:
        """Return every secret text known by now, for the log's Redactor."""
        inline = (
            value.value.reveal()
            for value in secret_values((self.backup, self.storage))
            if value.value is not None and not isinstance(value, AccountName)
        )
        return frozenset({*inline, *self._resolved} - {""})


def load(path: Path) -> RunnerConfig:
    """Read a configuration directory or file.

    Raises: InvalidSpec with the problems and warnings of all files; AccessDenied.
    """
    reading = _Reading()
    if path.is_file():
        folder = path.parent
        files = {path.name: _read(path), CLUSTER_FILE: _read(folder / CLUSTER_FILE)}
        raw_backup, raw_class = reading.objects(path.name, files[path.name])
        backup = reading.decode(DatabaseBackup, raw_backup)
        storage_class = reading.decode(
            DatabaseBackupStorageClass, raw_class, prefix="DatabaseBackupStorageClass: "
        )
        storage = storage_class.spec if storage_class else None
    else:
        folder = path
        files = _read_mounted(folder)
        backup = reading.decode(DatabaseBackup, reading.document(BACKUP_FILE, files[BACKUP_FILE]))
        storage = reading.decode(
            StorageClassSpec,
            reading.document(STORAGE_FILE, files[STORAGE_FILE]),
            prefix=f"{STORAGE_FILE}: ",
        )
    cluster_id = reading.cluster_id(files[CLUSTER_FILE])
    if reading.problems or backup is None or storage is None:
        raise InvalidSpec(reading.problems, reading.warnings)
    hidden = []
    for value in secret_values((backup, storage)):
        if value.from_secret is not None:
            name = f"{SECRETS_FOLDER}/{value.from_secret}"
            files[name] = _read_if_possible(folder / name)
            if not isinstance(value, AccountName):
                hidden.append(files[name])
    return RunnerConfig(
        backup=backup,
        storage=storage,
        cluster_id=cluster_id,
        secrets_folder=folder / SECRETS_FOLDER,
        fingerprint=_fingerprint(files),
        warnings=tuple(reading.warnings),
        resolved=_texts_of(hidden),
    )


class _Reading:
    """Decodes one part after the other and remembers what is wrong with each."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.warnings: list[str] = []

    def document(self, name: str, raw: bytes | None) -> object:
        """Read a file of exactly one document; None if it cannot be."""
        return self._try(f"{name}: ", lambda: _one_document(raw))

    def objects(self, name: str, raw: bytes | None) -> tuple[object, object]:
        """Read a file that holds one object of each kind, in any order."""
        return self._try(f"{name}: ", lambda: _one_of_each_kind(raw)) or (None, None)

    def decode(self, kind: type[_T], raw: object, *, prefix: str = "") -> _T | None:
        if raw is None:  # noted already
            return None
        if kind is DatabaseBackup and isinstance(raw, Mapping):
            # What the cluster thinks of the object is of no use here and may be of any version.
            raw = {key: value for key, value in raw.items() if key != "status"}
        self.warnings += [prefix + str(problem) for problem in codec.unknown_fields(kind, raw)]
        return self._try(prefix, lambda: codec.decode(kind, raw))

    def cluster_id(self, raw: bytes | None) -> str | None:
        return None if raw is None else self._try(f"{CLUSTER_FILE}: ", lambda: _cluster_id(raw))

    def _try(self, prefix: str, read: Callable[[], _T]) -> _T | None:
        try:
            return read()
        except InvalidSpec as refused:
            self.problems += [
                evolve(p, path=f"{prefix}{p.path}".removesuffix(": ")) for p in refused.problems
            ]
            return None


def _one_document(raw: bytes | None) -> object:
    if raw is None:
        raise InvalidSpec("there is no such file")
    documents = read_documents(raw)
    if len(documents) != 1:
        raise InvalidSpec(f"must hold one document, not {len(documents)}")
    if not isinstance(documents[0], Mapping):
        raise InvalidSpec("must be an object")
    return documents[0]


def _one_of_each_kind(raw: bytes | None) -> tuple[object, object]:
    first, second = DatabaseBackup.KIND, DatabaseBackupStorageClass.KIND
    documents = read_documents(raw or b"")
    kinds = [item.get("kind") if isinstance(item, Mapping) else None for item in documents]
    if len(kinds) != 2 or first not in kinds or second not in kinds:
        raise InvalidSpec(f"must hold one {first} and one {second}, separated by a line with ---")
    return documents[kinds.index(first)], documents[kinds.index(second)]


def _cluster_id(raw: bytes) -> str:
    text = raw.decode("utf-8", "replace").strip()
    if not _CLUSTER_ID.fullmatch(text):
        raise InvalidSpec("must hold the cluster's id: 1 to 64 letters, digits and -")
    return text


def _read_mounted(folder: Path) -> dict[str, bytes | None]:
    """Read the files of one publication, even if the kubelet publishes the next meanwhile."""
    names = (BACKUP_FILE, STORAGE_FILE, CLUSTER_FILE)
    link = folder / _PUBLISHED
    while True:
        publication = link.resolve()
        source = publication if publication.is_dir() else folder
        files = {name: _read(source / name) for name in names}
        if source is folder or link.resolve() == publication:
            return files


def _read(path: Path) -> bytes | None:
    """Read a file; None if it is not there.

    Raises: InvalidSpec if it is too large or no file; AccessDenied.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError as error:
        raise AccessDenied(f"{path} cannot be read: permission denied") from error
    except OSError as error:
        raise InvalidSpec(f"{path} cannot be read: {error.strerror}") from error
    if len(raw) > MAX_BYTES:
        raise InvalidSpec(f"{path} is larger than {MAX_BYTES} bytes")
    return raw


def _read_if_possible(path: Path) -> bytes | None:
    """Read a secret for the digest; who needs it finds out what is wrong with it."""
    try:
        return _read(path)
    except BackupError:
        return None


def _secret_text(path: Path) -> str:
    raw = _read(path)
    if raw is None:
        raise DependencyMissing(f"{path}: there is no such file; the Secret or its key is missing")
    try:
        text = raw.decode().removesuffix("\n")
    except UnicodeDecodeError:
        raise InvalidSpec(f"{path} is not UTF-8 text") from None
    if not text:
        raise InvalidSpec(f"{path} is empty")
    return text


def _texts_of(files: Iterable[bytes | None]) -> set[str]:
    """Return the texts of the referenced secrets that can be read now."""
    return {raw.decode("utf-8", "replace").removesuffix("\n") for raw in files if raw is not None}


def _fingerprint(files: Mapping[str, bytes | None]) -> bytes:
    """Hash all files, absent ones included."""
    material = hashlib.sha256()
    for name, raw in sorted(files.items()):
        for part in (name.encode(), b"-" if raw is None else b"+" + raw):
            material.update(len(part).to_bytes(8, "big") + part)
    return material.digest()
