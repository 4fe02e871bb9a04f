"""Helm as people use it, without anything of the person who runs the tests."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import yaml
from attrs import frozen

from tests.servers.provider import ServerMissing, find_program

CHART = Path(__file__).parents[2] / "deploy" / "helm" / "db-backup-controller"
VARIABLE = "DB_BACKUP_TEST_HELM"
RELEASE = "db-backup-controller"
_TIMEOUT_S = 120


def find_helm() -> Path:
    """Raises ServerMissing."""
    if found := find_program("helm", variable=VARIABLE):
        return found
    raise ServerMissing("no helm program found")


@frozen
class Helm:
    """The program, with a home of its own."""

    program: Path
    home: Path

    def run(
        self, *arguments: str | Path, kubeconfig: Path | None = None, ca_file: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run it; without a kubeconfig it finds no cluster, without a CA it trusts no registry."""
        own = {"HOME": str(self.home), "KUBECONFIG": str(kubeconfig or os.devnull)}
        own["SSL_CERT_FILE"] = str(ca_file or os.devnull)
        inherited = {key: os.environ[key] for key in ("PATH", "TMPDIR") if key in os.environ}
        return subprocess.run(
            [self.program, *arguments],
            env=inherited | own,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )

    def template(self, *arguments: str | Path, namespace: str = RELEASE) -> str:
        """Render the chart; what is refused fails the test."""
        done = self.run("template", RELEASE, CHART, "--namespace", namespace, *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def manifests(self, *arguments: str | Path, namespace: str = RELEASE) -> list[dict[str, Any]]:
        """Render the chart into objects."""
        text = self.template(*arguments, namespace=namespace)
        return [one for one in yaml.safe_load_all(text) if one]
