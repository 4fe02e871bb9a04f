"""Where a test server's program comes from, and how it is run and ended.

The order: named by an environment variable; found on PATH or in the user's
cache folder; in a container, when an engine answers; else the test is skipped
and says how to get it - or fails, where servers are required.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

import pytest

from tests.servers.cache import cache_dir
from tests.servers.ending import with_parent

HOW_TO_GET = "make test-servers"
_START_TIMEOUT_S = 60.0
_STOP_TIMEOUT_S = 10.0


class ServerMissing(Exception):
    """Neither a program nor a container of that name is to be had.

    Args:
        how_to_get: the command that gets it.
    """

    def __init__(self, message: str, *, how_to_get: str = HOW_TO_GET) -> None:
        super().__init__(message)
        self.how_to_get = how_to_get


def cache_bin_dir() -> Path:
    """Where `make test-servers` puts the programs it builds."""
    return cache_dir() / "bin"


def find_program(name: str, *, variable: str) -> Path | None:
    """The program, from where it is found first; None if it is nowhere."""
    if given := os.environ.get(variable):
        if not Path(given).is_file():
            raise ServerMissing(f"{variable} names {given}, which is no file")
        return Path(given)
    path = os.pathsep.join([os.environ.get("PATH", ""), str(cache_bin_dir())])
    found = shutil.which(name, path=path)
    return Path(found) if found else None


def has_container_engine() -> bool:
    """Whether testcontainers could start something: an engine listens where Docker's does."""
    if importlib.util.find_spec("testcontainers") is None:
        return False
    url = urlsplit(os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock")
    is_local = url.scheme == "unix"
    with socket.socket(socket.AF_UNIX if is_local else socket.AF_INET) as probe:
        probe.settimeout(3)
        try:
            probe.connect(url.path if is_local else (url.hostname or "", url.port or 2375))
        except OSError:
            return False
        return True


def skip_or_fail(missing: ServerMissing) -> NoReturn:
    """End a test that has no server, visibly."""
    message = f"{missing}; to get it: {missing.how_to_get}"
    if os.environ.get("DB_BACKUP_TEST_REQUIRE_SERVERS") == "1":
        pytest.fail(message)
    pytest.skip(message)


def free_port() -> int:
    """A port of loopback that the kernel chose and nobody holds at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class ServerProcess:
    """A server program as a child process, ended by its own process id."""

    def __init__(self, process: subprocess.Popen[bytes], log_file: Path) -> None:
        self._process = process
        self._log_file = log_file

    @property
    def pid(self) -> int:
        return self._process.pid

    def suspend(self) -> None:
        """Let it hang: connections are accepted by the kernel and never answered."""
        self._process.send_signal(signal.SIGSTOP)
        # Until the last of its threads stands still it may go on answering.
        os.waitid(os.P_PID, self.pid, os.WSTOPPED)

    def resume(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        if self._process.poll() is None:
            self.resume()
            self._process.terminate()
            try:
                self._process.wait(_STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._process.wait()

    def wait(self) -> None:
        """Until it ended by itself, but not for ever."""
        try:
            self._process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End it without a chance to clean up."""
        self._process.kill()
        self._process.wait()

    def wait_ready(self, is_ready: Callable[[], bool], timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                break
            if is_ready():
                return
            time.sleep(0.05)
        self.stop()
        log_tail = self._log_file.read_text(errors="replace")[-2000:]
        raise RuntimeError(f"{self._process.args!r} did not become ready:\n{log_tail}")


def start_process(
    argv: Sequence[str | Path],
    *,
    log_file: Path,
    is_ready: Callable[[], bool],
    environment: Mapping[str, str] | None = None,
    timeout_s: float = _START_TIMEOUT_S,
) -> ServerProcess:
    """Start a server and wait until it answers."""
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            [str(one) for one in argv],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
            preexec_fn=with_parent(),  # noqa: PLW1509 - takes no lock
        )
    server = ServerProcess(process, log_file)
    server.wait_ready(is_ready, timeout_s)
    return server


def child_of(pid: int) -> int | None:
    """The first child of a process; None: it has none, or is gone."""
    with contextlib.suppress(OSError):
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return int(children[0]) if children else None
    return None


def answers_http(port: int, path: str, *, tls: bool = False) -> bool:
    """Whether GET `path` on loopback gives 200."""
    import http.client
    import ssl

    connection: http.client.HTTPConnection
    if tls:
        context = ssl._create_unverified_context()
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=2, context=context)
    else:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    with contextlib.closing(connection):
        try:
            connection.request("GET", path)
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
