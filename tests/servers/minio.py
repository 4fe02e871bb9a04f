"""A MinIO server for tests, with TLS if asked for."""

from __future__ import annotations

import contextlib
import secrets
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from attrs import frozen

from tests.servers.provider import (
    ServerMissing,
    answers_http,
    find_program,
    free_port,
    has_container_engine,
    start_process,
)
from tests.servers.tls import Issued

VARIABLE = "DB_BACKUP_TEST_MINIO"
_IMAGE = "minio/minio:latest"
_READY_PATH = "/minio/health/ready"
_PORT_INSIDE = 9000


@frozen(kw_only=True)
class MinioServer:
    """A running server.

    Args:
        endpoint: host:port.
        suspend: lets the server hang until `resume`.
    """

    endpoint: str
    access_key: str
    secret_key: str
    is_tls: bool
    suspend: Callable[[], None]
    resume: Callable[[], None]

    @property
    def port(self) -> int:
        return int(self.endpoint.rpartition(":")[2])

    def client(self) -> Any:
        """The SDK's own client as the server's root, to arrange and inspect."""
        import urllib3
        from minio import Minio

        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        return Minio(
            self.endpoint,
            access_key=self.access_key,
            secret_key=self.secret_key,
            secure=self.is_tls,
            region="us-east-1",
            cert_check=False,
        )

    def new_bucket(self) -> str:
        """An empty bucket of its own for one test."""
        name = f"test-{secrets.token_hex(6)}"
        self.client().make_bucket(name)
        return name


@contextlib.contextmanager
def running(certificate: Issued | None = None) -> Iterator[MinioServer]:
    """Start a server with an empty disk; raises ServerMissing."""
    keys = {
        "MINIO_ROOT_USER": f"root{secrets.token_hex(4)}",
        "MINIO_ROOT_PASSWORD": secrets.token_hex(16),
    }
    with tempfile.TemporaryDirectory(prefix="minio-") as name:
        folder = Path(name)
        certs = folder / "certs"
        certs.mkdir()
        if certificate:
            certificate.write(certs, certificate="public.crt", key="private.key")
        program = find_program("minio", variable=VARIABLE)
        if program:
            with _as_process(program, folder, keys, is_tls=bool(certificate)) as server:
                yield server
        elif has_container_engine():
            with _as_container(certs, keys, is_tls=bool(certificate)) as server:
                yield server
        else:
            raise ServerMissing("no minio program found and no container engine answers")


@contextlib.contextmanager
def _as_process(
    program: Path, folder: Path, keys: dict[str, str], *, is_tls: bool
) -> Iterator[MinioServer]:
    port = free_port()
    argv = [program, "server", "--quiet", "--address", f"127.0.0.1:{port}"]
    argv += ["--certs-dir", folder / "certs", folder / "data"]
    quiet = {"MINIO_BROWSER": "off", "MINIO_UPDATE": "off", "MINIO_API_STALE_UPLOADS_EXPIRY": "24h"}
    process = start_process(
        argv,
        log_file=folder / "log",
        is_ready=lambda: answers_http(port, _READY_PATH, tls=is_tls),
        environment=keys | quiet,
    )
    try:
        yield MinioServer(
            endpoint=f"127.0.0.1:{port}",
            access_key=keys["MINIO_ROOT_USER"],
            secret_key=keys["MINIO_ROOT_PASSWORD"],
            is_tls=is_tls,
            suspend=process.suspend,
            resume=process.resume,
        )
    finally:
        process.stop()


@contextlib.contextmanager
def _as_container(certs: Path, keys: dict[str, str], *, is_tls: bool) -> Iterator[MinioServer]:
    from testcontainers.core.container import DockerContainer

    container = DockerContainer(_IMAGE).with_bind_ports(f"{_PORT_INSIDE}/tcp", ("127.0.0.1", None))
    container = container.with_command("server --quiet --certs-dir /certs /data")
    container = container.with_volume_mapping(str(certs), "/certs", "ro")
    for name, value in keys.items():
        container = container.with_env(name, value)
    with container:
        port = int(container.get_exposed_port(_PORT_INSIDE))
        _wait(lambda: answers_http(port, _READY_PATH, tls=is_tls))
        wrapped = container.get_wrapped_container()
        yield MinioServer(
            endpoint=f"127.0.0.1:{port}",
            access_key=keys["MINIO_ROOT_USER"],
            secret_key=keys["MINIO_ROOT_PASSWORD"],
            is_tls=is_tls,
            suspend=wrapped.pause,
            resume=wrapped.unpause,
        )


def _wait(is_ready: Callable[[], bool]) -> None:
    import time

    deadline = time.monotonic() + 30
    while not is_ready():
        if time.monotonic() > deadline:
            raise RuntimeError("the minio container did not become ready")
        time.sleep(0.1)
