"""A `FakeKind` behind HTTP on loopback: what a client and a reflector meet on the wire.

Lists come in pages of one moment, watches as chunked JSON lines. The script has
what real servers, proxies and networks do: any status with Retry-After, an end
in order or not, half a line, a line that is no JSON, silence. It does not
write, authenticate or know schemas: for that there is a real API server.
"""

from __future__ import annotations

import itertools
import json
import threading
from collections import defaultdict, deque
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal, Self
from urllib.parse import parse_qs, urlsplit

from attrs import frozen

from controller.api.errors import ApiExpired
from controller.api.keys import ObjectKey
from controller.kube.watch import WatchEvent
from tests.fakes.listwatch import FakeKind

Verb = Literal["list", "watch", "get"]


@frozen(kw_only=True)
class Answer:
    """What one request gets instead of what it asked for."""

    status: int
    reason: str = ""
    retry_after_s: int | None = None


@frozen(kw_only=True)
class WireCut:
    """How one watch ends.

    Args:
        after: so many events are sent before it.
        how: in order; in the middle of a line; the connection gone; never, in
            silence; after a line that is no JSON.
    """

    after: int = 0
    how: Literal["eof", "half_line", "reset", "stall", "malformed"] = "eof"


class ApiServer:
    """Serves kinds by the path of their collection, ``/api/v1/secrets``.

    Threads: one a connection; all end with the block.
    """

    def __init__(self, kinds: Mapping[str, FakeKind]) -> None:
        self.kinds = dict(kinds)
        self.is_stopping = False
        #: Verbs of the requests so far, in order.
        self.seen: list[Verb] = []
        self._answers: dict[Verb, deque[Answer]] = defaultdict(deque)
        self._cuts: deque[WireCut] = deque()
        # Pages of a list are of one moment: what is left of it, and its version.
        self._rests: dict[str, tuple[list[dict[str, Any]], str]] = {}
        self._tokens = itertools.count()
        server = self

        class Handler(_Handler):
            api = server

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = False
        self._thread = threading.Thread(
            target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, name="apiserver"
        )

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", self._http.server_port

    @property
    def url(self) -> str:
        host, port = self.address
        return f"http://{host}:{port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.is_stopping = True
        for kind in self.kinds.values():
            with kind.changed:
                kind.changed.notify_all()
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    def answer_next(self, verb: Verb, answer: Answer) -> None:
        self._answers[verb].append(answer)

    def cut_watch(self, cut: WireCut) -> None:
        """End the next watch so; one without a cut goes on until the client or the server goes."""
        self._cuts.append(cut)

    def take_answer(self, verb: Verb) -> Answer | None:
        return self._answers[verb].popleft() if self._answers[verb] else None

    def take_cut(self) -> WireCut | None:
        return self._cuts.popleft() if self._cuts else None

    def page(self, kind: FakeKind, limit: int, token: str) -> dict[str, Any]:
        """Give one page of a list; raises ApiExpired for one whose moment is gone."""
        if token:
            if token not in self._rests:
                raise ApiExpired("the continue token is too old")
            items, version = self._rests.pop(token)
        else:
            listing = kind.list()
            items, version = list(listing.items), listing.resource_version
        metadata = {"resourceVersion": version}
        if limit and len(items) > limit:
            metadata["continue"] = str(next(self._tokens))
            self._rests[metadata["continue"]] = items[limit:], version
            items = items[:limit]
        return {"kind": "List", "apiVersion": "v1", "metadata": metadata, "items": items}

    def forget_pages(self) -> None:
        """Compact between two pages."""
        self._rests.clear()


class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    api: ApiServer

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(url.query).items()}
        kind = self.api.kinds.get(url.path)
        verb: Verb = "get" if kind is None else "watch" if "watch" in query else "list"
        self.api.seen.append(verb)
        if answer := self.api.take_answer(verb):
            self._answer_status(answer)
        elif kind is None:
            self._get(url.path)
        elif verb == "list":
            self._list(kind, query)
        else:
            self._watch(kind, query["resourceVersion"])

    def log_message(self, *_: object) -> None:
        """Tests have no use for an access log."""

    def _list(self, kind: FakeKind, query: Mapping[str, str]) -> None:
        try:
            page = self.api.page(kind, int(query.get("limit", "0")), query.get("continue", ""))
        except ApiExpired:
            self._answer_status(Answer(status=410, reason="Expired"))
        else:
            self._answer(200, page)

    def _get(self, path: str) -> None:
        for collection, kind in self.api.kinds.items():
            for key, object_raw in kind.objects().items():
                if path == _object_path(collection, key):
                    self._answer(200, object_raw)
                    return
        self._answer_status(Answer(status=404, reason="NotFound"))

    def _watch(self, kind: FakeKind, version: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        try:
            kind.watch(version)
        except ApiExpired:
            # As a real one does: the stream is opened, and says so.
            self._line(WatchEvent("ERROR", _status(Answer(status=410, reason="Expired"))))  # type: ignore[arg-type]
            self._end_chunks()
            return
        cut = self.api.take_cut()
        sent, seen = 0, int(version)
        try:
            while not self.api.is_stopping and (cut is None or sent < cut.after):
                with kind.changed:
                    while not (events := kind.events_after(seen)) and not self.api.is_stopping:
                        kind.reading.set()
                        kind.changed.wait()
                for version_of_event, event in events[: None if cut is None else cut.after - sent]:
                    self._line(event)
                    seen, sent = version_of_event, sent + 1
            self._end(cut, kind)
        except OSError:
            # The client is gone.
            self.close_connection = True

    def _end(self, cut: WireCut | None, kind: FakeKind) -> None:
        how = "eof" if cut is None else cut.how
        if how == "stall":
            with kind.changed:
                kind.reading.set()
                kind.changed.wait_for(lambda: self.api.is_stopping)
        elif how == "half_line":
            self._chunk(b'{"type":"ADDED","object":{"meta')
        elif how == "malformed":
            self._chunk(b"<html>504 Gateway Time-out</html>\n")
        if how in {"reset", "stall"}:
            self.close_connection = True
        else:
            self._end_chunks()

    def _line(self, event: WatchEvent) -> None:
        self._chunk(json.dumps({"type": event.type, "object": event.object}).encode() + b"\n")

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def _end_chunks(self) -> None:
        self.wfile.write(b"0\r\n\r\n")

    def _answer_status(self, answer: Answer) -> None:
        headers = {}
        if answer.retry_after_s is not None:
            headers["Retry-After"] = str(answer.retry_after_s)
        self._answer(answer.status, _status(answer), headers)

    def _answer(
        self, status: int, body: Mapping[str, Any], headers: Mapping[str, str] | None = None
    ) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)


def _status(answer: Answer) -> dict[str, Any]:
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "code": answer.status,
        "reason": answer.reason,
        "message": f"scripted: {answer.reason}",
    }


def _object_path(collection: str, key: ObjectKey) -> str:
    """``/api/v1/secrets`` and db/a: ``/api/v1/namespaces/db/secrets/a``."""
    if not key.namespace:
        return f"{collection}/{key.name}"
    prefix, plural = collection.rsplit("/", 1)
    return f"{prefix}/namespaces/{key.namespace}/{plural}/{key.name}"
