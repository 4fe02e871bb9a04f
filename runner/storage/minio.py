"""MinIO, on the minio SDK (the one module that imports it).

The SDK's public upload reads ahead and retries by itself, so this module uses
the single requests beneath it. They have been stable since 7.0; the contract
suite runs them against a real server.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import ssl
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from controller.api.errors import (
    BackupError,
    ChecksumMismatch,
    InvalidSpec,
    ObjectExists,
    ObjectNotFound,
)
from runner.storage.base import ObjectInfo, Properties
from runner.storage.connection import CaFile, Connection, open_ca_file
from runner.storage.failure import (
    Call,
    denied,
    misconfigured,
    network_error,
    quoted,
    refused,
)
from runner.storage.s3_codes import map_code

_PART_SIZE_BYTES = 8 * 1024 * 1024
_MAX_PARTS = 10_000
_CHUNK_BYTES = 1024 * 1024
_DELETE_BATCH = 1000
_CONNECTIONS = 10
_DEFAULT_REGION = "us-east-1"


def map_error(error: Exception, call: Call, bucket: str) -> BackupError:
    """What an exception of the minio SDK means for a location."""
    from minio import error as sdk  # noqa: PLC0415 - only for who has such a location
    from urllib3.exceptions import HTTPError  # noqa: PLC0415 - as above

    if isinstance(error, sdk.S3Error):
        status = error.response.status
        return map_code(call, bucket, str(error.code or ""), status, error.message)
    if isinstance(error, sdk.ServerError):
        return map_code(call, bucket, "", error.status_code, f"HTTP status {error.status_code}")
    if isinstance(error, sdk.InvalidResponseError):
        # Its text is the whole answer; the status says enough.
        status = error._code  # noqa: SLF001 - there is no other way to it
        words = (
            "plain HTTP to an HTTPS server" if _is_tls_complaint(error) else f"HTTP status {status}"
        )
        return map_code(call, bucket, "", status, words)
    if isinstance(error, HTTPError | OSError):
        return network_error(call, error)
    if isinstance(error, ValueError) and "credential" in str(error).lower():
        cure = "set storageAccessKeyID and storageSecretAccessKey"
        return denied(call, "no usable credentials were found", cure)
    if isinstance(error, ValueError):
        return misconfigured(call, quoted(error))
    return refused(call, type(error).__name__)


def _is_tls_complaint(error: Any) -> bool:
    return "HTTPS server" in (error._body or "")  # noqa: SLF001 - as above


class MinioStorage:
    """A bucket of a MinIO server."""

    def __init__(self, connection: Connection, *, part_size_bytes: int = _PART_SIZE_BYTES) -> None:
        self._connection = connection
        self._bucket = connection.bucket
        self._properties = Properties(
            part_size_bytes=part_size_bytes,
            max_parts=_MAX_PARTS,
            conditional_put=True,
            checksum="md5",
        )
        self._ca_file = open_ca_file(connection)
        with self.mapped("open"):
            self._pool = _build_pool(connection, self._ca_file)
            self._client = _build_client(connection, self._pool)

    @property
    def properties(self) -> Properties:
        return self._properties

    def create_upload(self, key: str, /) -> MinioUpload:
        with self.mapped("create_upload", key):
            upload_id = self._client._create_multipart_upload(self._bucket, key, {})  # noqa: SLF001
        return MinioUpload(self, key, upload_id)

    def put_new(self, key: str, data: bytes, /) -> ObjectInfo:
        # Servers older than the condition ignore it; for them the look has to do.
        with contextlib.suppress(ObjectNotFound):
            self.describe("put_new", key)
            raise ObjectExists(
                f"{Call(self._connection.location, 'put_new', key)}: it exists already"
            )
        self.send("put_new", key, data, {"If-None-Match": "*"})
        return self.stat(key)

    def put(self, key: str, data: bytes, /) -> ObjectInfo:
        self.send("put", key, data, {})
        return self.stat(key)

    def open_stream(self, key: str, /, *, offset: int = 0) -> Generator[bytes, None, None]:
        from minio.error import S3Error  # noqa: PLC0415 - see map_error

        with self.mapped("open_stream", key):
            try:
                response = self._client.get_object(self._bucket, key, offset=offset)
            except S3Error as error:
                if error.code == "InvalidRange":
                    return
                raise
            try:
                while chunk := response.read(_CHUNK_BYTES):
                    yield chunk
                response.release_conn()
            finally:
                response.close()

    def stat(self, key: str, /) -> ObjectInfo:
        return self.describe("stat", key)

    def list(self, prefix: str, /) -> Iterator[ObjectInfo]:
        with self.mapped("list", prefix):
            for found in self._client.list_objects(self._bucket, prefix, recursive=True):
                yield _described(found.object_name, found)

    def delete(self, keys: Iterable[str], /) -> None:
        first: BackupError | None = None
        todo = iter(keys)
        while batch := list(islice(todo, _DELETE_BATCH)):
            try:
                self._delete_batch(batch)
            except BackupError as error:
                first = first or error
        if first:
            raise first

    def abort_stale_uploads(self, prefix: str, /, *, begun_before: datetime | None = None) -> int:
        # The server takes the prefix of this call for a whole key, so all are listed.
        stale = []
        key_marker = upload_id_marker = None
        is_truncated = True
        while is_truncated:
            with self.mapped("abort_stale_uploads", prefix):
                page = self._client._list_multipart_uploads(  # noqa: SLF001
                    self._bucket, key_marker=key_marker, upload_id_marker=upload_id_marker
                )
            stale += [
                (upload.object_name, upload.upload_id)
                for upload in page.uploads
                if upload.object_name.startswith(prefix)
                and (begun_before is None or upload.initiated_time < begun_before)
            ]
            key_marker, upload_id_marker = page.next_key_marker, page.next_upload_id_marker
            is_truncated = page.is_truncated
        for key, upload_id in stale:
            self.abort_upload(key, upload_id)
        return len(stale)

    def close(self) -> None:
        self._pool.clear()
        if self._ca_file:
            self._ca_file.close()

    def call(self, operation: str, key: str) -> Call:
        return Call(self._connection.location, operation, key)

    @contextlib.contextmanager
    def mapped(self, operation: str, key: str = "") -> Iterator[Call]:
        from minio.error import MinioException  # noqa: PLC0415 - see map_error
        from urllib3.exceptions import HTTPError  # noqa: PLC0415 - as above

        call = self.call(operation, key)
        try:
            yield call
        except (MinioException, HTTPError, OSError, ValueError) as error:
            raise map_error(error, call, self._bucket) from error

    def send(
        self,
        operation: str,
        key: str,
        data: bytes,
        headers: dict[str, str],
        query: dict[str, str] | None = None,
    ) -> str:
        """PUT bytes; the server refuses them unless they have the MD5 that is sent along."""
        with self.mapped(operation, key):
            answer = self._client._put_object(  # noqa: SLF001
                self._bucket, key, data, headers | {"Content-MD5": _md5_base64(data)}, query
            )
        return str(answer.etag)

    def describe(self, operation: str, key: str) -> ObjectInfo:
        with self.mapped(operation, key):
            return _described(key, self._client.stat_object(self._bucket, key))

    def _delete_batch(self, keys: Sequence[str]) -> None:
        from minio.deleteobjects import DeleteObject  # noqa: PLC0415 - see map_error

        with self.mapped("delete", keys[0]):
            failures = list(self._client.remove_objects(self._bucket, map(DeleteObject, keys)))
        for failed in failures:
            call = Call(self._connection.location, "delete", failed.name or "")
            raise map_code(call, self._bucket, failed.code, 0, failed.message)

    def finish_upload(self, key: str, upload_id: str, etags: Mapping[int, str]) -> None:
        from minio.datatypes import Part  # noqa: PLC0415 - see map_error

        parts = [Part(number, etag) for number, etag in sorted(etags.items())]
        with self.mapped("complete", key):
            self._client._complete_multipart_upload(self._bucket, key, upload_id, parts)  # noqa: SLF001

    def abort_upload(self, key: str, upload_id: str) -> None:
        with contextlib.suppress(ObjectNotFound), self.mapped("abort", key):
            self._client._abort_multipart_upload(self._bucket, key, upload_id)  # noqa: SLF001


class MinioUpload:
    """A multipart upload. The server refuses a part that has not the MD5 sent with it."""

    def __init__(self, storage: MinioStorage, key: str, upload_id: str) -> None:
        self._storage = storage
        self._key = key
        self._upload_id = upload_id
        self._etags: dict[int, str] = {}
        self._md5s: dict[int, str] = {}
        self._sizes_bytes: dict[int, int] = {}
        self._done: ObjectInfo | None = None

    def put_part(self, number: int, data: bytes, /) -> None:
        query = {"partNumber": str(number), "uploadId": self._upload_id}
        self._etags[number] = self._storage.send("put_part", self._key, data, {}, query)
        self._md5s[number] = hashlib.md5(data, usedforsecurity=False).hexdigest()
        self._sizes_bytes[number] = len(data)

    def complete(self) -> ObjectInfo:
        if self._done:
            return self._done
        if not self._etags:
            self.put_part(1, b"")
        is_gone = False
        try:
            self._storage.finish_upload(self._key, self._upload_id, self._etags)
        except ObjectNotFound:
            # Perhaps an earlier call finished it and only its answer was lost.
            is_gone = True
        found = self._storage.describe("complete", self._key)
        self._verify(found, is_proof_needed=is_gone)
        self._done = found
        return found

    def abort(self) -> None:
        if not self._done:
            self._storage.abort_upload(self._key, self._upload_id)

    def _verify(self, found: ObjectInfo, *, is_proof_needed: bool) -> None:
        """Compare the finished object with what was sent."""
        # Encrypted by the server, ETags are no MD5: then the checks of the parts have to do.
        is_etag_known = self._etags == self._md5s
        is_size_right = found.size_bytes == sum(self._sizes_bytes.values())
        if is_size_right and is_etag_known and found.etag == self._combined_etag():
            return
        call = self._storage.call("complete", self._key)
        if is_proof_needed:
            raise refused(call, "the unfinished upload is gone: something else aborted it")
        if is_size_right and not is_etag_known:
            return
        self._storage.delete([self._key])
        raise ChecksumMismatch(f"{call}: the stored object is not what was sent")

    def _combined_etag(self) -> str:
        digests = b"".join(bytes.fromhex(self._md5s[number]) for number in sorted(self._md5s))
        return f"{hashlib.md5(digests, usedforsecurity=False).hexdigest()}-{len(self._md5s)}"


def _build_pool(connection: Connection, ca_file: CaFile | None) -> Any:
    """One attempt per request, and no request without an end."""
    import urllib3  # noqa: PLC0415 - see map_error

    context = ssl.create_default_context(cafile=ca_file.path if ca_file else None)
    if not connection.verify:
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return urllib3.PoolManager(
        timeout=urllib3.Timeout(
            connect=connection.timeouts.connect_s, read=connection.timeouts.read_s
        ),
        maxsize=_CONNECTIONS,
        retries=False,
        ssl_context=context,
    )


def _build_client(connection: Connection, pool: Any) -> Any:
    from minio import Minio  # noqa: PLC0415 - see map_error
    from minio.credentials import providers  # noqa: PLC0415 - as above

    if not connection.endpoint:
        raise InvalidSpec(f"location {connection.location}: storageEndpoint is not set")
    if connection.access_key and connection.secret_key:
        provider: Any = providers.StaticProvider(
            connection.access_key.reveal(), connection.secret_key.reveal()
        )
    else:
        provider = providers.ChainedProvider(
            [
                providers.EnvAWSProvider(),
                providers.EnvMinioProvider(),
                providers.AWSConfigProvider(),
                providers.IamAwsProvider(http_client=pool),
            ]
        )
    client: Any = Minio(
        connection.endpoint,
        credentials=provider,
        secure=connection.secure,
        region=connection.region or _DEFAULT_REGION,
        http_client=pool,
    )
    if connection.path_style is False:
        client.enable_virtual_style_endpoint()
    return client


def _described(key: str, found: Any) -> ObjectInfo:
    return ObjectInfo(
        key=key,
        size_bytes=found.size,
        etag=found.etag.strip('"'),
        modified_at=found.last_modified.astimezone(UTC),
    )


def _md5_base64(data: bytes) -> str:
    return base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
