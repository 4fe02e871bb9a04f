"""Requests over one pool of connections: limits of time, credentials, errors, counting.

Knows HTTP and no verbs of Kubernetes; `client` has those. Nothing is tried
again here, save a request that came with a token that was replaced meanwhile.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Protocol
from urllib.parse import urlencode, urlsplit

import orjson
import urllib3
from attrs import field, frozen

from controller.api.errors import ApiRefused, ApiUnavailable, FormatError
from controller.kube.decoding import decode
from controller.kube.endpoint import Endpoint
from controller.kube.errors import NETWORK_ERRORS, Call, answer_error, network_error
from controller.kube.resource import Resource
from controller.throttle import Limit, TokenBucket

#: More of an error's body than this is no Status.
_ERROR_BYTES = 1 << 20


class Observe(Protocol):
    """Told of every request, for metrics. Called from the thread that asked."""

    def __call__(self, verb: str, resource: Resource, code: int, seconds: float) -> None:
        """One request ended; `code` is 0 if there was no answer, `seconds` is until its headers."""
        ...


def _unobserved(verb: str, resource: Resource, code: int, seconds: float) -> None:
    del verb, resource, code, seconds


def _nobody_asked() -> None:
    pass


def _user_agent() -> str:
    try:
        return f"db-backup-controller/{version('db-backup-controller')}"
    except PackageNotFoundError:
        return "db-backup-controller"


@frozen(kw_only=True)
class Options:
    """How a client behaves on the wire.

    Args:
        connect_timeout_s: until there is a connection, TLS included.
        read_timeout_s: without a byte of an answer; the API server itself gives
            up on a request after 60 s.
        watch_timeout_s: how long the server shall keep up a watch; random
            between the two, so that watches do not all end together.
        watch_idle_s: without a byte of a watch. Where something happens,
            bookmarks come once a minute.
        connections: kept open; more are made when needed and closed after.
        line_bytes: the longest event; etcd takes objects of 1.5 MB.
        limit: None asks as fast as it can.
    """

    connect_timeout_s: float = 5.0
    read_timeout_s: float = 30.0
    watch_timeout_s: tuple[int, int] = (300, 600)
    watch_idle_s: float = 120.0
    connections: int = 32
    line_bytes: int = 16 << 20
    limit: Limit | None = None
    user_agent: str = field(factory=_user_agent)
    observe: Observe = _unobserved


@frozen(kw_only=True)
class Request:
    """One HTTP request, without what is the same in all.

    Args:
        may_send: called when its turn has come, and raises when it is not to be sent any more.
    """

    call: Call
    method: str
    path: str
    query: Mapping[str, str] = field(factory=dict)
    body: bytes | None = None
    content_type: str = "application/json"
    may_send: Callable[[], None] = _nobody_asked

    @property
    def target(self) -> str:
        return f"{self.path}?{urlencode(self.query)}" if self.query else self.path


class Transport:
    """Sends requests to one API server. Thread-safe."""

    def __init__(self, endpoint: Endpoint, options: Options) -> None:
        self.options = options
        self._endpoint = endpoint
        self._bucket = TokenBucket(options.limit) if options.limit else None
        self._closing = threading.Event()
        self._pool = _pool(endpoint, options)
        self._prefix = urlsplit(endpoint.server).path.rstrip("/")

    def close(self) -> None:
        """End what waits for its turn, and close the connections that are idle."""
        self._closing.set()
        self._pool.close()

    def ask(self, request: Request) -> dict[str, Any]:
        """Send a request and decode its answer.

        Raises: what `controller.kube.errors` maps answers and connections to.
            FormatError: success, with something that is no JSON object.
        """
        return self.ask_with_text(request)[0]

    def ask_with_text(self, request: Request) -> tuple[dict[str, Any], bytes]:
        """The same, and the answer as the server wrote it."""
        text = self._send(request, is_stream=False).data
        try:
            answer = decode(text)
        except orjson.JSONDecodeError as error:
            raise FormatError(f"{request.call}: the answer is not JSON") from error
        if not isinstance(answer, dict):
            raise FormatError(f"{request.call}: the answer is not a JSON object")
        return answer, text

    def open(self, request: Request) -> urllib3.BaseHTTPResponse:
        """Send a request and return when its body begins; the caller reads and closes it."""
        response = self._send(request, is_stream=True)
        connection = response.connection
        if (sock := getattr(connection, "sock", None)) is not None:
            # The headers had to come at once; events come when something happens.
            sock.settimeout(self.options.watch_idle_s)
        return response

    def _send(self, request: Request, *, is_stream: bool) -> urllib3.BaseHTTPResponse:
        response = self._send_once(request, is_stream=is_stream)
        if response.status == 401 and self._endpoint.credentials.renew():
            response.close()
            response = self._send_once(request, is_stream=is_stream)
        if 200 <= response.status < 300:
            return response
        try:
            body = response.read(_ERROR_BYTES) if is_stream else response.data
        except NETWORK_ERRORS:
            body = b""  # the status says enough
        finally:
            response.close()
        raise answer_error(request.call, response.status, body, response.headers.get("Retry-After"))

    def _send_once(self, request: Request, *, is_stream: bool) -> urllib3.BaseHTTPResponse:
        headers = self._headers(request)
        self._wait_turn(request.call)
        request.may_send()
        begun_mono = time.monotonic()
        code = 0
        try:
            response = self._pool.urlopen(
                request.method,
                self._prefix + request.target,
                body=request.body,
                headers=headers,
                retries=False,
                redirect=False,
                preload_content=not is_stream,
            )
            code = response.status
        except NETWORK_ERRORS as error:
            raise network_error(request.call, error) from error
        finally:
            self.options.observe(
                request.call.verb, request.call.resource, code, time.monotonic() - begun_mono
            )
        return response

    def _headers(self, request: Request) -> dict[str, str]:
        # No Accept-Encoding: inside a cluster bytes are cheaper than the time to pack them.
        headers = {"Accept": "application/json", "User-Agent": self.options.user_agent}
        if request.body is not None:
            headers["Content-Type"] = request.content_type
        if authorization := self._endpoint.credentials.authorization():
            headers["Authorization"] = authorization.reveal()
        return headers

    def _wait_turn(self, call: Call) -> None:
        delay_s = self._bucket.reserve() if self._bucket else 0.0
        if self._closing.wait(delay_s) if delay_s else self._closing.is_set():
            raise ApiUnavailable(f"{call}: this program is ending")


def _pool(endpoint: Endpoint, options: Options) -> urllib3.HTTPConnectionPool:
    tls: dict[str, Any] = {}
    if context := endpoint.tls():
        tls = {"ssl_context": context, "server_hostname": endpoint.tls_server_name}
        if not endpoint.is_verified:
            tls["cert_reqs"] = "CERT_NONE"
            # A person wrote it down; a warning with every request says nothing new.
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
    timeout = urllib3.Timeout(connect=options.connect_timeout_s, read=options.read_timeout_s)
    try:
        return urllib3.connection_from_url(
            endpoint.server, maxsize=options.connections, timeout=timeout, **tls
        )
    except ValueError as error:
        raise ApiRefused(f"{endpoint.server!r} is no address of an API server") from error
