"""A runner's cluster: a real API server with its object, its Lease and its account."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from attrs import define

from controller.api.deletion import FINALIZER
from controller.api.lease import DELETION_MARK
from controller.api.names import child_name
from tests.integration.jobs.commands import eventually
from tests.integration.jobs.world import World
from tests.servers.kubernetes import KubernetesServer, find_kubernetes_program


@define(kw_only=True, eq=False)
class ClusterWorld:
    """A world whose DatabaseBackup is in a cluster, with the children that a runner needs."""

    world: World
    server: KubernetesServer
    namespace: str

    @property
    def lease_name(self) -> str:
        return child_name(self.namespace, "shop")

    @property
    def _object_path(self) -> str:
        return f"/apis/backup.nect.com/v1/namespaces/{self.namespace}/databasebackups/shop"

    @property
    def _lease_path(self) -> str:
        group = "/apis/coordination.k8s.io/v1"
        return f"{group}/namespaces/{self.namespace}/leases/{self.lease_name}"

    def create(self, *, may_report: bool = True) -> None:
        """The object, its Lease as the controller makes it, and the runner's account."""
        manifest = json.loads((self.world.config / "backup.yaml").read_text())
        if manifest["spec"].get("deletionPolicy") == "Delete":
            manifest["metadata"]["finalizers"] = [FINALIZER]
        found = self.server.create(self._object_path.removesuffix("/shop"), manifest)
        manifest["metadata"] |= {key: found["metadata"][key] for key in ("uid", "generation")}
        (self.world.config / "backup.yaml").write_text(json.dumps(manifest))
        lease = {"metadata": {"name": self.lease_name, "namespace": self.namespace}}
        self.server.create(self._lease_path.rpartition("/")[0], lease)
        self._write_account(may_report=may_report)
        self.world.environ |= self.pod("pod-1")

    def pod(self, name: str, *, lease: str = "60s") -> dict[str, str]:
        """The environment of one pod of the Deployment."""
        control = self.world.folder / name
        control.mkdir(mode=0o700, exist_ok=True)
        return {
            "RUNNER_IN_CLUSTER": "true",
            "POD_NAME": name,
            "POD_NAMESPACE": self.namespace,
            "KUBERNETES_SERVICE_HOST": "127.0.0.1",
            "KUBERNETES_SERVICE_PORT": str(self.server.port),
            "SERVICE_ACCOUNT_DIR": str(self.world.folder / "account"),
            "CONTROL_DIR": str(control),
            "LEASE_DURATION": lease,
        }

    def status(self) -> dict[str, Any]:
        status: dict[str, Any] = self.server.request("GET", self._object_path).body.get("status")
        return status or {}

    def condition(self, type_: str) -> dict[str, Any]:
        conditions = self.status().get("conditions", [])
        return next((one for one in conditions if one["type"] == type_), {})

    def wait_for(self, type_: str, status: str) -> None:
        eventually(
            lambda: self.condition(type_).get("status") == status,
            say=lambda: f"{type_} is not {status}: {self.status()}",
        )

    def apply_as_controller(self, reason: str) -> None:
        ready = {"type": "Ready", "status": "True", "reason": reason}
        body = {
            "apiVersion": "backup.nect.com/v1",
            "kind": "DatabaseBackup",
            "metadata": {"name": "shop", "namespace": self.namespace},
            "status": {"conditions": [ready], "runner": self.lease_name},
        }
        done = self.kubectl(
            *("apply", "--server-side", "--subresource=status", "-f", "-"),
            "--field-manager=db-backup-controller",
            text=json.dumps(body),
        )
        assert done.returncode == 0, done.stderr

    def lease(self) -> dict[str, Any]:
        return self.server.request("GET", self._lease_path).body

    def delete(self) -> None:
        """Delete the object, and tell the runner as the controller does."""
        assert self.server.request("DELETE", self._object_path).status == 200
        self.change_lease(
            lambda lease: (
                lease["metadata"]
                .setdefault("annotations", {})
                .update({DELETION_MARK: "2026-11-23T10:00:00Z"})
            )
        )

    def retain(self) -> None:
        """Change one's mind."""
        self._change(lambda raw: raw["spec"].update(deletionPolicy="Retain"))

    def let_go(self) -> None:
        """Take the finalizer off: a controller of another test would look after the object."""
        self._change(lambda raw: raw["metadata"].pop("finalizers", None))

    def _change(self, edit: Callable[[dict[str, Any]], object]) -> None:
        """Until nobody writes in between."""

        def change() -> bool:
            raw = self.server.request("GET", self._object_path).body
            edit(raw)
            return self.server.request("PUT", self._object_path, raw).status == 200

        eventually(change, say=lambda: "the object is always written in between")

    def change_lease(self, edit: Callable[[dict[str, Any]], object]) -> None:
        """Until no renewal comes in between."""

        def change() -> bool:
            lease = self.lease()
            edit(lease)
            return self.server.request("PUT", self._lease_path, lease).status == 200

        eventually(change, say=lambda: "the Lease is always renewed in between")

    def holder(self) -> str:
        return str(self.lease().get("spec", {}).get("holderIdentity", ""))

    def give_lease_to(self, holder: str) -> None:
        self.change_lease(lambda lease: lease["spec"].update(holderIdentity=holder))

    def events(self) -> set[tuple[str, str]]:
        path = f"/api/v1/namespaces/{self.namespace}/events"
        return {
            (one["reason"], one["involvedObject"]["uid"])
            for one in self.server.request("GET", path).body["items"]
        }

    def kubectl(self, *argv: str, text: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [
                str(find_kubernetes_program("kubectl")),
                f"--kubeconfig={self.server.kubeconfig(namespace=self.namespace)}",
                f"--cache-dir={self.world.folder / 'kubectl'}",
                *argv,
            ],
            input=text,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def _write_account(self, *, may_report: bool) -> None:
        group = "backup.nect.com"
        own = {"resourceNames": ["shop"]}
        rules: list[dict[str, Any]] = [
            {"apiGroups": [group], "resources": ["databasebackups"], "verbs": ["get"], **own},
            {
                "apiGroups": ["coordination.k8s.io"],
                "resources": ["leases"],
                "verbs": ["get", "update"],
                "resourceNames": [self.lease_name],
            },
            {"apiGroups": [""], "resources": ["events"], "verbs": ["create"]},
        ]
        if may_report:
            status = {"resources": ["databasebackups/status"], "verbs": ["get", "patch"]}
            rules.append({"apiGroups": [group], **status, **own})
        token = self.server.token_for(self.namespace, "runner")
        self.server.allow(self.namespace, (self.namespace, "runner"), rules)
        folder: Path = self.world.folder / "account"
        folder.mkdir()
        (folder / "token").write_text(token)
        (folder / "namespace").write_text(self.namespace)
        (folder / "ca.crt").write_text(self.server.ca_file.read_text())
