"""kubectl on the node, as people use it."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import frozen

from tests.integration.jobs.commands import Done, eventually

_TIMEOUT_S = 120


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

    def container_memory(self, pod: str, namespace: str) -> int:
        """What the kubelet counts against a pod's limits, in bytes, at its next look."""
        asked_at = time.time()

        def of_the_pod() -> int:
            path = "/api/v1/nodes/node/proxy/stats/summary"
            for found in json.loads(self.run("get", "--raw", path).must(0).out)["pods"]:
                about = found["podRef"]
                memory = found["containers"][0].get("memory", {}) if found.get("containers") else {}
                if (about["name"], about["namespace"]) == (pod, namespace) and memory:
                    seen_at = _seconds(memory["time"])
                    return int(memory["workingSetBytes"]) if seen_at > asked_at else 0
            return 0

        return eventually(of_the_pod, say=lambda: f"no figures of {pod}", timeout_s=90)


def _seconds(time_text: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(time_text).timestamp()
