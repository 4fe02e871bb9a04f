"""Connections to an API server: what breaks on them, whom they trust, and who they say they are."""

from __future__ import annotations

import socket
import ssl
import time
from pathlib import Path

import pytest

from controller.api.errors import (
    AccessDenied,
    ApiRefused,
    ApiUnavailable,
)
from controller.kube.client import Client
from controller.kube.endpoint import Endpoint, TokenFile
from controller.kube.resource import SECRETS
from controller.kube.transport import Options
from tests.fakes.scripted_http import Script, ScriptedHttp, Wire
from tests.servers.tls import Authority
from tests.unit.kube.wire import OBJECT, PATIENT, QUICK, a_client, says


def _slow_headers(wire: Wire) -> None:
    wire.send(b"HTTP/1.1 200 OK\r\nContent-")
    wire.stall()


def _half_a_body(wire: Wire) -> None:
    wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")


def _then_stall(script: Script) -> Script:
    def both(wire: Wire) -> None:
        script(wire)
        wire.stall()

    return both


def _then_reset(script: Script) -> Script:
    def both(wire: Wire) -> None:
        script(wire)
        wire.reset()

    return both


def _then_close(script: Script) -> Script:
    def both(wire: Wire) -> None:
        script(wire)
        wire.close()

    return both


FAULTS: dict[str, tuple[Script, str]] = {
    "no answer": (Wire.stall, "time limit"),
    "slow headers": (_slow_headers, "time limit"),
    "half a body and silence": (_then_stall(_half_a_body), "time limit"),
    "half a body and the end": (_then_close(_half_a_body), "before the answer was complete"),
    "half a body and reset": (_then_reset(_half_a_body), "before the answer was complete"),
    "reset": (Wire.reset, "before the answer was complete"),
    "closed": (Wire.close, "before the answer was complete"),
    "not HTTP": (_then_close(lambda wire: wire.send(b"SSH-2.0-x\r\n")), "before the answer"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_the_connection_is_an_unavailable_server(fault: str) -> None:
    script, words = FAULTS[fault]
    options = QUICK if words == "time limit" else PATIENT
    begun = time.monotonic()

    with ScriptedHttp(script) as server, a_client(server, options) as client:
        with pytest.raises(ApiUnavailable, match=f"get secrets b/a: .*{words}"):
            client.get(SECRETS, "a", namespace="b")
        with pytest.raises(ApiUnavailable):  # and the next request stands on its own feet
            client.get(SECRETS, "a", namespace="b")

    assert time.monotonic() - begun < 5


def test_after_a_fault_the_next_request_gets_a_new_connection() -> None:
    with ScriptedHttp(Wire.reset, says(200, OBJECT)) as server, a_client(server) as client:
        with pytest.raises(ApiUnavailable):
            client.get(SECRETS, "a", namespace="b")

        assert client.get(SECRETS, "a", namespace="b") == OBJECT


def test_nobody_listens() -> None:
    with ScriptedHttp() as server:
        url = server.url

    with (
        Client(Endpoint(server=url), QUICK) as client,
        pytest.raises(ApiUnavailable, match="connection refused"),
    ):
        client.get(SECRETS, "a", namespace="b")


def test_a_redirect_is_not_followed() -> None:
    script = says(302, b"", Location="http://127.0.0.1:1/")
    with (
        ScriptedHttp(script) as server,
        a_client(server) as client,
        pytest.raises(ApiRefused, match="302"),
    ):
        client.get(SECRETS, "a", namespace="b")

    assert len(server.seen) == 1


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, Path]:
    """A server's context and the file of its authority."""
    authority, folder = Authority(), tmp_path_factory.mktemp("tls")
    authority.issue_server().write(folder, certificate="crt", key="key")
    (folder / "ca").write_text(authority.certificate_pem)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "crt", folder / "key")
    return context, folder / "ca"


def test_the_named_authority_is_trusted(tls: tuple[ssl.SSLContext, Path]) -> None:
    with (
        ScriptedHttp(says(200, OBJECT), tls=tls[0]) as server,
        a_client(server, ca_file=tls[1]) as client,
    ):
        assert client.get(SECRETS, "a", namespace="b") == OBJECT


def test_another_authority_is_not_trusted_and_the_cure_is_named(
    tls: tuple[ssl.SSLContext, Path], tmp_path: Path
) -> None:
    other = tmp_path / "ca"
    other.write_text(Authority("another").certificate_pem)

    with (
        ScriptedHttp(says(200, OBJECT), tls=tls[0]) as server,
        a_client(server, ca_file=other) as client,
        pytest.raises(ApiRefused, match=r"not trusted.*certificate-authority"),
    ):
        client.get(SECRETS, "a", namespace="b")

    assert server.seen == []


def test_the_name_in_the_certificate_is_checked(tls: tuple[ssl.SSLContext, Path]) -> None:
    with ScriptedHttp(says(200, OBJECT), tls=tls[0]) as server:
        with (
            a_client(server, ca_file=tls[1], tls_server_name="elsewhere") as client,
            pytest.raises(ApiRefused, match="elsewhere"),
        ):
            client.get(SECRETS, "a", namespace="b")
        with a_client(server, ca_file=tls[1], tls_server_name="localhost") as client:
            assert client.get(SECRETS, "a", namespace="b") == OBJECT


def test_a_kubeconfig_may_switch_the_check_off(tls: tuple[ssl.SSLContext, Path]) -> None:
    with (
        ScriptedHttp(says(200, OBJECT), tls=tls[0]) as server,
        a_client(server, is_verified=False) as client,
    ):
        assert client.get(SECRETS, "a", namespace="b") == OBJECT


def test_a_silent_handshake_has_a_time_limit(tls: tuple[ssl.SSLContext, Path]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # the kernel accepts, nobody speaks
        url = f"https://127.0.0.1:{silent.getsockname()[1]}"
        options = Options(connect_timeout_s=0.3)
        with (
            Client(Endpoint(server=url, ca_file=tls[1]), options) as client,
            pytest.raises(ApiUnavailable, match="within the time limit"),
        ):
            client.get(SECRETS, "a", namespace="b")


def test_an_address_that_is_none_is_said_to_be_none() -> None:
    with pytest.raises(ApiRefused, match="no address"):
        Client(Endpoint(server="https://[::1"))


def test_a_token_that_was_replaced_is_tried_once_more(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("first")

    def refuse(wire: Wire) -> None:
        file.write_text("second")
        wire.answer(401)

    with (
        ScriptedHttp(refuse, says(200, OBJECT)) as server,
        a_client(server, credentials=TokenFile(file)) as client,
    ):
        assert client.get(SECRETS, "a", namespace="b") == OBJECT

    assert [seen.headers["Authorization"] for seen in server.seen] == [
        "Bearer first",
        "Bearer second",
    ]


def test_a_refused_token_that_is_still_the_same_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("hunter2")

    with (
        ScriptedHttp(says(401), says(200, OBJECT)) as server,
        a_client(server, credentials=TokenFile(file)) as client,
        pytest.raises(AccessDenied, match="credentials") as raised,
    ):
        client.get(SECRETS, "a", namespace="b")

    assert len(server.seen) == 1
    assert "hunter2" not in str(raised.value)
