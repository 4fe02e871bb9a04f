from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from controller.api.errors import InvalidSpec
from controller.process.httpd import Endpoints, HttpServer, parse_listen

REAL_TIMEOUT_S = 10.0


def endpoints(**changes: Any) -> Endpoints:
    given: dict[str, Any] = {
        "metrics": lambda: b"a_metric 1\n",
        "metrics_type": "text/plain; version=0.0.4",
        "health": lambda: (True, {}),
        "readiness": lambda: (True, {"next": "soon"}),
    }
    return Endpoints(**(given | changes))


@contextmanager
def serving(
    served: Endpoints, listen: str = "127.0.0.1:0", **options: Any
) -> Iterator[tuple[str, int]]:
    """A running server; its end is part of every test: no thread may outlive it."""
    before = set(threading.enumerate())
    server, stop = HttpServer(listen, served, **options), threading.Event()
    server.bind()
    thread = threading.Thread(target=server.run, args=(stop,), name="httpd")
    thread.start()
    try:
        yield server.address
    finally:
        stop.set()
        thread.join(REAL_TIMEOUT_S)
    assert not thread.is_alive()
    assert set(threading.enumerate()) <= before


def ask(
    address: tuple[str, int], path: str, method: str = "GET"
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection(*address, timeout=REAL_TIMEOUT_S)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


def read_all(connection: socket.socket) -> bytes:
    """Everything until the server ends the connection, in whichever way."""
    got = b""
    try:
        while chunk := connection.recv(4096):
            got += chunk
    except ConnectionResetError:
        pass
    return got


def wait_until_served(address: tuple[str, int]) -> None:
    """Ask until a connection is free again: the client sees the end of one before the server."""
    deadline = time.monotonic() + REAL_TIMEOUT_S
    while True:
        try:
            assert ask(address, "/readyz")[0] == 200
            return
        except (ConnectionError, http.client.HTTPException):
            assert time.monotonic() < deadline, "never served again"
            threading.Event().wait(0.005)


def test_metrics_are_served_with_their_type() -> None:
    with serving(endpoints()) as address:
        status, headers, body = ask(address, "/metrics?from=test")

    assert (status, body) == (200, b"a_metric 1\n")
    assert headers["Content-Type"] == "text/plain; version=0.0.4"
    assert "Python" not in headers["Server"]


def test_a_check_that_fails_answers_503_and_says_why() -> None:
    served = endpoints(readiness=lambda: (False, {"reason": "NoLocation", "location": "a"}))
    with serving(served) as address:
        healthy, _, _ = ask(address, "/healthz")
        ready, _, body = ask(address, "/readyz")

    assert (healthy, ready) == (200, 503)
    assert json.loads(body) == {"ok": False, "reason": "NoLocation", "location": "a"}


def test_head_has_the_headers_of_get_and_no_body() -> None:
    with serving(endpoints()) as address:
        _, by_get, body = ask(address, "/readyz")
        status, by_head, nothing = ask(address, "/readyz", "HEAD")

    assert (status, nothing) == (200, b"")
    assert str(len(body)) == by_head["Content-Length"] == by_get["Content-Length"]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "BREW"])
def test_other_methods_are_refused(method: str) -> None:
    with serving(endpoints()) as address:
        status, headers, _ = ask(address, "/metrics", method)

    assert (status, headers["Allow"]) == (405, "GET, HEAD")


def test_other_paths_are_not_found() -> None:
    with serving(endpoints()) as address:
        status, _, body = ask(address, "/metrics/../etc")

    assert status == 404
    assert json.loads(body) == {"ok": False, "reason": "Not Found"}


def test_a_broken_check_answers_500_without_its_message(caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> tuple[bool, dict[str, object]]:
        raise KeyError("inner detail")

    with serving(endpoints(health=broken)) as address:
        status, _, body = ask(address, "/healthz")
        after, _, _ = ask(address, "/readyz")

    assert (status, after) == (500, 200)
    assert b"inner detail" not in body
    assert [record.message for record in caplog.records] == ["request failed"]


def test_a_malformed_request_is_refused_and_the_server_goes_on() -> None:
    with serving(endpoints()) as address:
        with socket.create_connection(address, REAL_TIMEOUT_S) as connection:
            connection.sendall(b"\x16\x03\x01 not http at all\r\n\r\n")
            answer = read_all(connection)
        status, _, _ = ask(address, "/healthz")

    assert b" 400 " in answer or b'"ok":false' in answer
    assert status == 200


def test_a_client_that_dribbles_is_cut_after_the_timeout() -> None:
    with (
        serving(endpoints(), request_timeout_s=0.3) as address,
        socket.create_connection(address, REAL_TIMEOUT_S) as connection,
    ):
        began = time.monotonic()
        connection.sendall(b"GET /metrics HT")
        answer = read_all(connection)
        took = time.monotonic() - began

    assert b"200" not in answer
    assert 0.25 < took < 5


def test_a_client_that_never_reads_does_not_hold_its_thread() -> None:
    big = endpoints(metrics=lambda: b"x" * (64 << 20))
    with (
        serving(big, request_timeout_s=0.3, max_connections=1) as address,
        socket.create_connection(address, REAL_TIMEOUT_S) as connection,
    ):
        connection.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")

        wait_until_served(address)


def test_connections_over_the_limit_are_cut_and_the_others_served() -> None:
    entered, leave = threading.Semaphore(0), threading.Event()

    def slow() -> tuple[bool, dict[str, object]]:
        entered.release()
        leave.wait(REAL_TIMEOUT_S)
        return True, {}

    with serving(endpoints(health=slow), max_connections=2) as address:
        held = [socket.create_connection(address, REAL_TIMEOUT_S) for _ in range(2)]
        for connection in held:
            connection.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
        for _ in held:
            assert entered.acquire(timeout=REAL_TIMEOUT_S)
        with pytest.raises((ConnectionError, http.client.HTTPException)):
            ask(address, "/readyz")
        leave.set()
        answers = [read_all(connection) for connection in held]
        for connection in held:
            connection.close()
        wait_until_served(address)

    assert all(b" 200 " in answer for answer in answers)


def test_a_stop_does_not_wait_for_idle_clients() -> None:
    began = time.monotonic()
    with serving(endpoints(), request_timeout_s=60) as address:
        idle = socket.create_connection(address, REAL_TIMEOUT_S)
        idle.sendall(b"GET ")
        assert ask(address, "/healthz")[0] == 200
    idle.close()

    assert time.monotonic() - began < 5


def test_the_port_is_free_after_the_end() -> None:
    with serving(endpoints()) as address:
        pass
    with serving(endpoints(), f"127.0.0.1:{address[1]}") as again:
        assert address == again


def test_an_empty_host_listens_on_every_address() -> None:
    with serving(endpoints(), ":0") as (_, port):
        assert ask(("127.0.0.1", port), "/healthz")[0] == 200


def test_ipv6_is_served_where_there_is_any() -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    with serving(endpoints(), "[::1]:0") as address:
        assert ask(address, "/healthz")[0] == 200


def test_a_port_in_use_is_an_error_of_the_configuration() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = HttpServer(f"127.0.0.1:{taken.getsockname()[1]}", endpoints())

        with pytest.raises(InvalidSpec, match="LISTEN: cannot listen"):
            server.bind()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (":3000", ("", 3000)),
        ("127.0.0.1:0", ("127.0.0.1", 0)),
        ("[::1]:0", ("::1", 0)),
        ("[::]:8080", ("::", 8080)),
        ("localhost:80", ("localhost", 80)),
    ],
)
def test_listen_is_read(text: str, expected: tuple[str, int]) -> None:
    assert expected == parse_listen(text)


@pytest.mark.parametrize(
    "text", ["", "3000", ":", ":x", ":-1", ":65536", "::1:80", "[::1]", "a:b:1", "[a:1", "h:٣"]
)
def test_a_listen_that_means_nothing_is_refused(text: str) -> None:
    with pytest.raises(InvalidSpec, match="LISTEN"):
        parse_listen(text)
