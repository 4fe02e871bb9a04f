"""Credentials and trust of the Cloud Storage adapter, on a token service and a TLS front."""

from __future__ import annotations

import contextlib
import http.client
import json
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from controller.api.errors import AccessDenied, InvalidSpec, StorageUnavailable
from controller.api.secrets import Secret
from runner.storage.connection import Connection
from runner.storage.gcs import GcsStorage
from tests.servers.gcs import GcsServer
from tests.servers.tls import Authority


class _Front(BaseHTTPRequestHandler):
    """Gives out tokens and passes storage requests on, if they carry one."""

    protocol_version = "HTTP/1.1"
    target_port: int
    token_status: int
    seen: list[str]

    def log_message(self, *_args: object) -> None:
        pass

    def _relay(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path == "/token":
            self._answer(
                self.token_status,
                json.dumps({"access_token": "the-token", "expires_in": 3600}).encode(),
            )
            return
        self.seen.append(self.headers.get("Authorization", ""))
        if self.seen[-1] != "Bearer the-token":
            self._answer(401, b"{}")
            return
        upstream = http.client.HTTPConnection("127.0.0.1", self.target_port, timeout=20)
        with contextlib.closing(upstream):
            headers = {
                name: value for name, value in self.headers.items() if name.lower() != "host"
            }
            upstream.request(self.command, self.path, body, headers)
            answer = upstream.getresponse()
            self._answer(answer.status, answer.read())

    def _answer(self, status: int, content: bytes) -> None:
        self.send_response_only(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_PUT = do_POST = do_DELETE = _relay  # noqa: N815 - the names http.server looks for


@contextlib.contextmanager
def _front(target_port: int, context: ssl.SSLContext | None = None) -> Iterator[type[_Front]]:
    handler: Any = type(
        "Front", (_Front,), {"target_port": target_port, "token_status": 200, "seen": []}
    )
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    server.handle_error = lambda *_args: None  # type: ignore[method-assign] - refused handshakes
    if context:
        server.socket = context.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
    handler.endpoint = f"127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield handler
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def _service_account_key(token_uri: str) -> Secret:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return Secret(
        json.dumps(
            {
                "type": "service_account",
                "project_id": "p",
                "private_key_id": "1",
                "private_key": pem.decode(),
                "client_email": "runner@p.iam.gserviceaccount.com",
                "token_uri": token_uri,
            }
        )
    )


def _connection(endpoint: str, bucket: str, **settings: Any) -> Connection:
    defaults: dict[str, Any] = {"location": "gcs", "secure": False}
    return Connection(endpoint=endpoint, bucket=bucket, **defaults | settings)


def test_a_service_account_key_gets_a_token_and_uses_it(gcs_server: GcsServer) -> None:
    with _front(gcs_server.port) as front:
        key = _service_account_key(f"http://{front.endpoint}/token")
        bucket = gcs_server.new_bucket()
        storage = GcsStorage(_connection(front.endpoint, bucket, credentials_json=key))
        with contextlib.closing(storage):
            storage.put("k", b"content")
            assert b"".join(storage.open_stream("k")) == b"content"
            assert set(front.seen) == {"Bearer the-token"}


@pytest.mark.parametrize(("status", "error"), [(400, AccessDenied), (503, StorageUnavailable)])
def test_a_token_service_that_refuses_or_fails(
    gcs_server: GcsServer, status: int, error: type[Exception]
) -> None:
    with _front(gcs_server.port) as front:
        front.token_status = status
        key = _service_account_key(f"http://{front.endpoint}/token")
        storage = GcsStorage(_connection(front.endpoint, "bucket", credentials_json=key))
        with contextlib.closing(storage), pytest.raises(error):
            storage.put("k", b"content")


_INCOMPLETE = {"type": "service_account", "client_email": "a", "token_uri": "b"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "canary",
        "[]",
        '{"type": "authorized_user"}',
        json.dumps(_INCOMPLETE),
        json.dumps(_INCOMPLETE | {"private_key": "canary"}),
    ],
)
def test_what_is_no_service_account_key_is_refused_unseen(text: str) -> None:
    with pytest.raises(InvalidSpec, match="gcsCredentials") as caught:
        GcsStorage(_connection("127.0.0.1:1", "bucket", credentials_json=Secret(text)))

    assert "canary" not in repr(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("trusted", ["right", "wrong", "none", "unverified"])
def test_a_bucket_behind_tls(
    gcs_server: GcsServer, authority: Authority, tmp_path: Path, trusted: str
) -> None:
    authority.issue_server().write(tmp_path, certificate="cert.pem", key="key.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    ca_pem = {
        "right": authority.certificate_pem,
        "wrong": Authority("another").certificate_pem,
    }.get(trusted, "")
    with _front(gcs_server.port) as tokens, _front(gcs_server.port, context) as front:
        connection = _connection(
            front.endpoint,
            gcs_server.new_bucket(),
            secure=True,
            verify=trusted != "unverified",
            ca_pem=ca_pem,
            credentials_json=_service_account_key(f"http://{tokens.endpoint}/token"),
        )
        with contextlib.closing(GcsStorage(connection)) as storage:
            if trusted in {"right", "unverified"}:
                assert storage.put("k", b"content").size_bytes == 7
                return
            with pytest.raises(InvalidSpec, match=r"not trusted .*caBundle"):
                storage.put("k", b"content")
            with pytest.raises(InvalidSpec, match=r"not trusted .*caBundle"):
                list(storage.open_stream("k"))


def test_no_identity_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)

    with pytest.raises(AccessDenied, match="workload identity"):
        GcsStorage(_connection("storage.invalid", "bucket", secure=True))
