"""A registry of images and charts (CNCF Distribution), with TLS as those that people use."""

from __future__ import annotations

import contextlib
import http.client
import json
import ssl
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from attrs import frozen

from tests.servers.provider import (
    ServerMissing,
    answers_http,
    find_program,
    free_port,
    start_process,
)
from tests.servers.tls import Authority

VARIABLE = "DB_BACKUP_TEST_REGISTRY"
#: What Debian calls the same program.
_NAMES = ("registry", "docker-registry")

_CONFIG = """
version: 0.1
storage:
  filesystem: {{rootdirectory: {folder}/data}}
http:
  addr: 127.0.0.1:{port}
  tls: {{certificate: {folder}/server.crt, key: {folder}/server.key}}
"""


@frozen(kw_only=True)
class Registry:
    """A running registry.

    Args:
        address: host:port, which is how references to it begin.
        ca_file: of the authority that signed its certificate.
    """

    address: str
    ca_file: Path

    def tags(self, repository: str) -> list[str]:
        """Tags of a repository; none if there is no such one."""
        status, body = self._get(f"/v2/{repository}/tags/list", "application/json")
        return sorted(json.loads(body)["tags"] or ()) if status == 200 else []

    def manifest(self, repository: str, tag: str) -> dict[str, Any]:
        """The manifest or index behind a tag, as it is stored."""
        kinds = (
            "application/vnd.oci.image.index.v1+json",
            "application/vnd.oci.image.manifest.v1+json",
            "application/vnd.docker.distribution.manifest.list.v2+json",
            "application/vnd.docker.distribution.manifest.v2+json",
        )
        status, body = self._get(f"/v2/{repository}/manifests/{tag}", ", ".join(kinds))
        assert status == 200, body
        found: dict[str, Any] = json.loads(body)
        return found

    def blob(self, repository: str, digest: str) -> bytes:
        status, body = self._get(f"/v2/{repository}/blobs/{digest}", "*/*")
        assert status == 200, body
        return body

    def _get(self, path: str, accept: str) -> tuple[int, bytes]:
        trust = ssl.create_default_context(cafile=self.ca_file)
        connection = http.client.HTTPSConnection(self.address, timeout=30, context=trust)
        with contextlib.closing(connection):
            connection.request("GET", path, headers={"Accept": accept})
            answer = connection.getresponse()
            return answer.status, answer.read()


@contextlib.contextmanager
def running(*hosts: str) -> Iterator[Registry]:
    """Start an empty registry that everybody may push to; raises ServerMissing.

    Args:
        hosts: of proxies before it, which its certificate is for, too.
    """
    program = find_registry()
    with tempfile.TemporaryDirectory(prefix="registry-") as name:
        folder, port, authority = Path(name), free_port(), Authority("registry")
        issued = authority.issue_server("localhost", "127.0.0.1", *hosts)
        issued.write(folder, certificate="server.crt", key="server.key")
        (folder / "ca.crt").write_text(authority.certificate_pem)
        (folder / "config.yaml").write_text(_CONFIG.format(folder=folder, port=port))
        process = start_process(
            [program, "serve", folder / "config.yaml"],
            log_file=folder / "log",
            is_ready=lambda: answers_http(port, "/v2/", tls=True),
            environment={"OTEL_TRACES_EXPORTER": "none"},
        )
        try:
            yield Registry(address=f"127.0.0.1:{port}", ca_file=folder / "ca.crt")
        finally:
            process.stop()


def find_registry() -> Path:
    """Raises ServerMissing."""
    for name in _NAMES:
        if found := find_program(name, variable=VARIABLE):
            return found
    raise ServerMissing("no registry program found")
