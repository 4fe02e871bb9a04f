"""kubeconform: what a schema says of manifests, without a cluster and without the network."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable
from pathlib import Path

from attrs import field, frozen

from tests import manifest_schemas
from tests.servers.provider import ServerMissing, find_program

VARIABLE = "DB_BACKUP_TEST_KUBECONFORM"
_TIMEOUT_S = 120


def find_kubeconform() -> Path:
    """Raises ServerMissing."""
    if found := find_program("kubeconform", variable=VARIABLE):
        return found
    raise ServerMissing("no kubeconform program found")


@frozen(kw_only=True)
class Findings:
    """What it says of some manifests.

    Args:
        valid: how many there are without a problem.
        problems: kind, name and message of each of the others.
    """

    valid: int
    problems: list[str] = field(factory=list)


@frozen
class Kubeconform:
    """The program, with schemas that have been written into a folder."""

    program: Path
    schemas: Path

    def check(self, files: Iterable[Path]) -> Findings:
        """Ask strictly: a field nobody knows, a key that is there twice, an unknown kind."""
        done = subprocess.run(
            [
                *(self.program, "-strict", "-summary", "-output=json"),
                *("-schema-location", self.schemas / manifest_schemas.NAME),
                *files,
            ],
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
        assert not done.stderr, done.stderr
        told = json.loads(done.stdout)
        problems = [f"{one['kind']} {one['name']}: {one['msg']}" for one in told["resources"]]
        assert done.returncode == bool(problems)
        assert not told["summary"]["skipped"]
        return Findings(valid=told["summary"]["valid"], problems=problems)
