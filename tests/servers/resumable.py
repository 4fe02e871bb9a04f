"""Cloud Storage's resumable uploads as documented, with faults between request and answer.

Only what an upload needs: start, chunks, the question how much is stored,
cancel, and the metadata of the finished object. For everything else there is
fake-gcs-server, which answers that question wrongly.
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
import secrets
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

import google_crc32c

UNIT_BYTES = 256 * 1024
_CONTENT_RANGE = re.compile(r"bytes (?:\*|(\d+)-(\d+))/(\*|\d+)")


class ResumableServer:
    """One bucket.

    Attributes:
        stored_limit_bytes: store at most so much of the next chunk, as the service may.
        lose_answers: so many answers to PUT are swallowed after the data was stored.
        lose_requests: so many PUTs are cut before their data was stored.
        flip_bit: damage the next chunk on its way to the disk.
        session_lost: every upload is forgotten, as after a week.
    """

    def __init__(self) -> None:
        self.stored_limit_bytes: int | None = None
        self.lose_answers = 0
        self.lose_requests = 0
        self.flip_bit = False
        self.session_lost = False
        self.uploads: dict[str, tuple[str, bytearray]] = {}
        self.objects: dict[str, bytes] = {}
        self.finished: dict[str, str] = {}
        self.ranges: list[str] = []
        self.hashes: list[str] = []
        handler = type("Handler", (_Handler,), {"state": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, name="resumable"
        )

    @property
    def endpoint(self) -> str:
        return f"127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_exc_info: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def describe(self, key: str) -> dict[str, Any]:
        data = self.objects[key]
        crc = google_crc32c.value(data).to_bytes(4, "big")
        return {
            "kind": "storage#object",
            "name": key,
            "size": str(len(data)),
            "crc32c": base64.b64encode(crc).decode(),
            "generation": "1",
            "updated": "2026-11-23T10:00:00.000Z",
        }


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: ResumableServer

    def handle_one_request(self) -> None:
        with contextlib.suppress(ConnectionError):
            super().handle_one_request()

    def log_message(self, *_args: object) -> None:
        pass

    def do_POST(self) -> None:
        self._body()
        key = (
            parse_qs(urlsplit(self.path).query).get("name", [""])[0]
            or json.loads(self.sent)["name"]
        )
        upload_id = secrets.token_hex(8)
        self.state.uploads[upload_id] = (key, bytearray())
        self._answer(200, Location=f"http://{self.state.endpoint}/session?upload_id={upload_id}")

    def do_PUT(self) -> None:
        state = self.state
        body = self._body()
        upload_id = parse_qs(urlsplit(self.path).query)["upload_id"][0]
        match = _CONTENT_RANGE.fullmatch(self.headers["Content-Range"])
        assert match, self.headers["Content-Range"]
        state.ranges.append(match[0])
        if body and state.lose_requests:
            state.lose_requests -= 1
            self.close_connection = True
            return
        if state.session_lost:
            self._answer(410)
            return
        if upload_id in state.finished:
            self._answer(200, state.describe(state.finished[upload_id]))
            return
        if upload_id not in state.uploads:
            self._answer(404)
            return
        key, stored = state.uploads[upload_id]
        self._store(stored, body, match)
        if match[3] != "*" and len(stored) == int(match[3]):
            state.hashes.append(self.headers.get("X-Goog-Hash", ""))
            state.objects[key] = bytes(stored)
            state.finished[upload_id] = key
        if state.lose_answers:
            state.lose_answers -= 1
            self.close_connection = True
        elif upload_id in state.finished:
            self._answer(200, state.describe(key))
        elif stored:
            self._answer(308, Range=f"bytes=0-{len(stored) - 1}")
        else:
            self._answer(308)

    def _store(self, stored: bytearray, body: bytes, match: re.Match[str]) -> None:
        """Append what is new; bytes that are stored already are never overwritten."""
        if match[1] is None:
            return
        start, total = int(match[1]), match[3]
        assert start <= len(stored), "a hole"
        new = bytearray(body[len(stored) - start :])
        if self.state.stored_limit_bytes is not None:
            del new[self.state.stored_limit_bytes :]
            self.state.stored_limit_bytes = None
        if total == "*" or len(stored) + len(new) < int(total):
            del new[len(new) - (len(stored) + len(new)) % UNIT_BYTES :]
        if self.state.flip_bit and new:
            self.state.flip_bit = False
            new[0] ^= 1
        stored += new

    def do_GET(self) -> None:
        key = unquote(urlsplit(self.path).path.rpartition("/o/")[2])
        if key in self.state.objects:
            self._answer(200, self.state.describe(key))
        else:
            self._answer(404, {"error": {"code": 404, "message": "No such object"}})

    def do_DELETE(self) -> None:
        url = urlsplit(self.path)
        if url.path == "/session":
            upload_id = parse_qs(url.query)["upload_id"][0]
            is_known = self.state.uploads.pop(upload_id, None) is not None
            self._answer(499 if is_known else 404)
            return
        self.state.objects.pop(unquote(url.path.rpartition("/o/")[2]), None)
        self._answer(204)

    def _body(self) -> bytes:
        self.sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return self.sent

    def _answer(self, status: int, content: object = None, **headers: str) -> None:
        data = json.dumps(content).encode() if content is not None else b""
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        if status != 204:
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
