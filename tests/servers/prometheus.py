"""Prometheus and promtool: rules are checked and tried, and a real server scrapes and answers.

Debian's packages are unpacked, not installed: that would start a server of this machine.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import tempfile
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from attrs import frozen

from tests.servers import apt
from tests.servers.provider import (
    ServerMissing,
    answers_http,
    find_program,
    free_port,
    start_process,
)

#: Both programs want a C library of 2022 or later, and nothing else.
SUITE = "trixie"
#: Program, which is a package of its own, -> the environment variable that may name it.
VARIABLES = {
    "prometheus": "DB_BACKUP_TEST_PROMETHEUS",
    "promtool": "DB_BACKUP_TEST_PROMTOOL",
}
_TIMEOUT_S = 240


def find(program: str) -> Path:
    """Raises ServerMissing."""
    if found := find_program(program, variable=VARIABLES[program]):
        return found
    raise ServerMissing(f"no {program} program found")


def unpack(folder: Path) -> None:
    """Put both programs into a folder; 35 MB, some seconds.

    Raises: apt.Impossible
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="apt-", dir=folder.parent) as work:
        root = Path(work) / "root"
        for package in apt.download(tuple(VARIABLES), Path(work), suite=SUITE):
            apt.extract(package, root)
        for program in VARIABLES:
            apt.run([root / "usr/bin" / program, "--version"])
            (root / "usr/bin" / program).replace(folder / program)


@frozen
class Promtool:
    """The program."""

    program: Path

    def check_rules(self, file: Path) -> str:
        """What it says of a file of rules; what it refuses fails the test."""
        done = self._run("check", "rules", file)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def test_rules(self, file: Path) -> str:
        """What it says against a file of tests; empty if all are as they should be."""
        done = self._run("test", "rules", file)
        return "" if done.returncode == 0 else done.stdout + done.stderr

    def _run(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.program, *arguments],
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )


@frozen
class PrometheusServer:
    """A running server."""

    port: int

    def query(self, expr: str) -> list[dict[str, Any]]:
        """The samples of an expression now."""
        found: list[dict[str, Any]] = self.get("query", query=expr)["result"]
        return found

    def get(self, path: str, **parameters: str) -> Any:
        """`data` of an answer of its API; an error fails the test."""
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}"
        query = urllib.parse.urlencode(parameters)
        with urllib.request.urlopen(f"{url}?{query}", timeout=30) as answer:
            body = json.load(answer)
        assert body["status"] == "success", body
        return body["data"]


@contextlib.contextmanager
def running(program: Path, configuration: Mapping[str, Any]) -> Iterator[PrometheusServer]:
    """Start a server with an empty disk.

    Args:
        configuration: as its file has it.
    """
    with tempfile.TemporaryDirectory(prefix="prometheus-") as name:
        folder = Path(name)
        file = folder / "prometheus.yml"
        file.write_text(json.dumps(configuration))  # which is YAML
        port = free_port()
        process = start_process(
            [
                program,
                f"--config.file={file}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            log_file=folder / "log",
            is_ready=lambda: answers_http(port, "/-/ready"),
        )
        try:
            yield PrometheusServer(port)
        finally:
            process.stop()
