"""moto's S3 server, as a process of its own: its state is global to its process."""

from __future__ import annotations

import contextlib
import importlib.util
import secrets
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from attrs import frozen

from tests.servers.provider import ServerMissing, answers_http, free_port, start_process

ACCESS_KEY = "testing"
SECRET_KEY = "testing-secret"  # moto accepts any


@frozen(kw_only=True)
class MotoServer:
    """A running server; `endpoint` is host:port, plain HTTP."""

    endpoint: str
    suspend: Callable[[], None]
    resume: Callable[[], None]
    access_key: str = ACCESS_KEY
    secret_key: str = SECRET_KEY

    @property
    def port(self) -> int:
        return int(self.endpoint.rpartition(":")[2])

    def client(self) -> Any:
        """boto3's own client, to arrange and inspect."""
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=f"http://{self.endpoint}",
            region_name="us-east-1",
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
        )

    def new_bucket(self) -> str:
        """An empty bucket of its own for one test."""
        name = f"test-{secrets.token_hex(6)}"
        with contextlib.closing(self.client()) as client:
            client.create_bucket(Bucket=name)
        return name


@contextlib.contextmanager
def running() -> Iterator[MotoServer]:
    """Start an empty server; raises ServerMissing."""
    if importlib.util.find_spec("moto") is None:
        raise ServerMissing("moto[server] is not installed")
    with tempfile.TemporaryDirectory(prefix="moto-") as folder:
        port = free_port()
        process = start_process(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
            log_file=Path(folder) / "log",
            is_ready=lambda: answers_http(port, "/moto-api/"),
        )
        try:
            yield MotoServer(
                endpoint=f"127.0.0.1:{port}", suspend=process.suspend, resume=process.resume
            )
        finally:
            process.stop()
