"""What a cluster writes into a bucket and reads from it: the layout of CockroachDB's collections.

Really written to and read from whatever store the URI names. The files hold JSON, encrypted with
AES-256-GCM where a passphrase is given, and of each that is read the checksum is compared.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
from collections.abc import Callable, Mapping, Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from attrs import define, frozen

from tests.servers.cockroach.wire import SqlError


@functools.cache
def s3_session() -> Any:
    """One for all: each would read the descriptions of all services again."""
    import boto3

    return boto3.session.Session()


_KNOWN = {
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_ENDPOINT",
    "AWS_REGION",
    "AUTH",
}
_PATH_STYLE = "AWS_USE_PATH_STYLE"
_NODES = 3


@frozen
class Layer:
    """One layer's own record."""

    folder: str
    start: datetime | None
    end: datetime
    has_history: bool
    record: Mapping[str, Any]


def store_of(uri: str, *, knows_path_style: bool, out_of_reach: AbstractSet[str]) -> Store:
    """The store that a URI names; raises SqlError for one that the version does not take."""
    parts = urlsplit(uri)
    if parts.scheme != "s3":
        raise SqlError("XXUUU", f"unsupported storage scheme: {parts.scheme!r}")
    given = {key: values[0] for key, values in parse_qs(parts.query).items()}
    unknown = set(given) - _KNOWN - ({_PATH_STYLE} if knows_path_style else set())
    if unknown:
        raise SqlError("XXUUU", f"unknown S3 query parameters: {', '.join(sorted(unknown))}")
    for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        if given.get("AUTH", "specified") == "specified" and not given.get(key):
            raise SqlError("XXUUU", f"AUTH is set to 'specified', but {key} is not set")
    return Store(
        parts.netloc,
        unquote(parts.path).strip("/"),
        given,
        is_in_reach=parts.netloc not in out_of_reach,
    )


class Store:
    """One collection's place in a bucket."""

    def __init__(
        self, bucket: str, prefix: str, given: Mapping[str, str], *, is_in_reach: bool = True
    ) -> None:
        from botocore.config import Config

        self.has_endpoint = "AWS_ENDPOINT" in given
        self.bucket, self.prefix = bucket, prefix
        self._is_in_reach = is_in_reach
        self._client = s3_session().client(
            "s3",
            endpoint_url=given.get("AWS_ENDPOINT"),
            region_name=given.get("AWS_REGION", "us-east-1"),
            aws_access_key_id=given.get("AWS_ACCESS_KEY_ID"),
            aws_secret_access_key=given.get("AWS_SECRET_ACCESS_KEY"),
            config=Config(
                s3={"addressing_style": "path"},
                connect_timeout=2,
                read_timeout=20,
                retries={"max_attempts": 1},
            ),
        )

    @contextlib.contextmanager
    def _errors(self, what: str) -> Any:
        from botocore.exceptions import BotoCoreError, ClientError

        if not self._is_in_reach:
            raise SqlError("XXUUU", f"failed to {what}: AccessDenied: Access Denied")
        try:
            yield
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            if code in ("NoSuchKey", "404"):
                raise FileNotFoundError(what) from error
            raise SqlError("XXUUU", f"failed to {what}: {code}") from error
        except BotoCoreError as error:
            raise SqlError(
                "XXUUU", f"failed to {what}: RequestError: send request failed"
            ) from error

    def put(self, name: str, data: bytes) -> None:
        with self._errors("put s3 object"):
            self._client.put_object(Bucket=self.bucket, Key=f"{self.prefix}/{name}", Body=data)

    def get(self, name: str) -> bytes:
        with self._errors("get s3 object"):
            got = self._client.get_object(Bucket=self.bucket, Key=f"{self.prefix}/{name}")
            data: bytes = got["Body"].read()
            return data

    def has(self, name: str) -> bool:
        try:
            with self._errors("get s3 object headers"):
                self._client.head_object(Bucket=self.bucket, Key=f"{self.prefix}/{name}")
        except FileNotFoundError:
            return False
        return True

    def delete(self, name: str) -> None:
        with self._errors("delete s3 object"):
            self._client.delete_object(Bucket=self.bucket, Key=f"{self.prefix}/{name}")

    def names(self, below: str = "") -> list[str]:
        """Everything below a folder, sorted."""
        found = []
        with self._errors("list s3 bucket"):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=f"{self.prefix}/{below}"
            )
            for page in pages:
                found += [
                    one["Key"].removeprefix(f"{self.prefix}/") for one in page.get("Contents", ())
                ]
        return sorted(found)

    def close(self) -> None:
        self._client.close()


@define
class Collection:
    """Reads and writes the layers of one collection."""

    store: Store
    passphrase: str | None
    #: Versions from 25.2 on name an incremental layer's folder after its start, too.
    names_start: bool = False
    #: Versions from 25.4 on keep an index, which is not encrypted.
    has_index: bool = False

    # -- writing --------------------------------------------------------------------

    def folder_for(self, start: datetime | None, end: datetime) -> str:
        if start is None:
            return f"{end:%Y/%m/%d-%H%M%S}.{end.microsecond // 10_000:02}"
        part = f"{end:%Y%m%d/%H%M%S}.{end.microsecond // 10_000:02}"
        if self.names_start:
            part += f"-{start:%Y%m%d-%H%M%S}.{start.microsecond // 10_000:02}"
        return f"incrementals/{self.latest()}/{part}"

    def write(
        self,
        folder: str,
        job: int,
        record: Mapping[str, Any],
        tables: Mapping[str, Any],
        *,
        gate: Callable[[float], None],
    ) -> None:
        """Write one layer, from several nodes at once, its commit records last.

        Args:
            gate: told how far it is; may wait, and raise to end it.
        """
        is_full = record["start"] is None
        if self.store.has(f"{folder}/BACKUP_MANIFEST"):
            raise SqlError("55000", f"{folder} already contains a BACKUP_MANIFEST file")
        self.store.put(f"{folder}/BACKUP-LOCK-{job}", b"lock")
        salt = self._salt(folder, is_full=is_full)
        self.store.put(f"{folder}/progress/BACKUP-CHECKPOINT", b"checkpoint")
        gate(0.1)
        files = []

        def write(number: int, name: str) -> dict[str, Any]:
            data = self._sealed(json.dumps({name: tables[name]}).encode(), salt)
            file = f"data/{job}{number:04}.sst"
            self.store.put(f"{folder}/{file}", data)
            self.store.put(f"{folder}/{file}", data)  # a retried upload writes the same again
            return {"path": file, "sha256": hashlib.sha256(data).hexdigest(), "table": name}

        with ThreadPoolExecutor(_NODES) as nodes:
            files = list(nodes.map(write, range(len(tables)), sorted(tables)))
        gate(0.6)
        for name in ("BACKUP-STATISTICS", "filelist.sst", "descriptorslist.sst", "BACKUP_METADATA"):
            self.store.put(f"{folder}/{name}", self._sealed(b"{}", salt))
        manifest = self._sealed(json.dumps({**record, "files": files}).encode(), salt)
        self.store.put(f"{folder}/BACKUP_MANIFEST-CHECKSUM", hashlib.sha256(manifest).digest())
        gate(0.9)
        self.store.put(f"{folder}/BACKUP_MANIFEST", manifest)
        self.store.delete(f"{folder}/progress/BACKUP-CHECKPOINT")
        if is_full:
            age = (1 << 48) - int(datetime.fromisoformat(record["end"]).timestamp() * 1000)
            self.store.put(f"metadata/latest/LATEST-{age:x}", f"/{folder}".encode())
        if self.has_index:
            name = folder.removeprefix("incrementals/").replace("/", "-")
            self.store.put(
                f"index/{name}_metadata.pb", f"{record['start']} {record['end']}".encode()
            )

    def _salt(self, folder: str, *, is_full: bool) -> bytes | None:
        if self.passphrase is None:
            return None
        if is_full:
            salt = os.urandom(16)
            self.store.put(f"{folder}/ENCRYPTION-INFO", salt)
            return salt
        return self._stored_salt()

    def _stored_salt(self) -> bytes:
        try:
            return self.store.get(f"{self.latest()}/ENCRYPTION-INFO")
        except FileNotFoundError:
            raise SqlError(
                "XXUUU", "encryption info read: file does not exist: the backup is not encrypted"
            ) from None

    def _sealed(self, data: bytes, salt: bytes | None) -> bytes:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        if salt is None:
            return b"plain" + data
        nonce = os.urandom(12)
        return b"crypt" + nonce + AESGCM(self._key(salt)).encrypt(nonce, data, None)

    def _opened(self, data: bytes, salt: bytes | None) -> bytes:
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        if data.startswith(b"plain"):
            return data[5:]
        if salt is None:
            raise SqlError(
                "XXUUU",
                "file appears encrypted -- try specifying one of encryption_passphrase or kms",
            )
        try:
            return AESGCM(self._key(salt)).decrypt(data[5:17], data[17:], None)
        except InvalidTag:
            raise SqlError(
                "XXUUU", "failed to decrypt: cipher: message authentication failed"
            ) from None

    def _key(self, salt: bytes) -> bytes:
        assert self.passphrase is not None
        return hashlib.pbkdf2_hmac("sha256", self.passphrase.encode(), salt, 1000)

    # -- reading ---------------------------------------------------------------------

    def latest(self) -> str:
        """The newest full backup's folder; the only errors of a store that have states."""
        try:
            names = self.store.names("metadata/latest/")
        except SqlError as error:
            raise SqlError("58030", f"read LATEST path: {error}") from error
        if not names:
            raise SqlError(
                "58P01",
                "read LATEST path: path does not contain a completed latest backup: LATEST file "
                "could not be read in base or metadata directory",
            )
        return self.store.get(names[0]).decode().strip("/")

    def layers(self) -> list[Layer]:
        """Those whose commit record is there, the full one first."""
        full = self.latest()
        salt = self._stored_salt() if self.passphrase is not None else None
        records = [f"{full}/BACKUP_MANIFEST"]
        records += [
            name
            for name in self.store.names(f"incrementals/{full}/")
            if name.endswith("/BACKUP_MANIFEST")
        ]
        found = []
        for name in records:
            try:
                raw = self.store.get(name)
            except FileNotFoundError:
                raise SqlError("XXUUU", f"{name}: file does not exist") from None
            record = json.loads(self._opened(raw, salt))
            found.append(
                Layer(
                    folder=name.removesuffix("/BACKUP_MANIFEST"),
                    start=_time(record["start"]),
                    end=datetime.fromisoformat(record["end"]),
                    has_history=record["history"],
                    record=record,
                )
            )
        return sorted(found, key=lambda layer: layer.end)

    def check_files(self) -> None:
        """Look whether every file is there, and no more, as a real server does."""
        missing = [
            f"{layer.folder}/{file['path']}"
            for layer in self.layers()
            for file in layer.record["files"]
            if not self.store.has(f"{layer.folder}/{file['path']}")
        ]
        if missing:
            listed = "\n\t".join(missing)
            raise SqlError("XXUUU", f"The following files are missing from the backup:\n\t{listed}")

    def tables(self, layer: Layer) -> list[Mapping[str, Any]]:
        salt = self._stored_salt() if self.passphrase is not None else None
        found = []
        for file in layer.record["files"]:
            name = f"{layer.folder}/{file['path']}"
            try:
                data = self.store.get(name)
            except FileNotFoundError:
                raise SqlError("XXUUU", f"opening {name}: object does not exist") from None
            if hashlib.sha256(data).hexdigest() != file["sha256"]:
                raise SqlError("XXUUU", f"checksum mismatch in {name}")
            found.append(json.loads(self._opened(data, salt)))
        return found


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text).astimezone(UTC) if text else None
