"""Every exception class of every SDK becomes one of ours; the known codes, the right one."""

from __future__ import annotations

import inspect
import ssl
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import botocore.exceptions
import google.api_core.exceptions
import google.auth.exceptions
import google.cloud.storage.exceptions
import minio.error
import pytest
import requests
import urllib3.exceptions

from controller.api.errors import (
    AccessDenied,
    BackupError,
    InvalidSpec,
    ObjectExists,
    ObjectNotFound,
    StorageUnavailable,
    TerminalError,
)
from runner.storage import gcs, minio as minio_adapter, s3
from runner.storage.failure import Call
from runner.storage.s3_codes import map_code

CALL = Call("far", "put", "a/key")


def _classes(*modules: ModuleType) -> list[type[Exception]]:
    found = {
        one
        for module in modules
        for _, one in inspect.getmembers(module, inspect.isclass)
        if issubclass(one, Exception)
        and not issubclass(one, Warning)
        and one.__module__.partition(".")[0]
        in {"botocore", "google", "minio", "requests", "urllib3"}
    }
    return sorted(found, key=lambda one: (one.__module__, one.__name__))


def _made(one: type[Exception]) -> Exception:
    """An instance, whatever its constructor wants; the mapper may look at its usual attributes."""
    error = one.__new__(one)
    error.args = ("the message",)
    for name, value in {
        "response": _Answer(),
        "_errors": (),
        "_retryable": False,
        "_code": 500,
        "_body": "",
        "_status_code": 500,
        "code": 500,
        "message": "",
    }.items():
        if isinstance(error, minio.error.S3Error):
            object.__setattr__(error, name, "InternalError" if name == "code" else value)
            continue
        try:
            if not isinstance(getattr(one, name, None), property):
                setattr(error, name, value)
        except (AttributeError, TypeError):
            continue
    return error


class _Answer(dict[str, Any]):
    """Stands for the answers of all SDKs."""

    status_code = status = 500

    def __init__(self) -> None:
        super().__init__(Error={"Code": "InternalError"}, ResponseMetadata={"HTTPStatusCode": 500})


@pytest.mark.parametrize(
    "one", _classes(botocore.exceptions, urllib3.exceptions), ids=lambda one: one.__name__
)
def test_every_exception_of_boto3_maps(one: type[Exception]) -> None:
    _assert_mapped(s3.map_error(_made(one), CALL, "bucket"))


@pytest.mark.parametrize(
    "one", _classes(minio.error, urllib3.exceptions), ids=lambda one: one.__name__
)
def test_every_exception_of_minio_maps(one: type[Exception]) -> None:
    _assert_mapped(minio_adapter.map_error(_made(one), CALL, "bucket"))


@pytest.mark.parametrize(
    "one",
    _classes(
        google.api_core.exceptions,
        google.auth.exceptions,
        google.cloud.storage.exceptions,
        requests.exceptions,
        urllib3.exceptions,
    ),
    ids=lambda one: f"{one.__module__}.{one.__name__}",
)
def test_every_exception_of_google_maps(one: type[Exception]) -> None:
    _assert_mapped(gcs.map_error(_made(one), CALL, "bucket"))


def _assert_mapped(error: BackupError) -> None:
    assert isinstance(error, StorageUnavailable | TerminalError)
    assert str(error).startswith("location far: put 'a/key': ")


S3_CODES = {
    ("NoSuchKey", 404): ObjectNotFound,
    ("NoSuchBucket", 404): ObjectNotFound,
    ("NoSuchUpload", 404): ObjectNotFound,
    ("404", 404): ObjectNotFound,
    ("AccessDenied", 403): AccessDenied,
    ("403", 403): AccessDenied,
    ("", 401): AccessDenied,
    ("InvalidAccessKeyId", 403): AccessDenied,
    ("SignatureDoesNotMatch", 403): AccessDenied,
    ("ExpiredToken", 400): AccessDenied,
    ("RequestTimeTooSkewed", 403): AccessDenied,
    ("PreconditionFailed", 412): ObjectExists,
    ("ConditionalRequestConflict", 409): StorageUnavailable,
    ("SlowDown", 503): StorageUnavailable,
    ("RequestTimeout", 400): StorageUnavailable,
    ("InternalError", 200): StorageUnavailable,
    ("BadDigest", 400): StorageUnavailable,
    ("XAmzContentChecksumMismatch", 400): StorageUnavailable,
    ("XMinioStorageFull", 507): StorageUnavailable,
    ("XMinioAdminBucketQuotaExceeded", 400): StorageUnavailable,
    ("", 500): StorageUnavailable,
    ("", 502): StorageUnavailable,
    ("", 429): StorageUnavailable,
    ("PermanentRedirect", 301): InvalidSpec,
    ("AuthorizationHeaderMalformed", 400): InvalidSpec,
    ("NotImplemented", 501): TerminalError,
    ("EntityTooLarge", 400): TerminalError,
}


@pytest.mark.parametrize(("code", "status"), S3_CODES)
def test_codes_of_s3(code: str, status: int) -> None:
    assert type(map_code(CALL, "bucket", code, status, "words")) is S3_CODES[code, status]


GCS_STATUSES = {
    400: TerminalError,
    401: AccessDenied,
    403: AccessDenied,
    404: ObjectNotFound,
    408: StorageUnavailable,
    409: StorageUnavailable,
    410: ObjectNotFound,
    412: ObjectExists,
    429: StorageUnavailable,
    500: StorageUnavailable,
    503: StorageUnavailable,
}


@pytest.mark.parametrize("status", GCS_STATUSES)
def test_statuses_of_gcs(status: int) -> None:
    assert type(gcs.map_status(CALL, "bucket", status, "words")) is GCS_STATUSES[status]
    error = google.api_core.exceptions.from_http_status(status, "words")
    assert type(gcs.map_error(error, CALL, "bucket")) is GCS_STATUSES[status]


@pytest.mark.parametrize(
    ("operation", "right"),
    [("put_part", "s3:PutObject"), ("list", "s3:ListBucket"), ("stat", "s3:GetObject")],
)
def test_denials_name_the_right_and_the_bucket(operation: str, right: str) -> None:
    error = map_code(Call("far", operation, "k"), "the-bucket", "AccessDenied", 403, "")

    assert right in str(error)
    assert "'the-bucket'" in str(error)


def _untrusted() -> Iterator[Exception]:
    """A failed verification, wrapped as deep as each SDK does."""
    inner = ssl.SSLCertVerificationError(1, "certificate verify failed")
    inner.verify_message = "unable to get local issuer certificate"
    yield urllib3.exceptions.SSLError(inner)
    yield requests.exceptions.SSLError(
        urllib3.exceptions.MaxRetryError(None, "/", urllib3.exceptions.SSLError(inner))  # type: ignore[arg-type]
    )
    try:
        raise inner
    except ssl.SSLError as cause:
        try:
            raise botocore.exceptions.SSLError(endpoint_url="https://x", error=cause)
        except botocore.exceptions.SSLError as error:
            yield error
    yield google.auth.exceptions.TransportError(requests.exceptions.SSLError(inner))


@pytest.mark.parametrize("error", list(_untrusted()), ids=lambda error: type(error).__module__)
def test_untrusted_certificates_name_the_field_however_they_are_wrapped(error: Exception) -> None:
    adapter = {"botocore": s3, "urllib3": minio_adapter}.get(
        type(error).__module__.partition(".")[0], gcs
    )

    mapped = adapter.map_error(error, CALL, "bucket")

    assert isinstance(mapped, InvalidSpec)
    assert "unable to get local issuer certificate" in str(mapped)
    assert "caBundle" in str(mapped)
