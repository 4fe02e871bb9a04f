"""A namespace with a database that is backed up: what a team that uses the cluster has."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from attrs import define

from tests.e2e.kubectl import Kubectl
from tests.integration.jobs.commands import Done, eventually
from tests.servers.mysql import MysqlServer
from tests.servers.node import addresses
from tests.servers.postgres import PostgresServer
from tests.servers.proxy import TcpProxy

#: Where the release is, as the documentation has it, and so the Secrets of classes.
CONTROLLER = "db-backup-controller"
API = "backup.nect.com/v1"
NAME = "shop"
#: So slow that whatever a test does to a job comes in time.
CRAWL_BYTES_PER_S = 1e5


@define(kw_only=True, eq=False)
class Tenant(ABC):
    """One DatabaseBackup and its surroundings, whatever the database is.

    Args:
        wire: between the pod and the database.
        storage_class: its name; it has one location, a bucket.
    """

    kubectl: Kubectl
    namespace: str
    database: str
    wire: TcpProxy
    storage_class: str
    bucket: str

    # -- the database ----------------------------------------------------------

    @property
    @abstractmethod
    def password(self) -> str:
        """Of the user that backs up."""

    @abstractmethod
    def source(self) -> dict[str, Any]:
        """What `spec` says of the database."""

    @abstractmethod
    def drop_database(self) -> None: ...

    @abstractmethod
    def server_time(self) -> str:
        """Now, by the database server's own clock."""

    def _section(self, user: Any) -> dict[str, Any]:
        return {
            "host": addresses.HOST_NAME,
            "port": self.wire.port,
            "database": self.database,
            "user": user,
            "pass": {"fromSecret": {"name": "shop-db", "key": "password"}},
        }

    # -- the object ------------------------------------------------------------

    def manifest(self, **spec: Any) -> dict[str, Any]:
        """As in docs/examples/database-backup.yaml; a field given as None is left out."""
        given = {
            "backupStorageClass": self.storage_class,
            "backupCron": "0 3 * * *",
            "timeZone": "Europe/Berlin",
            **self.source(),
            **spec,
        }
        return {
            "apiVersion": API,
            "kind": "DatabaseBackup",
            "metadata": {"namespace": self.namespace, "name": NAME},
            "spec": {key: value for key, value in given.items() if value is not None},
        }

    def create(self, **spec: Any) -> None:
        """The namespace and what is in it."""
        self.prepare()
        self.kubectl.apply(self.manifest(**spec))

    def prepare(self) -> None:
        """The namespace, where pods have to be of the strictest kind, and the Secret in it."""
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        self.kubectl.apply(
            {
                "apiVersion": "v1",
                "kind": "Namespace",
                "metadata": {"name": self.namespace, "labels": labels},
            }
        )
        self.set_password(self.password)

    def remove(self) -> None:
        """Without waiting for its end, which takes some seconds."""
        for kind, name in (
            ("namespace", self.namespace),
            ("databasebackupstorageclass", self.storage_class),
        ):
            self.kubectl.run("delete", kind, name, "--wait=false", "--ignore-not-found").must(0)

    def set_password(self, text: str) -> None:
        self.kubectl.apply(a_secret(self.namespace, "shop-db", password=text))

    # -- look -----------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        found = self.kubectl.get("databasebackup", NAME, namespace=self.namespace)
        status: dict[str, Any] = found.get("status", {})
        return status

    def condition(self, type_: str) -> dict[str, Any]:
        conditions = self.status().get("conditions", [])
        return next((one for one in conditions if one["type"] == type_), {})

    @property
    def runner(self) -> str:
        """The Deployment that takes commands, as the status says."""
        name: str = self.status()["runner"]
        return name

    def pods(self) -> list[dict[str, Any]]:
        """Of the runner, but for those that are going."""
        return [
            pod
            for pod in self.kubectl.list("pods", "--namespace", self.namespace)
            if "deletionTimestamp" not in pod["metadata"]
        ]

    def pod(self) -> dict[str, Any]:
        """The one pod of the runner that is not going."""
        (found,) = self.pods()
        return found

    def backups(self) -> list[str]:
        """Ids of the stored backups, oldest first, as the runner lists them."""
        rows = json.loads(self.exec("runner", "list", "--json").must(0).out)
        return sorted(row["id"] for row in rows)

    def events_of_the_object(self) -> list[dict[str, Any]]:
        return self.kubectl.list(
            *("events", "--namespace", self.namespace),
            f"--field-selector=involvedObject.kind=DatabaseBackup,involvedObject.name={NAME}",
        )

    # -- act, as a person does --------------------------------------------------

    def wait_for(self, condition: str, *, timeout_s: int = 60) -> None:
        """`kubectl wait` for a condition, `Ready` or `BackupHealthy=False`."""
        self._run(
            *("wait", f"--for=condition={condition}", f"databasebackup/{NAME}"),
            f"--timeout={timeout_s}s",
        ).must(0)

    def exec(self, *command: str) -> Done:
        """`kubectl exec deploy/RUNNER -- COMMAND`."""
        return self._run("exec", f"deploy/{self.runner}", "--", *command)

    def starting_exec(self, *command: str) -> subprocess.Popen[str]:
        """The same, without waiting for its end."""
        within = ("--namespace", self.namespace, "exec", f"deploy/{self.runner}", "--")
        return subprocess.Popen(
            self.kubectl.argv(*within, *command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    @contextlib.contextmanager
    def backup_under_way(self) -> Iterator[subprocess.Popen[str]]:
        """`backup-now` while the dump flows, so slowly that it takes a minute."""
        self.wire.bytes_per_s = CRAWL_BYTES_PER_S
        seen = self.wire.bytes_to_client
        with self.starting_exec("backup-now") as client:
            eventually(
                lambda: self.wire.bytes_to_client > seen + 200_000,
                say=lambda: "nothing was dumped",
            )
            try:
                yield client
            finally:
                if client.poll() is None:
                    client.kill()

    def kill(self) -> None:
        """SIGKILL for all processes of the pod, as the kernel does that has no memory left."""
        group = f"/pod{self.pod()['metadata']['uid']}/"
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                is_its = group in (folder / "cgroup").read_text()
                if is_its and (folder / "comm").read_text().strip() != "pause":
                    os.kill(int(folder.name), signal.SIGKILL)

    def wait_for_restart(self) -> None:
        """Until the kubelet has started the container anew, and it is ready."""

        def is_up_again() -> bool:
            (container,) = self.pod()["status"]["containerStatuses"]
            return bool(container["restartCount"] and container["ready"])

        eventually(is_up_again, say=lambda: f"not up again: {self.pod()['status']}", timeout_s=90)
        self.wait_for("Ready")

    def first_backup(self) -> None:
        """Wait for the backup that a new object gets at once."""
        eventually(
            lambda: self.status().get("lastBackup"),
            say=lambda: f"no backup: {json.dumps(self.status(), indent=2)}",
            timeout_s=60,
        )

    def _run(self, *arguments: str) -> Done:
        return self.kubectl.run("--namespace", self.namespace, *arguments)


@define(kw_only=True, eq=False)
class PostgresTenant(Tenant):
    server: PostgresServer

    @property
    def password(self) -> str:
        return self.server.password

    def source(self) -> dict[str, Any]:
        return {
            "databaseType": "postgres",
            "databaseVersion": str(self.server.major),
            "postgres": self._section(self.server.user),
        }

    def drop_database(self) -> None:
        with self.server.connect() as connection:
            connection.execute(f'DROP DATABASE "{self.database}" WITH (FORCE)')

    def server_time(self) -> str:
        with self.server.connect() as connection:
            row = connection.execute("SELECT clock_timestamp()").fetchone()
        moment: str = row[0].isoformat()
        return moment


@define(kw_only=True, eq=False)
class MariadbTenant(Tenant):
    server: MysqlServer

    @property
    def password(self) -> str:
        return self.server.password

    def source(self) -> dict[str, Any]:
        return {
            "databaseType": "mariadb",
            "databaseVersion": self.server.series,
            "mariadb": self._section({"value": self.server.user}),
        }

    def drop_database(self) -> None:
        self.server.run(f"DROP DATABASE `{self.database}`")

    def server_time(self) -> str:
        ((moment,),) = self.server.run("SELECT UTC_TIMESTAMP(6)")
        return f"{moment.isoformat()}Z"


def a_secret(namespace: str, name: str, **texts: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"namespace": namespace, "name": name},
        "stringData": {key.replace("_", "-"): text for key, text in texts.items()},
    }


def a_location(bucket: str, port: int, *, name: str = "s3", secret: str = "backup-s3") -> Any:
    """A bucket of a server on the machine, encrypted."""
    return {
        "name": name,
        "storageType": "s3",
        "storageEndpoint": f"{addresses.HOST_NAME}:{port}",
        "storageUseSSL": False,
        "forcePathStyle": True,
        "storageBucket": bucket,
        "storageLocation": "us-east-1",
        "storageAccessKeyID": {"fromSecret": {"name": secret, "key": "access-key-id"}},
        "storageSecretAccessKey": {"fromSecret": {"name": secret, "key": "secret-access-key"}},
        "encryptionPass": {"fromSecret": {"name": "backup-encryption", "key": "passphrase"}},
    }


def a_class(name: str, *locations: Any, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": API,
        "kind": "DatabaseBackupStorageClass",
        "metadata": {"name": name},
        "spec": {"backupLocations": list(locations), **spec},
    }


def unique(prefix: str) -> str:
    return f"{prefix}-{secrets.token_hex(3)}"
