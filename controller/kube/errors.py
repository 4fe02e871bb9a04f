"""What an answer that is no success means, in the tree of `controller.api.errors`.

The one place that looks at HTTP statuses, at the reasons of a Kubernetes
`Status` and at exceptions of urllib3; callers look at our types alone.

Messages hold kind, namespace, name, field paths and the server's words. The
server quotes values that it did not like, and a value may be a password: they
are cut out, and of kinds that hold secrets nothing is quoted at all.
"""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Iterator, Mapping
from http.client import HTTPException
from typing import Any

import orjson
from attrs import frozen
from urllib3 import exceptions as urllib3_errors

from controller.api.errors import (
    AccessDenied,
    ApiConflict,
    ApiExpired,
    ApiRefused,
    ApiThrottled,
    ApiUnavailable,
    BackupError,
    ObjectExists,
    ObjectNotFound,
)
from controller.kube.resource import Resource

#: All that a connection can raise.
NETWORK_ERRORS = (urllib3_errors.HTTPError, HTTPException, OSError)

#: How every authorizer of an API server denies a resource: ``User "x" cannot list resource ...``.
_OF_RBAC = re.compile(r" cannot [a-z]+ resource ")
_QUOTED_CHARACTERS = 400
_CAUSES_SHOWN = 10
#: Where 429 comes without a header, a second is what the API server itself proposes.
_RETRY_AFTER_S = 1.0
_RETRY_AFTER_MAX_S = 300.0


@frozen
class Call:
    """Which verb on which object an error speaks about; the verb is RBAC's."""

    verb: str
    resource: Resource
    namespace: str | None = None
    name: str = ""

    def __str__(self) -> str:
        where = "/".join(filter(None, (self.namespace, self.name)))
        return " ".join(filter(None, (self.verb, str(self.resource), where)))


def status_error(
    call: Call, code: int, status: Mapping[str, Any], retry_after: str | None = None
) -> BackupError:
    """What a `Status` object means, whether it came as an answer or inside of a watch.

    Args:
        code: the HTTP status, or the Status' own code.
        status: empty if the answer had none, as a proxy's has.
        retry_after: the header of that name.
    """
    reason = str(status.get("reason") or "")
    words = _words(call, code, status)
    if code == 429:
        return ApiThrottled(f"{call}: {words}", _seconds(retry_after, status) or _RETRY_AFTER_S)
    if code == 410 or reason in {"Expired", "Gone"}:
        return ApiExpired(f"{call}: {words}")
    if code >= 500 or code in {0, 408}:
        return _server_error(call, words, status, retry_after)
    if code == 409:
        return (ObjectExists if reason == "AlreadyExists" else ApiConflict)(f"{call}: {words}")
    if code == 404 and not status:
        # An object that is not there comes as a Status; a path that nobody serves does not.
        return ObjectNotFound(
            f"{call}: {words}; it does not serve this kind: a CustomResourceDefinition is missing"
        )
    if code == 404:
        return ObjectNotFound(f"{call}: {words}")
    if code == 403 and any(one.get("reason") == "NamespaceTerminating" for one in _causes(status)):
        return ApiRefused(f"{call}: the namespace is being deleted")
    if code == 403:
        # A quota and an admission plugin or webhook answer 403 too; their words are the cure.
        is_rbac = _OF_RBAC.search(str(status.get("message") or ""))
        cure = (
            "; a Role or ClusterRole that is bound to this user has to allow"
            f" {call.verb!r} on {str(call.resource)!r}"
        )
        return AccessDenied(f"{call}: {words}{cure if is_rbac else ''}")
    if code == 401:
        return AccessDenied(
            f"{call}: the server does not accept the credentials ({words}); the token or client"
            " certificate is missing, expired or of another cluster"
        )
    return ApiRefused(f"{call}: {words}")


def answer_error(call: Call, code: int, body: bytes, retry_after: str | None) -> BackupError:
    """What an answer with a status that is no success means."""
    try:
        status = orjson.loads(body)
    except orjson.JSONDecodeError:
        status = {}
    if not isinstance(status, dict) or status.get("kind") != "Status":
        status = {}  # a proxy's words: whatever they are, they are not about this object
    return status_error(call, code, status, retry_after)


def network_error(call: Call, error: BaseException) -> BackupError:
    """What a connection that could not be made or kept means.

    The text of the exception is not quoted: it holds addresses of objects in
    memory and nothing that helps.
    """
    for cause in _wrapped(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return ApiRefused(
                f"{call}: the server's certificate is not trusted"
                f" ({_short(cause.verify_message)}); the certificate authority has to be that of"
                " the cluster: certificate-authority in a kubeconfig, ca.crt beside the token"
            )
    reason = network_reason(error)
    if reason is None:
        return ApiUnavailable(f"{call}: the connection failed ({type(error).__name__})")
    return (ApiUnavailable if reason.is_passing else ApiRefused)(f"{call}: {reason.words}")


def network_reason(error: BaseException) -> NetworkReason | None:
    """Why a connection failed; None if nobody thought of such an error."""
    causes = list(_wrapped(error))
    for reason in _NETWORK_REASONS:
        if any(isinstance(cause, reason.kinds) for cause in causes):
            return reason
    return None


@frozen
class NetworkReason:
    """What errors of these kinds are to a person, and whether they may pass by themselves."""

    words: str
    kinds: tuple[type[BaseException], ...]
    is_passing: bool = True


_BROKEN = "the connection was closed before the answer was complete"
_SILENT = "no answer within the time limit"
# The first that fits wins: what the operating system says comes before what urllib3 makes of it.
_NETWORK_REASONS = (
    NetworkReason(
        "the server's name cannot be resolved",
        (socket.gaierror, urllib3_errors.NameResolutionError),
    ),
    NetworkReason("connection refused", (ConnectionRefusedError,)),
    NetworkReason("the server cannot be reached", (urllib3_errors.NewConnectionError,)),
    NetworkReason(
        "no connection within the time limit",
        (urllib3_errors.ConnectTimeoutError,),
    ),
    NetworkReason(_SILENT, (TimeoutError, urllib3_errors.TimeoutError)),
    NetworkReason(_BROKEN, (ConnectionError,)),
    NetworkReason(
        "the TLS connection could not be made or broke",
        (ssl.SSLError, urllib3_errors.SSLError),
    ),
    NetworkReason(
        _BROKEN,
        (urllib3_errors.ProtocolError, urllib3_errors.ConnectionError, HTTPException),
    ),
    NetworkReason(
        "the answer is not HTTP as it should be",
        (
            urllib3_errors.BodyNotHttplibCompatible,
            urllib3_errors.DecodeError,
            urllib3_errors.HeaderParsingError,
            urllib3_errors.InvalidHeader,
            urllib3_errors.ResponseError,
        ),
    ),
    NetworkReason("the proxy cannot be reached", (urllib3_errors.ProxyError,)),
    NetworkReason(
        "the server's address is wrong",
        (
            urllib3_errors.HostChangedError,
            urllib3_errors.LocationValueError,
            urllib3_errors.ProxySchemeUnsupported,
        ),
        is_passing=False,
    ),
    NetworkReason(
        "the request cannot be sent in this form",
        (urllib3_errors.TimeoutStateError, urllib3_errors.UnrewindableBodyError),
        is_passing=False,
    ),
    NetworkReason(
        "no connection is to be had",
        (urllib3_errors.PoolError,),
    ),
    NetworkReason("the network failed", (OSError,)),
)


def _wrapped(error: BaseException) -> Iterator[BaseException]:
    """The error and all that it wraps."""
    seen: set[int] = set()
    todo: list[object] = [error]
    while todo:
        one = todo.pop(0)
        if isinstance(one, BaseException) and id(one) not in seen:
            seen.add(id(one))
            yield one
            todo += [one.__cause__, one.__context__, getattr(one, "reason", None), *one.args]


def _words(call: Call, code: int, status: Mapping[str, Any]) -> str:
    """The server's explanation, without values; never empty."""
    # Bad input is what is answered with values in it; its paths say the same without them.
    if code == 422:
        causes = [_cause(call, one) for one in _causes(status)]
        shown = "; ".join(causes[:_CAUSES_SHOWN])
        if len(causes) > _CAUSES_SHOWN:
            shown += f"; and {len(causes) - _CAUSES_SHOWN} more"
        return shown or _named(code, status)
    if call.resource.has_secrets and code == 400:
        return _named(code, status)
    return _short(status.get("message")) or _named(code, status)


def _server_error(
    call: Call, words: str, status: Mapping[str, Any], retry_after: str | None
) -> BackupError:
    if _SCHEMA_ERROR in str(status.get("message")):
        # The server's own fault by its code, and none that passes.
        return ApiRefused(f"{call}: {_schema_words(call, status)}")
    return ApiUnavailable(f"{call}: {words}", _seconds(retry_after, status))


#: How an apply is refused whose fields or types the server does not know.
_SCHEMA_ERROR = "failed to create typed patch object"
#: ``.spec.a[name="b"].c: expected string, got &{hunter2}``: a path, the rule, perhaps a value.
_SCHEMA_FAULT = re.compile(
    r"(\.(?:\[[^\]]*\]|[^\s:\[])+): "
    r"(field not declared in schema|duplicate entries for key|expected [a-z]+)"
)


def _schema_words(call: Call, status: Mapping[str, Any]) -> str:
    """Which fields do not fit the server's schema, without their values."""
    faults = [] if call.resource.has_secrets else _SCHEMA_FAULT.findall(str(status.get("message")))
    shown = "; ".join(f"{path[1:]}: {rule}" for path, rule in faults[:_CAUSES_SHOWN])
    return f"the server's schema does not allow this: {shown or 'it names no field'}"


def _named(code: int, status: Mapping[str, Any]) -> str:
    reason = str(status.get("reason") or "")
    return f"the server answered {code}" + (f" ({_short(reason)})" if reason else "")


def _causes(status: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    details = status.get("details")
    causes = details.get("causes") if isinstance(details, dict) else None
    return [one for one in causes if isinstance(one, dict)] if isinstance(causes, list) else []


#: ``Invalid value: "hunter2": must be ...``: a label, a value as Go prints it, an explanation.
_FIELD_ERROR = re.compile(
    r"(?P<label>[A-Z][a-z]+ value): "
    r'(?:"(?:[^"\\]|\\.)*"|-?[0-9.]+|true|false|null): '
    r"(?P<detail>.+)",
    re.DOTALL,
)
_LABELS_WITHOUT_VALUE = ("Required value", "Forbidden", "Too many", "Internal error")


def _cause(call: Call, cause: Mapping[str, Any]) -> str:
    """One field's fault: the path, what kind of fault, and the rule; never the value."""
    path = _short(cause.get("field"))
    message = str(cause.get("message") or "")
    label = message.partition(":")[0]
    if not re.fullmatch(r"[A-Z][a-z]+(?: [a-z]+){0,2}", label):
        label = _short(cause.get("reason")) or "not valid"
    said = label
    if not call.resource.has_secrets:
        if label in _LABELS_WITHOUT_VALUE:
            said = _short(message)
        elif found := _FIELD_ERROR.fullmatch(message):
            said = f"{found['label']}: {_short(found['detail'])}"
    return f"{path}: {said}" if path else said


def _short(message: object) -> str:
    """A server's words on one line, short enough for a condition."""
    text = " ".join(str(message or "").split())
    return text if len(text) <= _QUOTED_CHARACTERS else text[:_QUOTED_CHARACTERS] + "..."


def _seconds(retry_after: str | None, status: Mapping[str, Any]) -> float | None:
    """How long the server asks to wait: by its header, else by the Status.

    A date, which HTTP allows too, is nothing that an API server sends.
    """
    details = status.get("details")
    proposed = details.get("retryAfterSeconds") if isinstance(details, dict) else None
    for one in (retry_after, proposed):
        try:
            seconds = float(str(one))
        except ValueError:
            continue
        if 0 < seconds < float("inf"):
            return min(seconds, _RETRY_AFTER_MAX_S)
    return None
