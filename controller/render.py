"""`controller render`: the children of objects in files, built without a cluster."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from attrs import Factory, evolve, frozen

from controller.api import codec
from controller.api.errors import BackupError, DependencyMissing, InvalidSpec, Problem
from controller.api.secrets import REDACTED, Secret, SecretRef
from controller.api.v1 import API_VERSION, DatabaseBackup, DatabaseBackupStorageClass
from controller.kube.resource import SECRETS
from controller.manifests import to_yaml
from controller.process.documents import read_documents
from controller.resources.config_secret import Lookup
from controller.resources.desired import Settings, desired
from controller.resources.labels import Child, Manifest

#: Stands for the UID that the cluster will give to an object.
NO_UID = "00000000-0000-0000-0000-000000000000"
_KINDS = {kind.KIND: kind for kind in (DatabaseBackup, DatabaseBackupStorageClass)}


@frozen(kw_only=True)
class Input:
    """What is in the files.

    Args:
        backups: raw, each with where it stands.
        classes: by name.
        secrets: (namespace, name) -> key -> text; without a namespace it is "".
        warnings: fields that nobody knows, by file and path.
    """

    backups: list[tuple[str, Manifest]] = Factory(list)
    classes: dict[str, DatabaseBackupStorageClass] = Factory(dict)
    secrets: dict[tuple[str, str], Mapping[str, Secret]] = Factory(dict)
    warnings: list[Problem] = Factory(list)
    _places: dict[tuple[str, str, str], str] = Factory(dict)

    def place(self, kind: str, metadata: Mapping[str, Any], where: str) -> None:
        """Note where an object stands.

        Raises: InvalidSpec: another one of its kind and name stands somewhere else.
        """
        namespace, name = str(metadata.get("namespace") or ""), str(metadata["name"])
        before = self._places.setdefault((kind, namespace, name), where)
        if before != where:
            called = f"{namespace}/{name}" if namespace else name
            raise InvalidSpec(
                [Problem("metadata.name", f"there is a {kind} {called} in {before}, too: name one")]
            )


def read_input(files: Iterable[Path]) -> Input:
    """Read objects, classes and Secrets; other kinds are passed over.

    Raises: InvalidSpec with every problem of every file, each by file and path.
    """
    found = Input()
    problems: list[Problem] = []
    for file in files:
        try:
            documents = read_documents(file.read_bytes())
        except InvalidSpec as refused:
            problems += _at(str(file), refused)
            continue
        except OSError as error:
            problems.append(Problem(str(file), f"cannot be read: {error.strerror}"))
            continue
        for number, document in enumerate(documents):
            where = f"{file}[{number}]" if len(documents) > 1 else str(file)
            try:
                _add(found, where, document)
            except InvalidSpec as refused:
                problems += _at(where, refused)
    if not problems and not found.backups:
        problems.append(Problem("", f"there is no {DatabaseBackup.KIND} in these files"))
    if problems:
        raise InvalidSpec(problems)
    return found


def _at(where: str, refused: InvalidSpec) -> Iterator[Problem]:
    for problem in refused.problems:
        yield evolve(problem, path=f"{where}: {problem.path}".removesuffix(": "))


def _add(found: Input, where: str, document: Any) -> None:
    if not isinstance(document, Mapping):
        raise InvalidSpec("must be an object")
    kind, group = document.get("kind"), document.get("apiVersion")
    if kind in _KINDS and group == API_VERSION:
        decoded = codec.decode(_KINDS[kind], document)
        found.place(kind, document["metadata"], where)
        for unknown in codec.unknown_fields(_KINDS[kind], document):
            found.warnings.append(evolve(unknown, path=f"{where}: {unknown.path}"))
        if isinstance(decoded, DatabaseBackupStorageClass):
            found.classes[decoded.metadata.name] = decoded
        else:
            found.backups.append((where, dict(document)))
    elif kind == SECRETS.kind and group == SECRETS.api_version:
        metadata = document.get("metadata")
        if not isinstance(metadata, Mapping) or not isinstance(metadata.get("name"), str):
            raise InvalidSpec([Problem("metadata.name", "is required")])
        found.place(kind, metadata, where)
        key = (str(metadata.get("namespace") or ""), metadata["name"])
        found.secrets[key] = _texts(document)


def _texts(raw: Mapping[str, Any]) -> dict[str, Secret]:
    texts = {}
    for field in ("data", "stringData"):
        entries = raw.get(field) or {}
        if not isinstance(entries, Mapping):
            raise InvalidSpec([Problem(field, "must be an object")])
        for key, value in entries.items():
            path = f"{field}.{key}"
            if not isinstance(value, str):
                raise InvalidSpec([Problem(path, "must be a string; put it in quotes")])
            texts[key] = Secret(_decoded(value, path) if field == "data" else value)
    return texts


def _decoded(text: str, path: str) -> str:
    try:
        return base64.b64decode(text, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise InvalidSpec([Problem(path, "must be UTF-8 text in base64")]) from None


def render(
    found: Input, settings: Settings, *, namespace: str, reveal_secrets: bool
) -> Iterator[Child]:
    """Build the children of every object.

    Args:
        namespace: the controller's: where Secrets of classes are.
        reveal_secrets: False shows ``<redacted>`` for each text, and needs no
            Secret: a review has none.
    Raises:
        InvalidSpec and the errors of `desired`, with the object named.
    """
    lookup = _Lookup(found.secrets, namespace) if reveal_secrets else _redacted
    for where, raw in found.backups:
        try:
            children = _children(found, _with_uid(raw), settings, lookup)
        except InvalidSpec as refused:
            raise InvalidSpec(_at(where, refused)) from refused
        except BackupError as error:
            error.args = (f"{where}: {error}", *error.args[1:])
            raise
        for child in children:
            yield child if reveal_secrets else without_secrets(child)


def _with_uid(raw: Manifest) -> Manifest:
    metadata = raw["metadata"]
    return raw | {"metadata": metadata | {"uid": metadata.get("uid") or NO_UID}}


def _children(found: Input, raw: Manifest, settings: Settings, lookup: Lookup) -> tuple[Child, ...]:
    backup = codec.decode(DatabaseBackup, raw)
    name = backup.spec.backup_storage_class
    storage_class = found.classes.get(name)
    if storage_class is None:
        raise DependencyMissing(
            f"spec.backupStorageClass: there is no {DatabaseBackupStorageClass.KIND} {name} "
            "in these files"
        )
    return desired(
        backup, storage_class, raw_backup=raw, secrets=lookup, settings=settings
    ).children


@frozen
class _Lookup:
    secrets: Mapping[tuple[str, str], Mapping[str, Secret]]
    namespace: str

    def __call__(self, reference: SecretRef) -> Secret:
        for namespace in (self.namespace, ""):
            text = self.secrets.get((namespace, reference.name), {}).get(reference.key)
            if text is not None:
                return text
        raise DependencyMissing(
            f"there is no Secret {self.namespace}/{reference.name} with the key {reference.key} "
            "in these files"
        )


def _redacted(_reference: SecretRef) -> Secret:
    return Secret(REDACTED)


def without_secrets(child: Child) -> Child:
    """Show a Secret as text, with what is secret in it replaced; not for kubectl apply."""
    if child.resource is not SECRETS:
        return child
    manifest = dict(child.manifest)
    shown = {}
    for name, text in manifest.pop("data").items():
        decoded = base64.b64decode(text).decode()
        if name.endswith(".yaml"):
            decoded = to_yaml(_without_values(read_documents(decoded.encode())[0]))
        elif name.startswith("."):
            decoded = REDACTED
        shown[name] = decoded
    return evolve(child, manifest=manifest | {"stringData": shown})


def _without_values(value: Any) -> Any:
    """Replace the `value` of each secret value, which is known by having no other fields."""
    if isinstance(value, list):
        return [_without_values(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    if "value" in value and value.keys() <= {"value", "fromSecret"}:
        return {**value, "value": REDACTED}
    return {key: _without_values(item) for key, item in value.items()}


def write_private(file: Path, text: str) -> None:
    """Write a file that nobody else may read: a manifest may hold passwords."""
    file.unlink(missing_ok=True)
    file.touch(mode=0o600)
    file.write_text(text)
