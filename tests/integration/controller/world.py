"""A real controller process at a real API server, as its ServiceAccount.

No controller manager runs: nobody collects garbage, and no Deployment gets a
pod. Tests write a Deployment's status themselves where they need one.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml

from controller.api.names import child_name
from controller.kube.resource import (
    DATABASE_BACKUP_STORAGE_CLASSES,
    DATABASE_BACKUPS,
    DEPLOYMENTS,
    LEASES,
    NETWORK_POLICIES,
    ROLE_BINDINGS,
    ROLES,
    SECRETS,
    SERVICE_ACCOUNTS,
    Resource,
)
from tests.integration.kube import definitions
from tests.servers.audit import AuditEntry
from tests.servers.kubernetes import KubernetesServer, find_kubernetes_program
from tests.servers.provider import ServerMissing, free_port, skip_or_fail

RBAC = Path(__file__).parents[3] / "deploy" / "rbac"
ACCOUNT = "db-backup-controller"
TIMEOUT_S = 30.0
T = TypeVar("T")

#: Children by kind, and the role in their name.
CHILDREN: tuple[tuple[Resource, str], ...] = (
    (SECRETS, "config"),
    (SERVICE_ACCOUNTS, ""),
    (ROLES, ""),
    (ROLE_BINDINGS, ""),
    (LEASES, ""),
    (NETWORK_POLICIES, ""),
    (DEPLOYMENTS, ""),
)


def wait_for(look: Callable[[], T | None], *, timeout_s: float = TIMEOUT_S) -> T:
    """Look again and again until there is something to see."""
    deadline = time.monotonic() + timeout_s
    while True:
        seen = look()
        if seen:
            return seen
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


class Controller:
    """One `controller run`."""

    def __init__(self, world: World, environment: Mapping[str, str]) -> None:
        self.port = free_port()
        self.log_file = world.folder / f"controller-{secrets.token_hex(4)}.log"
        with self.log_file.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "controller.cli", "run", "--kubeconfig", world.kubeconfig],
                env=os.environ
                | {
                    "IMAGE_PREFIX": "registry.example.com/runner",
                    "LISTEN": f"127.0.0.1:{self.port}",
                    "LOG_LEVEL": "DEBUG",
                    "TARGET_NAMESPACE": world.system,
                    **environment,
                },
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def wait_until_leading(self) -> None:
        wait_for(lambda: self.metric("leader") == 1)

    def get(self, path: str) -> tuple[int, str]:
        """0 while nobody listens."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        except OSError:
            return 0, ""
        finally:
            connection.close()

    def metric(self, name: str, **labels: str) -> float | None:
        """The sum of all series that have these labels; None: there is none."""
        found = re.findall(
            rf"^db_backup_controller_{name}(?:{{(.*)}})? (\S+)$",
            self.get("/metrics")[1],
            re.MULTILINE,
        )
        values = [
            float(value)
            for series, value in found
            if all(f'{key}="{wanted}"' in series for key, wanted in labels.items())
        ]
        return sum(values) if values else None

    def log(self) -> list[dict[str, Any]]:
        whole_lines = self.log_file.read_text().rpartition("\n")[0].splitlines()
        return [json.loads(line) for line in whole_lines if line]

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(30)


class World:
    """A namespace for tenants and one for the controller, a class, and its Secret."""

    def __init__(self, server: KubernetesServer, folder: Path) -> None:
        self.server = server
        self.folder = folder
        self.namespace = server.new_namespace()
        self.system = server.new_namespace()
        self.class_name = f"class-{secrets.token_hex(4)}"
        self.kubeconfig = self.kubeconfig_of(self.system)
        self.user = f"system:serviceaccount:{self.system}:{ACCOUNT}"
        self._controllers: list[Controller] = []

    def kubeconfig_of(self, namespace: str, *, port: int | None = None) -> str:
        """A kubeconfig of the controller's account whose context is in that namespace.

        Each has a token of its own; `port` is that of a proxy before the server.
        """
        token = self.server.token_for(self.system, ACCOUNT)
        return str(self.server.kubeconfig(token=token, namespace=namespace, port=port))

    def grant(self, *, but: tuple[str, str] = ("", "")) -> None:
        """Give the controller's account exactly the rights of deploy/rbac.

        Args:
            but: a resource and a verb to leave out.
        """
        for file, namespace in (("clusterrole.yaml", None), ("role.yaml", self.system)):
            rules = yaml.safe_load((RBAC / file).read_text())["rules"]
            for rule in rules:
                if but[0] in rule["resources"]:
                    rule["verbs"].remove(but[1])
            self.server.allow(namespace, (self.system, ACCOUNT), rules)

    def start(self, **environment: str) -> Controller:
        """Start a controller as the ServiceAccount, with settings of its own."""
        self._controllers.append(Controller(self, environment))
        return self._controllers[-1]

    def close(self) -> None:
        for controller in self._controllers:
            controller.process.kill()
            controller.process.wait(30)
        # The next test's controller would look after them, too; and nobody lets these go any more.
        for one in self.server.request("GET", DATABASE_BACKUPS.path(self.namespace)).body["items"]:
            if one["metadata"].get("finalizers"):
                name = one["metadata"]["name"]
                self.change(DATABASE_BACKUPS, name, lambda raw: raw["metadata"].pop("finalizers"))
        self.server.request("DELETE", DATABASE_BACKUPS.path(self.namespace))
        self.server.request("DELETE", DATABASE_BACKUP_STORAGE_CLASSES.path(None, self.class_name))

    # What people do.

    def create_secret(self, name: str = "bucket", **texts: str) -> None:
        body = {"metadata": {"name": name}, "stringData": texts}
        self.server.create(SECRETS.path(self.system), body)

    def create_class(self, name: str = "", **spec: Any) -> None:
        """Create the world's class, or one that the test has to delete."""
        location = {
            "name": "s3",
            "storageType": "s3",
            "storageBucket": "backups",
            "storageAccessKeyID": {"value": "an-id"},
            "storageSecretAccessKey": {"fromSecret": {"name": "bucket", "key": "key"}},
        }
        self.create(
            DATABASE_BACKUP_STORAGE_CLASSES,
            name or self.class_name,
            {"spec": {"backupLocations": [location]} | spec},
        )

    def create_backup(self, name: str = "shop", **spec: Any) -> dict[str, Any]:
        given = {
            "databaseType": "postgres",
            "databaseVersion": "16",
            "backupStorageClass": self.class_name,
            "backupInterval": 6,
            "postgres": {
                "database": "shop",
                "host": "db",
                "user": "backup",
                "pass": {"fromSecret": {"name": "shop-db", "key": "password"}},
            },
        }
        return self.create(DATABASE_BACKUPS, name, {"spec": given | spec})

    def create(self, resource: Resource, name: str, body: dict[str, Any]) -> dict[str, Any]:
        metadata = {"name": name} | body.get("metadata", {})
        identity = {"apiVersion": resource.api_version, "kind": resource.kind}
        where = resource.path(self.namespace if resource.is_namespaced else None)
        return self.server.create(where, identity | body | {"metadata": metadata})

    def get(self, resource: Resource, name: str) -> dict[str, Any] | None:
        namespace = self.namespace if resource.is_namespaced else None
        answer = self.server.request("GET", resource.path(namespace, name))
        return answer.body if answer.status == 200 else None

    def change(
        self,
        resource: Resource,
        name: str,
        edit: Callable[[dict[str, Any]], object],
        *,
        namespace: str | None = None,
        subresource: str = "",
    ) -> None:
        """Read, edit, write, as often as others write in between."""
        where = (namespace or self.namespace) if resource.is_namespaced else None
        path = resource.path(where, name)

        def attempt() -> bool:
            raw = self.server.request("GET", path).body
            edit(raw)
            answer = self.server.request("PUT", f"{path}/{subresource}".rstrip("/"), raw)
            assert answer.status in {200, 409}, answer.body
            return answer.status == 200

        wait_for(attempt)

    def delete(self, resource: Resource, name: str) -> None:
        namespace = self.namespace if resource.is_namespaced else None
        answer = self.server.request("DELETE", resource.path(namespace, name))
        assert answer.status in {200, 202}, answer.body

    def kubectl(self, *arguments: str) -> str:
        """Run the real one as cluster-admin in the tenants' namespace; what it printed."""
        try:
            program = find_kubernetes_program("kubectl")
        except ServerMissing as missing:
            skip_or_fail(missing)
        config = f"--kubeconfig={self.server.kubeconfig(namespace=self.namespace)}"
        ended = subprocess.run(
            [program, config, *arguments],
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    # What there is to see.

    def child(self, resource: Resource, name: str = "shop") -> dict[str, Any] | None:
        role = dict(CHILDREN)[resource]
        return self.get(resource, child_name(self.namespace, name, role))

    def wait_for_children(self, name: str = "shop") -> dict[Resource, dict[str, Any]]:
        def look() -> dict[Resource, dict[str, Any]] | None:
            found = {resource: self.child(resource, name) for resource, _ in CHILDREN}
            return None if None in found.values() else found  # type: ignore[return-value]

        return wait_for(look)

    def config(self, name: str = "shop") -> dict[str, Any]:
        """The files of the runner's configuration."""
        child = self.child(SECRETS, name)
        assert child is not None
        return {
            file: yaml.safe_load(base64.b64decode(data)) for file, data in child["data"].items()
        }

    def condition(
        self, kind: str, name: str = "shop", resource: Resource = DATABASE_BACKUPS
    ) -> dict[str, Any]:
        status = (self.get(resource, name) or {}).get("status") or {}
        by_type = {one["type"]: one for one in status.get("conditions") or ()}
        return by_type.get(kind, {"status": "", "reason": "", "message": ""})

    def wait_for_condition(
        self, kind: str, status: str, reason: str, name: str = "shop", **options: Any
    ) -> dict[str, Any]:
        def look() -> dict[str, Any] | None:
            found = self.condition(kind, name, **options)
            return found if (found["status"], found["reason"]) == (status, reason) else None

        return wait_for(look)

    def set_available(self, name: str = "shop", *, is_available: bool = True) -> None:
        """Say what a controller manager and a kubelet would say of the runner's Deployment."""

        def edit(raw: dict[str, Any]) -> None:
            count = 1 if is_available else 0
            raw["status"] = {
                "observedGeneration": raw["metadata"]["generation"],
                "replicas": 1,
                "updatedReplicas": 1,
                "readyReplicas": count,
                "availableReplicas": count,
                "unavailableReplicas": 1 - count,
                "conditions": [
                    {
                        "type": "Available",
                        "status": "True" if is_available else "False",
                        "reason": "MinimumReplicasAvailable",
                        "lastUpdateTime": "2026-11-23T10:00:00Z",
                        "lastTransitionTime": "2026-11-23T10:00:00Z",
                    }
                ],
            }

        deployment = child_name(self.namespace, name)
        self.change(DEPLOYMENTS, deployment, edit, subresource="status")

    def report_backup(self, name: str = "shop") -> None:
        """Say what a runner would say of its first backup."""
        summary = {"id": "2026-11-23T10-00-00Z-0000", "startedAt": "2026-11-23T10:00:00Z"}

        def edit(raw: dict[str, Any]) -> None:
            raw["status"] = raw.get("status", {}) | {"lastBackup": summary}

        self.change(DATABASE_BACKUPS, name, edit, subresource="status")

    def requests(self) -> list[AuditEntry]:
        """What this world's controllers asked so far."""
        return [one for one in self.server.audit_entries() if one.user == self.user]

    def writes(self) -> list[AuditEntry]:
        """What they wrote, the election apart."""
        return [
            one
            for one in self.requests()
            if one.is_write and not (one.resource == "leases" and one.namespace == self.system)
        ]

    def wait_until_quiet(self, quiet_s: float = 2.0) -> int:
        """Wait until nothing was written for a while; say how many writes there were."""

        def look() -> list[int]:
            before = len(self.writes())
            time.sleep(quiet_s)
            return [before] if len(self.writes()) == before else []

        return wait_for(look)[0]


@contextlib.contextmanager
def at_work(server: KubernetesServer, folder: Path) -> Iterator[tuple[World, Controller]]:
    """A world with a controller that acts, and one object with all children."""
    definitions.install(server)
    world = World(server, folder)
    try:
        world.grant()
        world.create_secret(key="a-secret-key")
        world.create_class()
        controller = world.start()
        controller.wait_until_leading()
        world.create_backup()
        world.wait_for_children()
        yield world, controller
    finally:
        world.close()
