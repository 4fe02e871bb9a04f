"""How people install a release: the command of a page, and a cluster that runs its hook."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.servers.kubernetes import KubernetesServer
from tests.servers.registry import Registry

ROOT = Path(__file__).parents[3]
PAGES = (ROOT / "README.md", ROOT / "docs" / "install.md")
_COMMAND = re.compile(r"^helm upgrade --install (?:.*\\\n)*.* oci://.*$", re.MULTILINE)
#: What a pod's container would end with: exit code, and what it said.
RunPod = Callable[[str, Mapping[str, Any]], tuple[int, str]]


def documented(page: Path, registry: Registry, version: str) -> list[str]:
    """The command of a page, with this registry and version instead of those of the example."""
    (found,) = _COMMAND.findall(page.read_text())
    here = found.replace("registry.example.com", registry.address).replace("1.2.3", version)
    return shlex.split(here.replace("\\\n", ""))


def publish(target: str, registry: Registry, version: str, **environment: str) -> None:
    """Run one of the two targets that hosted CI calls: `push-images` or `push-chart`."""
    words = ["make", "--no-print-directory", target]
    words += [f"REGISTRY={registry.address}", f"VERSION={version}"]
    subprocess.run(words, cwd=ROOT, env=os.environ | environment, check=True)


@contextlib.contextmanager
def jobs_are_run(server: KubernetesServer, run_pod: RunPod) -> Iterator[list[str]]:
    """Run every Job that is there or comes; what their pods said.

    Nothing but an API server is there, and Helm waits for the Job of the hook.

    Args:
        run_pod: is given the namespace and the `spec` of a Job's pod.
    """
    said: list[str] = []
    ended = threading.Event()

    def run() -> None:
        while not ended.wait(0.1):
            jobs = server.request("GET", "/apis/batch/v1/jobs").body["items"]
            for job in [one for one in jobs if not one.get("status", {}).get("conditions")]:
                namespace = job["metadata"]["namespace"]
                code, text = run_pod(namespace, job["spec"]["template"]["spec"])
                said.append(text)
                _end(server, job, is_successful=code == 0)

    thread = threading.Thread(target=run, name="jobs")
    thread.start()
    try:
        yield said
    finally:
        ended.set()
        thread.join()


def _end(server: KubernetesServer, job: dict[str, Any], *, is_successful: bool) -> None:
    at = job["metadata"]["creationTimestamp"]
    kinds = ("SuccessCriteriaMet", "Complete") if is_successful else ("FailureTarget", "Failed")
    conditions = [{"type": kind, "status": "True", "lastTransitionTime": at} for kind in kinds]
    counts = {"completionTime": at, "succeeded": 1} if is_successful else {"failed": 1}
    job["status"] = {"startTime": at, "conditions": conditions} | counts
    namespace, name = job["metadata"]["namespace"], job["metadata"]["name"]
    path = f"/apis/batch/v1/namespaces/{namespace}/jobs/{name}/status"
    answer = server.request("PUT", path, job)
    assert answer.status == 200, answer.body
