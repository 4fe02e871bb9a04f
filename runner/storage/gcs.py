"""Google Cloud Storage, on google-cloud-storage (the one module that imports it).

Metadata goes through the SDK's client. Data goes through the same authorised
session: the SDK has no download that can be pulled chunk by chunk, and its
uploads hide the state that a re-sent part needs.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Generator, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from controller.api.errors import BackupError, InvalidSpec, ObjectExists, ObjectNotFound
from controller.api.secrets import Secret
from runner.storage.base import ObjectInfo, Properties
from runner.storage.connection import CaFile, Connection, open_ca_file
from runner.storage.failure import (
    Call,
    denied,
    misconfigured,
    missing,
    network_error,
    quoted,
    refused,
    unavailable,
)
from runner.storage.gcs_upload import ResumableUpload

# Parts of a resumable upload are multiples of 256 KiB.
_PART_SIZE_BYTES = 8 * 1024 * 1024
_PART_UNIT_BYTES = 256 * 1024
_MAX_PARTS = 10_000
_CHUNK_BYTES = 1024 * 1024
_CONNECTIONS = 10
_SCOPE = "https://www.googleapis.com/auth/devstorage.read_write"
_RIGHTS = {
    "create_upload": "storage.objects.create (and .delete to replace an object)",
    "put_part": "storage.objects.create",
    "complete": "storage.objects.create",
    "put": "storage.objects.create and storage.objects.delete",
    "put_new": "storage.objects.create",
    "open_stream": "storage.objects.get",
    "stat": "storage.objects.get",
    "list": "storage.objects.list",
    "delete": "storage.objects.delete",
}


def map_status(call: Call, bucket: str, status: int, message: object) -> BackupError:
    """The error that an HTTP status of Cloud Storage stands for."""
    said = quoted(f"HTTP status {status}: {message}" if message else f"HTTP status {status}")
    if status in {401, 403}:
        right = _RIGHTS.get(call.operation, "access")
        return denied(call, said, f"the service account needs {right} on bucket {bucket!r}")
    if status in {404, 410}:
        if "bucket" in said and "exist" in said:
            return missing(call, f"the bucket {bucket!r} does not exist")
        return missing(call, f"no such object in bucket {bucket!r}, or no such bucket")
    if status == 412:
        return ObjectExists(f"{call}: it exists already")
    if status in {408, 409, 425, 429} or status >= 500:
        return unavailable(call, said)
    return refused(call, said)


def map_error(error: Exception, call: Call, bucket: str) -> BackupError:
    """What an exception of the Google libraries means for a location."""
    from google.api_core import exceptions as api  # noqa: PLC0415 - only for who has a location
    from google.auth import exceptions as auth  # noqa: PLC0415 - as above
    from google.cloud.storage import exceptions as media  # noqa: PLC0415 - as above
    from requests import exceptions as http  # noqa: PLC0415 - as above

    if isinstance(error, media.DataCorruption):
        return unavailable(call, "the data was damaged on its way")
    if isinstance(error, media.InvalidResponse):
        return map_status(call, bucket, error.response.status_code, "")
    if isinstance(error, api.GoogleAPICallError):
        return map_status(call, bucket, int(error.code or 0), _first_message(error))
    if isinstance(error, auth.TransportError | auth.TimeoutError | auth.ResponseError):
        return network_error(call, error)
    if isinstance(error, auth.RefreshError) and error.retryable:
        return unavailable(call, "the token service did not answer")
    if isinstance(error, auth.GoogleAuthError):
        cure = "check gcsCredentials, or the workload identity of the pod's service account"
        return denied(call, f"no usable credentials ({type(error).__name__})", cure)
    if isinstance(
        error, http.InvalidURL | http.InvalidSchema | http.MissingSchema | media.InvalidPathError
    ):
        return misconfigured(call, "storageEndpoint or storageBucket makes no valid URL")
    if isinstance(error, http.RequestException | api.GoogleAPIError | OSError):
        return network_error(call, error)
    return refused(call, type(error).__name__)


def _first_message(error: Any) -> str:
    """The server's words without the URL that the SDK puts before them."""
    for one in error.errors or ():
        if isinstance(one, dict) and one.get("message"):
            return str(one["message"])
    return ""


class GcsStorage:
    """A bucket of Cloud Storage; the SDK's own retries are off."""

    def __init__(self, connection: Connection, *, part_size_bytes: int = _PART_SIZE_BYTES) -> None:
        if part_size_bytes % _PART_UNIT_BYTES:
            raise ValueError(f"part_size_bytes is no multiple of {_PART_UNIT_BYTES}")
        self._connection = connection
        self._bucket = connection.bucket
        self._timeout = (connection.timeouts.connect_s, connection.timeouts.read_s)
        self._properties = Properties(
            part_size_bytes=part_size_bytes,
            max_parts=_MAX_PARTS,
            conditional_put=True,
            checksum="crc32c",
        )
        self._ca_file = open_ca_file(connection)
        with self._mapped("open"):
            self._session = _build_session(connection, self._ca_file)
            self._client = _build_client(connection, self._session)

    @property
    def properties(self) -> Properties:
        return self._properties

    def create_upload(self, key: str, /) -> ResumableUpload:
        with self._mapped("create_upload", key):
            url = self._blob(key).create_resumable_upload_session(
                content_type="application/octet-stream",
                checksum=None,
                timeout=self._timeout,
                retry=None,
            )
        return ResumableUpload(self, key, url)

    def put_new(self, key: str, data: bytes, /) -> ObjectInfo:
        return self._put("put_new", key, data, if_generation_match=0)

    def put(self, key: str, data: bytes, /) -> ObjectInfo:
        return self._put("put", key, data)

    def open_stream(self, key: str, /, *, offset: int = 0) -> Generator[bytes, None, None]:
        # Stored bytes as they are: no transcoding on the way.
        headers = {"Accept-Encoding": "identity"}
        if offset:
            headers["Range"] = f"bytes={offset}-"
        with self._mapped("open_stream", key) as call:
            url = f"{self._client.api_endpoint}/download/storage/v1{self._blob(key).path}?alt=media"
            response = self._session.get(url, headers=headers, stream=True, timeout=self._timeout)
            with contextlib.closing(response):
                if response.status_code == 416:
                    return
                if response.status_code not in {200, 206}:
                    text = response.raw.read(_CHUNK_BYTES).decode(errors="replace")
                    raise map_status(call, self._bucket, response.status_code, text)
                yield from response.iter_content(_CHUNK_BYTES)

    def stat(self, key: str, /) -> ObjectInfo:
        return _described(self.fetch_blob("stat", key))

    def list(self, prefix: str, /) -> Iterator[ObjectInfo]:
        with self._mapped("list", prefix):
            found = self._client.list_blobs(
                self._bucket, prefix=prefix, timeout=self._timeout, retry=None
            )
            yield from map(_described, found)

    def delete(self, keys: Iterable[str], /) -> None:
        first: BackupError | None = None
        for key in keys:
            try:
                with self._mapped("delete", key):
                    self._blob(key).delete(timeout=self._timeout, retry=None)
            except ObjectNotFound:
                pass
            except BackupError as error:
                first = first or error
        if first:
            raise first

    def abort_stale_uploads(
        self,
        prefix: str,  # noqa: ARG002 - the protocol's
        /,
        *,
        begun_before: datetime | None = None,  # noqa: ARG002 - as above
    ) -> int:
        """None to find: unfinished uploads cannot be listed, cost nothing and end in a week."""
        return 0

    def close(self) -> None:
        self._session.close()
        if self._ca_file:
            self._ca_file.close()

    def fetch_blob(self, operation: str, key: str) -> Any:
        """The object's metadata, as the server has it now."""
        with self._mapped(operation, key):
            blob = self._blob(key)
            blob.reload(timeout=self._timeout, retry=None)
        return blob

    def send_part(
        self, call: Call, url: str, body: bytes | memoryview, headers: dict[str, str]
    ) -> tuple[int, str]:
        """PUT to the URL of a resumable upload; the status and the persisted range."""
        with self._mapped(call.operation, call.key):
            response = self._session.put(
                url, data=body, headers=headers, timeout=self._timeout, allow_redirects=False
            )
            if response.status_code not in {200, 201, 308}:
                raise map_status(call, self._bucket, response.status_code, response.text)
            return response.status_code, response.headers.get("Range", "")

    def cancel_upload(self, key: str, url: str) -> None:
        with self._mapped("abort", key) as call:
            status = self._session.delete(url, timeout=self._timeout).status_code
            # 499 is this protocol's "cancelled".
            if status >= 500 or status in {401, 403, 429}:
                raise map_status(call, self._bucket, status, "")

    def call(self, operation: str, key: str) -> Call:
        return Call(self._connection.location, operation, key)

    @contextlib.contextmanager
    def _mapped(self, operation: str, key: str = "") -> Iterator[Call]:
        from google.api_core.exceptions import GoogleAPIError  # noqa: PLC0415 - see map_error
        from google.auth.exceptions import GoogleAuthError  # noqa: PLC0415 - as above
        from google.cloud.storage import exceptions as media  # noqa: PLC0415 - as above
        from urllib3.exceptions import HTTPError  # noqa: PLC0415 - as above

        call = self.call(operation, key)
        try:
            yield call
        except (  # requests' exceptions are OSErrors
            GoogleAPIError,
            GoogleAuthError,
            HTTPError,
            OSError,
            ValueError,
            media.DataCorruption,
            media.InvalidResponse,
            media.InvalidPathError,
        ) as error:
            raise map_error(error, call, self._bucket) from error

    def _blob(self, key: str) -> Any:
        return self._client.bucket(self._bucket).blob(key)

    def _put(self, operation: str, key: str, data: bytes, **condition: int) -> ObjectInfo:
        with self._mapped(operation, key):
            blob = self._blob(key)
            blob.upload_from_string(
                data,
                content_type="application/octet-stream",
                checksum="crc32c",
                timeout=self._timeout,
                retry=None,
                **condition,
            )
        return _described(blob)


def _build_session(connection: Connection, ca_file: CaFile | None) -> Any:
    from google.auth.transport.requests import AuthorizedSession  # noqa: PLC0415 - see map_error
    from requests.adapters import HTTPAdapter  # noqa: PLC0415 - as above

    class Transport(HTTPAdapter):
        """Decides about trust by itself: REQUESTS_CA_BUNDLE would win over a session's setting."""

        def send(self, request: Any, *args: Any, **options: Any) -> Any:
            if not connection.verify:
                options["verify"] = False
            elif ca_file:
                options["verify"] = ca_file.path
            return super().send(request, *args, **options)

    if not connection.verify:
        import urllib3  # noqa: PLC0415 - as above

        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
    make_session: Any = AuthorizedSession  # typed in part
    session = make_session(
        _build_credentials(connection), refresh_timeout=connection.timeouts.read_s
    )
    for scheme in ("http://", "https://"):
        session.mount(scheme, Transport(pool_maxsize=_CONNECTIONS, max_retries=0))
    return session


def _build_client(connection: Connection, session: Any) -> Any:
    from google.cloud import storage  # noqa: PLC0415 - see map_error

    # Else the SDK asks for the bucket's metadata in a thread of its own, with its
    # own retries and a right that nothing else here needs, to label traces.
    os.environ.setdefault("DISABLE_GCS_PYTHON_CLIENT_OTEL_BUCKET_METADATA", "true")
    options = {"api_endpoint": connection.url} if connection.url else None
    return storage.Client(
        project=None, credentials=session.credentials, _http=session, client_options=options
    )


def _build_credentials(connection: Connection) -> Any:
    import google.auth  # noqa: PLC0415 - see map_error
    from google.auth.credentials import AnonymousCredentials  # noqa: PLC0415 - as above
    from google.oauth2 import service_account  # noqa: PLC0415 - as above

    if connection.credentials_json is not None:
        info = _parse_key(connection.location, connection.credentials_json)
        key_type: Any = service_account.Credentials  # typed in part
        try:
            return key_type.from_service_account_info(info, scopes=[_SCOPE])
        except ValueError:
            # Not chained: the parser's message may quote the key.
            raise InvalidSpec(
                f"location {connection.location}: gcsCredentials is no complete service account key"
            ) from None
    if not connection.secure:
        # A found identity is never sent over plain HTTP; this is an emulator.
        anonymous: Any = AnonymousCredentials  # typed in part
        return anonymous()
    return google.auth.default(scopes=[_SCOPE])[0]


def _parse_key(location: str, credentials_json: Secret) -> dict[str, str]:
    try:
        info = json.loads(credentials_json.reveal())
    except ValueError:
        info = None
    if not isinstance(info, dict) or info.get("type") != "service_account":
        raise InvalidSpec(
            f"location {location}: gcsCredentials is not the JSON key of a service account;"
            " leave it out to use workload identity"
        )
    return info


def _described(blob: Any) -> ObjectInfo:
    return ObjectInfo(
        key=blob.name,
        size_bytes=int(blob.size),
        etag=str(blob.generation),
        modified_at=blob.updated.astimezone(UTC),
    )
