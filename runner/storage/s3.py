"""Amazon S3 and what speaks its protocol, on boto3 (the one module that imports it)."""

from __future__ import annotations

import base64
import contextlib
import functools
import hashlib
import re
import threading
from collections.abc import Generator, Iterable, Iterator, Sequence
from datetime import datetime
from itertools import islice
from typing import Any

from controller.api.errors import BackupError, ChecksumMismatch, ObjectNotFound
from runner.storage.base import ObjectInfo, Properties
from runner.storage.connection import CaFile, Connection, open_ca_file
from runner.storage.failure import (
    Call,
    denied,
    misconfigured,
    network_error,
    quoted,
    refused,
    unavailable,
)
from runner.storage.s3_codes import map_code

_PART_SIZE_BYTES = 8 * 1024 * 1024
_MAX_PARTS = 10_000
_CHUNK_BYTES = 1024 * 1024
_DELETE_BATCH = 1000
_FALLBACK_REGION = "us-east-1"
_MD5 = re.compile(r"[0-9a-f]{32}")

# Guards the session: clients serve many threads, making them does not.
_session_lock = threading.Lock()


@functools.cache
def _session() -> Any:
    """One session for all locations: each would load 12 MiB of service descriptions again."""
    import boto3  # noqa: PLC0415 - 0.5 s and 26 MiB, only for who has such a location

    return boto3.session.Session()


def map_error(error: Exception, call: Call, bucket: str) -> BackupError:
    """What an exception of boto3 means for a location."""
    from botocore import exceptions as sdk  # noqa: PLC0415 - see _session

    if isinstance(error, sdk.ClientError):
        answer = error.response.get("Error", {})
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return map_code(call, bucket, str(answer.get("Code", "")), status, answer.get("Message"))
    if isinstance(
        error,
        sdk.NoCredentialsError
        | sdk.PartialCredentialsError
        | sdk.NoAuthTokenError
        | sdk.SSOError
        | sdk.LoginError
        | sdk.UnknownCredentialError
        | sdk.TokenRetrievalError,
    ):
        cure = (
            "set storageAccessKeyID and storageSecretAccessKey,"
            " or give the pod's service account an identity"
        )
        return denied(call, "no usable credentials were found", cure)
    if isinstance(error, sdk.CredentialRetrievalError | sdk.MetadataRetrievalError):
        return unavailable(call, "the service that hands out credentials did not answer")
    if isinstance(error, sdk.ChecksumError | sdk.FlexibleChecksumError):
        return unavailable(call, "the data was damaged on its way")
    if isinstance(error, sdk.ConnectionError | sdk.HTTPClientError | sdk.IncompleteReadError):
        return network_error(call, error)
    if isinstance(error, sdk.BotoCoreError | ValueError):
        return misconfigured(call, quoted(error))
    return network_error(call, error)


class S3Storage:
    """A bucket, through boto3's client; its own retries are off."""

    def __init__(self, connection: Connection, *, part_size_bytes: int = _PART_SIZE_BYTES) -> None:
        self._connection = connection
        self._bucket = connection.bucket
        self._properties = Properties(
            part_size_bytes=part_size_bytes,
            max_parts=_MAX_PARTS,
            conditional_put=True,
            checksum="sha256",
        )
        self._ca_file = open_ca_file(connection)
        with self.mapped("open"):
            self._client = _build_client(connection, self._ca_file)

    @property
    def properties(self) -> Properties:
        return self._properties

    def create_upload(self, key: str, /) -> S3Upload:
        with self.mapped("create_upload", key):
            answer = self._client.create_multipart_upload(
                Bucket=self._bucket, Key=key, ChecksumAlgorithm="SHA256"
            )
        return S3Upload(self, self._client, self._bucket, key, answer["UploadId"])

    def put_new(self, key: str, data: bytes, /) -> ObjectInfo:
        with self.mapped("put_new", key):
            self._put(key, data, IfNoneMatch="*")
        return self.stat(key)

    def put(self, key: str, data: bytes, /) -> ObjectInfo:
        with self.mapped("put", key):
            self._put(key, data)
        return self.stat(key)

    def open_stream(self, key: str, /, *, offset: int = 0) -> Generator[bytes, None, None]:
        wanted = {"Range": f"bytes={offset}-"} if offset else {}
        with self.mapped("open_stream", key):
            try:
                body = self._client.get_object(Bucket=self._bucket, Key=key, **wanted)["Body"]
            except self._client.exceptions.ClientError as error:
                if error.response["Error"]["Code"] == "InvalidRange":
                    return
                raise
            with contextlib.closing(body):
                while chunk := body.read(_CHUNK_BYTES):
                    yield chunk

    def stat(self, key: str, /) -> ObjectInfo:
        return _described(key, self.head("stat", key))

    def list(self, prefix: str, /) -> Iterator[ObjectInfo]:
        with self.mapped("list", prefix):
            pages = self._client.get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self._bucket, Prefix=prefix):
                for found in page.get("Contents", ()):
                    yield ObjectInfo(
                        key=found["Key"],
                        size_bytes=found["Size"],
                        etag=found["ETag"].strip('"'),
                        modified_at=found["LastModified"],
                    )

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
        # MinIO takes the prefix of this call for a whole key, so all are listed.
        with self.mapped("abort_stale_uploads", prefix):
            pages = self._client.get_paginator("list_multipart_uploads")
            stale = [
                (upload["Key"], upload["UploadId"])
                for page in pages.paginate(Bucket=self._bucket)
                for upload in page.get("Uploads", ())
                if upload["Key"].startswith(prefix)
                and (begun_before is None or upload["Initiated"] < begun_before)
            ]
        for key, upload_id in stale:
            self.abort_upload(key, upload_id)
        return len(stale)

    def close(self) -> None:
        self._client.close()
        if self._ca_file:
            self._ca_file.close()

    def call(self, operation: str, key: str) -> Call:
        return Call(self._connection.location, operation, key)

    @contextlib.contextmanager
    def mapped(self, operation: str, key: str = "") -> Iterator[Call]:
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - see _session
        from urllib3.exceptions import HTTPError  # noqa: PLC0415 - as above

        call = self.call(operation, key)
        try:
            yield call
        except (BotoCoreError, ClientError, HTTPError, OSError, ValueError) as error:
            raise map_error(error, call, self._bucket) from error

    def _put(self, key: str, data: bytes, **condition: str) -> None:
        self._client.put_object(
            Bucket=self._bucket, Key=key, Body=data, ChecksumSHA256=_sha256(data), **condition
        )

    def head(self, operation: str, key: str) -> dict[str, Any]:
        with self.mapped(operation, key):
            answer: dict[str, Any] = self._client.head_object(
                Bucket=self._bucket, Key=key, ChecksumMode="ENABLED"
            )
            return answer

    def _delete_batch(self, keys: Sequence[str]) -> None:
        with self.mapped("delete", keys[0]):
            answer = self._client.delete_objects(
                Bucket=self._bucket,
                Delete={"Objects": [{"Key": key} for key in keys], "Quiet": True},
            )
        for failed in answer.get("Errors", ()):
            call = Call(self._connection.location, "delete", failed.get("Key", ""))
            raise map_code(call, self._bucket, failed.get("Code", ""), 0, failed.get("Message"))

    def abort_upload(self, key: str, upload_id: str) -> None:
        with contextlib.suppress(ObjectNotFound), self.mapped("abort", key):
            self._client.abort_multipart_upload(Bucket=self._bucket, Key=key, UploadId=upload_id)


class S3Upload:
    """A multipart upload. The server checks each part against its SHA-256 and says so."""

    def __init__(
        self, storage: S3Storage, client: Any, bucket: str, key: str, upload_id: str
    ) -> None:
        self._storage = storage
        self._client = client
        self._target = {"Bucket": bucket, "Key": key, "UploadId": upload_id}
        self._key = key
        self._parts: dict[int, dict[str, Any]] = {}
        self._sizes_bytes: dict[int, int] = {}
        self._done: ObjectInfo | None = None

    def put_part(self, number: int, data: bytes, /) -> None:
        checksum = _sha256(data)
        with self._storage.mapped("put_part", self._key) as call:
            answer = self._client.upload_part(
                **self._target, PartNumber=number, Body=data, ChecksumSHA256=checksum
            )
            etag = answer["ETag"].strip('"')
            # Stores that know no SHA-256 still answer with the MD5 of what they got.
            confirmed = answer.get("ChecksumSHA256") or etag
            if confirmed not in {checksum, hashlib.md5(data, usedforsecurity=False).hexdigest()}:
                raise unavailable(call, f"the server did not confirm the checksum of part {number}")
        self._parts[number] = {"PartNumber": number, "ETag": etag, "ChecksumSHA256": checksum}
        self._sizes_bytes[number] = len(data)

    def complete(self) -> ObjectInfo:
        if self._done:
            return self._done
        if not self._parts:
            self.put_part(1, b"")
        parts = [self._parts[number] for number in sorted(self._parts)]
        is_gone = False
        try:
            with self._storage.mapped("complete", self._key):
                self._client.complete_multipart_upload(
                    **self._target, MultipartUpload={"Parts": parts}
                )
        except ObjectNotFound:
            # Perhaps an earlier call finished it and only its answer was lost.
            is_gone = True
        head = self._storage.head("complete", self._key)
        self._verify(head, parts, is_proof_needed=is_gone)
        self._done = _described(self._key, head)
        return self._done

    def abort(self) -> None:
        if not self._done:
            self._storage.abort_upload(self._key, self._target["UploadId"])

    def _verify(
        self, head: dict[str, Any], parts: Sequence[dict[str, Any]], *, is_proof_needed: bool
    ) -> None:
        """Compare the finished object with what was sent."""
        stored = head.get("ChecksumSHA256", "")
        etag = head["ETag"].strip('"')
        claims = []
        if stored.endswith(f"-{len(parts)}"):
            claims.append(stored == _combined_sha256(parts))
        if all(_MD5.fullmatch(part["ETag"]) for part in parts):
            claims.append(etag == _combined_etag(parts))
        is_size_right = head["ContentLength"] == sum(self._sizes_bytes.values())
        if is_size_right and not is_proof_needed and (any(claims) or not claims):
            return
        call = self._storage.call("complete", self._key)
        if is_size_right and any(claims):
            return
        if is_proof_needed:
            raise refused(call, "the unfinished upload is gone: something else aborted it")
        self._storage.delete([self._key])
        raise ChecksumMismatch(f"{call}: the stored object is not what was sent")


def _build_client(connection: Connection, ca_file: CaFile | None) -> Any:
    from botocore.config import Config  # noqa: PLC0415 - see _session

    verify: bool | str | None = ca_file.path if ca_file else None
    if not connection.verify:
        import urllib3  # noqa: PLC0415 - as above

        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        verify = False
    path_style = connection.path_style
    if path_style is None:
        path_style = not connection.is_amazon
    keys = {}
    if connection.access_key and connection.secret_key:
        keys = {
            "aws_access_key_id": connection.access_key.reveal(),
            "aws_secret_access_key": connection.secret_key.reveal(),
        }
    with _session_lock:
        session = _session()
        return session.client(
            "s3",
            endpoint_url=connection.url or None,
            region_name=connection.region or session.region_name or _FALLBACK_REGION,
            use_ssl=connection.secure,
            verify=verify,
            config=Config(
                connect_timeout=connection.timeouts.connect_s,
                read_timeout=connection.timeouts.read_s,
                retries={"total_max_attempts": 1, "mode": "standard"},
                s3={"addressing_style": "path" if path_style else "virtual"},
                signature_version="s3v4",
                tcp_keepalive=True,
                # We send SHA-256 ourselves; servers that are not Amazon's stumble over the rest.
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
            **keys,
        )


def _described(key: str, head: dict[str, Any]) -> ObjectInfo:
    return ObjectInfo(
        key=key,
        size_bytes=head["ContentLength"],
        etag=head["ETag"].strip('"'),
        modified_at=head["LastModified"],
    )


def _sha256(data: bytes) -> str:
    return base64.b64encode(hashlib.sha256(data).digest()).decode()


def _combined_sha256(parts: Sequence[dict[str, Any]]) -> str:
    digests = b"".join(base64.b64decode(part["ChecksumSHA256"]) for part in parts)
    return f"{_sha256(digests)}-{len(parts)}"


def _combined_etag(parts: Sequence[dict[str, Any]]) -> str:
    digests = b"".join(bytes.fromhex(part["ETag"]) for part in parts)
    return f"{hashlib.md5(digests, usedforsecurity=False).hexdigest()}-{len(parts)}"
