"""kubectl on the node, as people use it."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from attrs import frozen

from tests.integration.jobs.commands import Done, eventually

_TIMEOUT_S = 120


@frozen
class Usage:
    """What a container takes.

    Args:
        memory_bytes: what counts against its limit.
        cores: 0.01 is a hundredth of one.
    """

    memory_bytes: int
    cores: float


@frozen
class Kubectl:
    """The program, as cluster-admin."""

    program: Path
    kubeconfig: Path

    def argv(self, *arguments: str) -> list[str]:
        return [str(self.program), f"--kubeconfig={self.kubeconfig}", *arguments]

    def run(self, *arguments: str, stdin: str = "", timeout_s: float = _TIMEOUT_S) -> Done:
        began = time.monotonic()
        done = subprocess.run(
            self.argv(*arguments),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        return Done(
            argv=arguments,
            code=done.returncode,
            out=done.stdout,
            err=done.stderr,
            seconds=time.monotonic() - began,
        )

    def apply(self, *objects: Mapping[str, Any]) -> None:
        items = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        self.run("apply", "-f", "-", stdin=json.dumps(items)).must(0)

    def get(self, kind: str, name: str, *, namespace: str = "") -> dict[str, Any]:
        """One object; empty if it is not there."""
        within = ("--namespace", namespace) if namespace else ()
        done = self.run("get", kind, name, *within, "--ignore-not-found", "--output=json").must(0)
        return json.loads(done.out) if done.out else {}

    def list(self, kind: str, *arguments: str) -> list[dict[str, Any]]:
        done = self.run("get", kind, *arguments, "--output=json").must(0)
        items: list[dict[str, Any]] = json.loads(done.out)["items"]
        return items

    def usage(self, pod: str, namespace: str) -> Usage:
        """What a pod's container takes, by the kubelet's next look."""
        asked_at = time.time()

        def of_the_pod() -> Usage | None:
            path = "/api/v1/nodes/node/proxy/stats/summary"
            for found in json.loads(self.run("get", "--raw", path).must(0).out)["pods"]:
                about = found["podRef"]
                if (about["name"], about["namespace"]) != (pod, namespace):
                    continue
                container = found["containers"][0]
                memory, cpu = container.get("memory", {}), container.get("cpu", {})
                if "usageNanoCores" in cpu and _seconds(memory["time"]) > asked_at:
                    return Usage(memory["workingSetBytes"], cpu["usageNanoCores"] / 1e9)
            return None

        return eventually(of_the_pod, say=lambda: f"no figures of {pod}", timeout_s=90)


def _seconds(time_text: str) -> float:
    return datetime.fromisoformat(time_text).timestamp()
