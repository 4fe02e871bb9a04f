"""What the runbooks have people type is taken by a real API server.

No kubelet is there, so what asks a pod is left out; test_alerts.py gives the runner's own commands
to the runner.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.controller.world import ACCOUNT, World, at_work
from tests.servers.kubernetes import KubernetesServer, find_kubernetes_program

RUNBOOKS = Path(__file__).parents[3] / "docs" / "runbooks.md"
#: A pod's, or of a server that collects what pods use.
NEED_A_KUBELET = ("exec", "logs", "top")
#: Needs the Prometheus operator, which RunnerNotScraped is about.
NEED_AN_OPERATOR = ("podmonitor",)


def commands() -> list[str]:
    """Those of kubectl in code blocks, without what they are piped into."""
    blocks = re.findall(r"```\n(.*?)```", RUNBOOKS.read_text(), re.DOTALL)
    lines = {line.partition("   #")[0].strip() for block in blocks for line in block.splitlines()}
    return sorted(line for line in lines if re.match(r"kubectl |RUNNER=", line))


@pytest.fixture
def world(kubernetes_server: KubernetesServer, tmp_path: Path) -> Iterator[World]:
    """A controller that acts, and an object."""
    with at_work(kubernetes_server, tmp_path) as (world, _):
        yield world


def test_every_command_that_needs_no_pod_is_taken(world: World, tmp_path: Path) -> None:
    kept = [
        one for one in commands() if not set(one.split()) & {*NEED_A_KUBELET, *NEED_AN_OPERATOR}
    ]
    kubectl = find_kubernetes_program("kubectl")
    environment = {
        "HOME": str(tmp_path),  # kubectl keeps there what it discovered
        "KUBECONFIG": str(world.server.kubeconfig()),
        "NS": world.namespace,
        "NAME": "shop",
        "PATH": os.pathsep.join([str(kubectl.parent), os.environ["PATH"]]),
    }
    refused = {}
    for command in kept:
        # Where the chart puts it, and where this test's controller is.
        here = command.replace(f"-n {ACCOUNT}", f"-n {world.system}")
        here = here.replace(f"serviceaccount:{ACCOUNT}:", f"serviceaccount:{world.system}:")
        done = subprocess.run(
            ["sh", "-c", here],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        # A pipe hides the exit code.
        if done.returncode or re.match("error", done.stderr, re.IGNORECASE):
            refused[here] = done.stdout + done.stderr

    assert refused == {}
    assert len(kept) > 10
