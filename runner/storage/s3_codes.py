"""What the error codes of the S3 protocol mean; shared by the two adapters that speak it.

Source: the error tables of the Amazon S3 API reference and of MinIO.
"""

from __future__ import annotations

from controller.api.errors import BackupError, ObjectExists
from runner.storage.failure import (
    Call,
    denied,
    misconfigured,
    missing,
    quoted,
    refused,
    unavailable,
)

_DENIED = frozenset(
    {
        "AccessDenied",
        "AccountProblem",
        "AllAccessDisabled",
        "ExpiredToken",
        "Forbidden",
        "InvalidAccessKeyId",
        "InvalidSecurity",
        "InvalidToken",
        "RequestTimeTooSkewed",
        "SignatureDoesNotMatch",
        "TokenRefreshRequired",
        "UnauthorizedAccess",
    }
)
_MISSING = frozenset({"NoSuchKey", "NoSuchUpload", "NoSuchVersion", "NotFound"})
_FULL = frozenset({"QuotaExceeded", "XMinioAdminBucketQuotaExceeded", "XMinioStorageFull"})
_PASSING = frozenset(
    {
        "ConditionalRequestConflict",
        "IncompleteBody",
        "InternalError",
        "OperationAborted",
        "RequestTimeout",
        "ServerBusy",
        "ServiceUnavailable",
        "SlowDown",
        "SlowDownRead",
        "SlowDownWrite",
        "TooManyRequests",
    }
)
# The bytes changed on the way: send them again.
_CORRUPTED = frozenset(
    {
        "BadDigest",
        "InvalidDigest",
        "XAmzContentChecksumMismatch",
        "XAmzContentSHA256Mismatch",
    }
)
_WRONG_REGION = frozenset(
    {
        "AuthorizationHeaderMalformed",
        "IllegalLocationConstraintException",
        "PermanentRedirect",
        "Redirect",
        "TemporaryRedirect",
    }
)

_RIGHTS = {
    "create_upload": "s3:PutObject",
    "put_part": "s3:PutObject",
    "complete": "s3:PutObject",
    "put": "s3:PutObject",
    "put_new": "s3:PutObject",
    "abort": "s3:AbortMultipartUpload",
    "open_stream": "s3:GetObject",
    "stat": "s3:GetObject",
    "list": "s3:ListBucket",
    "delete": "s3:DeleteObject",
    "abort_stale_uploads": "s3:ListBucketMultipartUploads and s3:AbortMultipartUpload",
}
_CURES = {
    "InvalidAccessKeyId": "storageAccessKeyID is not known to the server",
    "SignatureDoesNotMatch": "storageSecretAccessKey does not belong to storageAccessKeyID",
    "RequestTimeTooSkewed": "the clocks of this machine and of the server differ",
    "ExpiredToken": "the credentials are past their end",
}


def map_code(  # noqa: C901 - a table in the form of code
    call: Call, bucket: str, code: str, status: int, message: object
) -> BackupError:
    """The error that an answer of an S3 server stands for.

    Args:
        code: the protocol's error code, or the bare status of an answer without a body.
        status: the HTTP status, 0 if unknown.
        message: the server's words, for people.
    """
    said = quoted(f"{code}: {message}" if message else code)
    if code == "NoSuchBucket":
        return missing(call, f"the bucket {bucket!r} does not exist")
    if code in _MISSING:
        return missing(call, f"no such object in bucket {bucket!r} ({code})")
    if code == "PreconditionFailed" or status == 412:
        return ObjectExists(f"{call}: it exists already")
    if code in _FULL or status == 507:
        return unavailable(call, f"the server has no space left for this bucket ({said})")
    if code in _CORRUPTED:
        return unavailable(call, f"the data was damaged on its way ({code})")
    if code in _DENIED or status in {401, 403}:
        right = _RIGHTS.get(call.operation, "access")
        cure = _CURES.get(code, f"the credentials need {right} on bucket {bucket!r}")
        return denied(call, said, cure)
    if code in _WRONG_REGION or status in {301, 307}:
        return misconfigured(
            call, f"the bucket is in another region than storageLocation says ({said})"
        )
    if status == 501 or code == "NotImplemented":
        return refused(call, f"this server cannot do what is needed ({said})")
    if code in _PASSING or status in {408, 429} or status >= 500:
        return unavailable(call, said)
    if status == 404:
        return missing(call, f"no such object in bucket {bucket!r}, or no such bucket")
    if "HTTPS server" in said:
        return misconfigured(call, "the server speaks TLS on this port; set storageUseSSL: true")
    return refused(call, said)
