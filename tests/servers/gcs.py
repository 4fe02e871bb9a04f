"""fake-gcs-server: Cloud Storage's JSON API in memory, for tests.

It differs from the real service where uploads are resumed: it takes the
question how much it has (`Content-Range: bytes */*`) for the end of the
upload. tests.servers.resumable speaks that part as documented.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

from attrs import frozen

from tests.servers.provider import (
    ServerMissing,
    answers_http,
    find_program,
    free_port,
    has_container_engine,
    start_process,
)

VARIABLE = "DB_BACKUP_TEST_FAKE_GCS_SERVER"
_IMAGE = "fsouza/fake-gcs-server:1.56.1"
_READY_PATH = "/_internal/healthcheck"
_PORT_INSIDE = 4443


@frozen(kw_only=True)
class GcsServer:
    """A running server; `endpoint` is host:port, plain HTTP, no credentials."""

    endpoint: str
    suspend: Callable[[], None]
    resume: Callable[[], None]

    @property
    def port(self) -> int:
        return int(self.endpoint.rpartition(":")[2])

    def new_bucket(self) -> str:
        """An empty bucket of its own for one test."""
        name = f"test-{secrets.token_hex(6)}"
        request = urllib.request.Request(
            f"http://{self.endpoint}/storage/v1/b?project=test",
            data=json.dumps({"name": name}).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=10):
            return name


@contextlib.contextmanager
def running() -> Iterator[GcsServer]:
    """Start an empty server; raises ServerMissing."""
    program = find_program("fake-gcs-server", variable=VARIABLE)
    if program:
        with _as_process(program) as server:
            yield server
    elif has_container_engine():
        with _as_container() as server:
            yield server
    else:
        raise ServerMissing("no fake-gcs-server program found and no container engine answers")


@contextlib.contextmanager
def _as_process(program: Path) -> Iterator[GcsServer]:
    with tempfile.TemporaryDirectory(prefix="gcs-") as folder:
        port = free_port()
        argv = [program, "-scheme", "http", "-host", "127.0.0.1", "-port", str(port)]
        argv += ["-backend", "memory", "-log-level", "error", "-data", folder]
        process = start_process(
            argv,
            log_file=Path(folder) / "log",
            is_ready=lambda: answers_http(port, _READY_PATH),
        )
        try:
            yield GcsServer(
                endpoint=f"127.0.0.1:{port}", suspend=process.suspend, resume=process.resume
            )
        finally:
            process.stop()


@contextlib.contextmanager
def _as_container() -> Iterator[GcsServer]:
    import time

    from testcontainers.core.container import DockerContainer

    container = DockerContainer(_IMAGE).with_bind_ports(f"{_PORT_INSIDE}/tcp", ("127.0.0.1", None))
    with container.with_command("-scheme http -backend memory") as started:
        port = int(started.get_exposed_port(_PORT_INSIDE))
        deadline = time.monotonic() + 30
        while not answers_http(port, _READY_PATH):
            if time.monotonic() > deadline:
                raise RuntimeError("the fake-gcs-server container did not become ready")
            time.sleep(0.1)
        wrapped = started.get_wrapped_container()
        yield GcsServer(endpoint=f"127.0.0.1:{port}", suspend=wrapped.pause, resume=wrapped.unpause)
