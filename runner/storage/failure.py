"""One wording for what goes wrong at a location, whatever the SDK.

Belongs here: how a network fault reads to a person. Does not belong here:
what an SDK's own codes mean; each adapter has the one mapper for that.

The text of network exceptions is never quoted: it holds URLs, and the URL of
a resumable upload is as good as a password.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator

from attrs import frozen

from controller.api.errors import (
    AccessDenied,
    BackupError,
    InvalidSpec,
    ObjectNotFound,
    StorageUnavailable,
    TerminalError,
)

_QUOTED_CHARACTERS = 300


@frozen
class Call:
    """Which operation on which object of which location an error speaks about."""

    location: str
    operation: str
    key: str = ""

    def __str__(self) -> str:
        where = f"location {self.location}: {self.operation}"
        return f"{where} {self.key!r}" if self.key else where


def unavailable(call: Call, why: str) -> StorageUnavailable:
    return StorageUnavailable(f"{call}: {why}")


def denied(call: Call, why: str, cure: str) -> AccessDenied:
    return AccessDenied(f"{call}: {why}; {cure}")


def missing(call: Call, why: str) -> ObjectNotFound:
    return ObjectNotFound(f"{call}: {why}")


def refused(call: Call, why: str) -> TerminalError:
    return TerminalError(f"{call}: {why}")


def misconfigured(call: Call, why: str) -> InvalidSpec:
    return InvalidSpec(f"{call}: {why}")


def quoted(message: object) -> str:
    """A server's own words, short enough for a condition."""
    text = " ".join(str(message or "").split())
    return text if len(text) <= _QUOTED_CHARACTERS else text[:_QUOTED_CHARACTERS] + "..."


def network_error(call: Call, error: BaseException) -> BackupError:
    """What a connection that could not be made or kept means.

    Passing, unless it is TLS that the settings of the location cannot satisfy:
    then no number of tries helps, and the message names the field.
    """
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return misconfigured(
                call,
                f"the server's certificate is not trusted ({quoted(cause.verify_message)}); put the"
                " certificate authority that signed it into caBundle",
            )
        if isinstance(cause, ssl.SSLError) and cause.reason in _NOT_TLS:
            return misconfigured(
                call, "the server does not speak TLS on this port; set storageUseSSL: false"
            )
    return unavailable(call, _network_reason(error))


_NOT_TLS = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL"})

_REASONS: tuple[tuple[type[BaseException], str], ...] = (
    (socket.gaierror, "the host name of the endpoint cannot be resolved"),
    (ConnectionRefusedError, "connection refused"),
    (TimeoutError, "no answer within the timeout"),
    (ConnectionError, "the connection was closed before the answer was complete"),
    (ssl.SSLError, "the TLS connection broke"),
)


def _network_reason(error: BaseException) -> str:
    causes = list(_causes(error))
    for kind, reason in _REASONS:
        if any(isinstance(cause, kind) for cause in causes):
            return reason
    names = [type(cause).__name__ for cause in causes]
    if any("Timeout" in name for name in names):
        return "no answer within the timeout"
    return f"the connection failed ({names[-1]})"


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and all that it wraps; SDKs hide the cause in four different places."""
    seen: set[int] = set()
    todo: list[object] = [error]
    while todo:
        one = todo.pop(0)
        if not isinstance(one, BaseException) or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        todo += [one.__cause__, one.__context__, getattr(one, "reason", None), *one.args]
