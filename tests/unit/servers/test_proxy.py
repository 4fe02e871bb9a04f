"""The proxies of the tests themselves: what they leave behind would be the next test's fault."""

from __future__ import annotations

import os
import resource
import socket
import socketserver
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.proxy import TcpProxy

#: More than select() can name.
_MANY = 1030


class _Echo(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        self.wfile.write(self.rfile.readline())


@pytest.fixture
def echo() -> Iterator[int]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Echo) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def _ask(proxy: TcpProxy) -> None:
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=10) as client:
        client.sendall(b"hello\n")
        assert client.makefile("rb").read() == b"hello\n"


def _open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="counts the files of /proc/self/fd")
def test_connections_that_ended_leave_nothing_open(echo: int) -> None:
    with TcpProxy(echo) as proxy:
        before = _open_descriptors()
        for _ in range(20):
            _ask(proxy)

        deadline = time.monotonic() + 10
        while _open_descriptors() > before:
            assert time.monotonic() < deadline, "connections are still open"
            time.sleep(0.02)


def test_it_works_in_a_process_with_many_open_files(echo: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, _MANY + 100), hard))
    taken = [os.open(os.devnull, os.O_RDONLY)]
    try:
        while taken[-1] < _MANY:
            taken.append(os.dup(taken[0]))
        with TcpProxy(echo) as proxy:
            _ask(proxy)
    finally:
        for one in taken:
            os.close(one)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
