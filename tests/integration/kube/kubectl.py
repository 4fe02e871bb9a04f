"""kubectl as people use it, as cluster-admin."""

from __future__ import annotations

import subprocess

from tests.servers.kubernetes import KubernetesServer, find_kubernetes_program
from tests.servers.provider import ServerMissing, skip_or_fail


def kubectl(server: KubernetesServer, *arguments: str) -> str:
    """Run it and give what it prints; what fails, fails the test."""
    try:
        program = find_kubernetes_program("kubectl")
    except ServerMissing as missing:
        skip_or_fail(missing)
    options = [f"--kubeconfig={server.kubeconfig()}", f"--cache-dir={server.folder / 'kubectl'}"]
    done = subprocess.run(
        [program, *options, *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
