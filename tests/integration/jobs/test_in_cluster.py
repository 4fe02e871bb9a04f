"""A runner as in its pod: real API server, its own account, and exactly the rights of its Role."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from attrs import define

from controller.api.names import child_name
from tests.integration.jobs.conftest import MakeWorld
from tests.integration.jobs.world import World, eventually
from tests.integration.kube import definitions
from tests.servers.kubernetes import KubernetesServer, find_kubernetes_program
from tests.servers.proxy import TcpProxy

#: A day a year: what is backed up by the schedule is the new object, at once.
_SCHEDULE = {"suspend": False, "backupCron": "0 3 1 1 *"}
_CRAWL_BYTES_PER_S = 2e5
_SHORT_LEASE = "6s"


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

    def holder(self) -> str:
        return str(self.lease().get("spec", {}).get("holderIdentity", ""))

    def give_lease_to(self, holder: str) -> None:
        """Until no renewal comes in between."""

        def give() -> bool:
            lease = self.lease()
            lease["spec"]["holderIdentity"] = holder
            return self.server.request("PUT", self._lease_path, lease).status == 200

        eventually(give, say=lambda: "the Lease is always renewed in between")

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


MakeCluster = Callable[..., ClusterWorld]


@pytest.fixture
def make_cluster(
    make_world: MakeWorld, kubernetes_server: KubernetesServer, namespace: str
) -> MakeCluster:
    definitions.install(kubernetes_server)

    def make(*, large: bool = False, may_report: bool = True, **configured: Any) -> ClusterWorld:
        world = make_world("folder", large=large)
        world.configure(metadata={"namespace": namespace}, **(_SCHEDULE | configured))
        cluster = ClusterWorld(world=world, server=kubernetes_server, namespace=namespace)
        cluster.create(may_report=may_report)
        return cluster

    return make


def test_the_first_backup_is_in_the_status_and_kubectl_can_wait_for_it(
    make_cluster: MakeCluster,
) -> None:
    cluster = make_cluster()
    uid = json.loads((cluster.world.config / "backup.yaml").read_text())["metadata"]["uid"]
    with cluster.world.runner():
        waited = cluster.kubectl(
            "wait", "--for=condition=BackupHealthy", "--timeout=60s", "databasebackup/shop"
        )
        assert waited.returncode == 0, waited.stderr
        cluster.apply_as_controller("Applied")
        newer = cluster.world.back_up()
        eventually(
            lambda: cluster.status()["lastBackup"]["id"] == newer,
            say=lambda: str(cluster.status()),
        )
        cluster.apply_as_controller("AppliedAgain")

        status = cluster.status()
        assert status["runner"] == cluster.lease_name
        assert cluster.condition("Ready")["reason"] == "AppliedAgain"
        assert cluster.condition("LocationsHealthy")["status"] == "True"
        assert cluster.condition("Verified")["reason"] == "NotVerified"
        assert cluster.condition("BackupHealthy")["observedGeneration"] == 1
        assert status["storedBackups"] == 2
        assert status["nextBackupAt"].endswith("01-01T03:00:00Z")
        assert [one["name"] for one in status["locations"]] == ["folder"]
        assert cluster.holder() == "pod-1"
        eventually(lambda: cluster.events() == {("BackupSucceeded", uid)}, say=lambda: "no event")
    assert cluster.holder() == "", "it is given back at the end"


def test_a_failure_and_its_time_outlive_the_runner(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(database={"database": "does_not_exist"})
    with cluster.world.runner() as runner:
        cluster.wait_for("BackupHealthy", "False")
        runner.kill()
    before = cluster.condition("BackupHealthy")
    attempt = cluster.status()["lastAttempt"]
    remembered = list(cluster.world.folder.rglob("_state.json"))
    assert remembered
    for file in remembered:
        file.unlink()

    with cluster.world.runner() as runner:
        assert cluster.world.status()["status"]["lastAttempt"] == attempt
        assert runner.metric("last_job_success", job_type="backup") == 0
        assert runner.metric("consecutive_failures", job_type="backup") == 1
    assert cluster.condition("BackupHealthy") == before
    assert cluster.status()["lastAttempt"] == attempt, "a fresh failure is not tried again at once"


def test_a_backup_does_not_wait_for_an_api_server_that_hangs(make_cluster: MakeCluster) -> None:
    cluster = make_cluster()
    with cluster.world.runner():
        cluster.wait_for("BackupHealthy", "True")
        begun_mono = time.monotonic()
        cluster.world.back_up()
        usual_s = time.monotonic() - begun_mono
        cluster.server.suspend()
        try:
            begun_mono = time.monotonic()
            newer = cluster.world.back_up()
            hanging_s = time.monotonic() - begun_mono
        finally:
            cluster.server.resume()

        # One request alone would hang for 10 s.
        assert hanging_s < usual_s + 5
        eventually(
            lambda: cluster.status()["lastBackup"]["id"] == newer,
            say=lambda: str(cluster.status()),
            timeout_s=90,
        )
        assert cluster.holder() == "pod-1"


def test_a_backup_outlives_an_api_server_that_is_killed(
    make_cluster: MakeCluster, slow_database: TcpProxy
) -> None:
    address = {"host": "127.0.0.1", "port": slow_database.port}
    cluster = make_cluster(large=True, database=address)
    with cluster.world.runner():
        cluster.wait_for("BackupHealthy", "True")
        slow_database.bytes_per_s = _CRAWL_BYTES_PER_S
        with cluster.world.started("backup-now") as client:
            cluster.world.find_process("pg_dump")
            cluster.server.restart(is_killed=True)
            slow_database.bytes_per_s = None
            said, _ = client.communicate(timeout=90)
            assert client.returncode == 0, said

        eventually(
            lambda: cluster.status()["storedBackups"] == 2, say=lambda: str(cluster.status())
        )


def test_of_two_pods_one_acts_and_the_other_takes_over(make_cluster: MakeCluster) -> None:
    cluster = make_cluster()
    first, second, third = (cluster.pod(f"pod-{n}", lease=_SHORT_LEASE) for n in (1, 2, 3))
    with (
        cluster.world.runner(**first) as one,
        cluster.world.runner(wait=False, **second) as two,
    ):
        eventually(lambda: "another runner holds the Lease" in two.log, say=lambda: two.log)
        assert "runner started" not in two.log
        cluster.wait_for("BackupHealthy", "True")

        begun_mono = time.monotonic()
        one.process.send_signal(signal.SIGTERM)
        one.process.wait(60)
        two.wait_ready()

        assert cluster.holder() == "pod-2"
        handed_over_s = time.monotonic() - begun_mono
        with cluster.world.runner(wait=False, **third) as three:
            eventually(lambda: "another runner holds" in three.log, say=lambda: three.log)
            begun_mono = time.monotonic()
            two.kill()
            three.wait_ready()

            assert cluster.holder() == "pod-3"
            # A renewal was at most a third of it old; then there are the looks of who waits.
            assert time.monotonic() - begun_mono > 3, "no Lease is taken before it has expired"
            assert handed_over_s < 20


def test_a_runner_that_sees_another_holder_ends_its_job_and_itself(
    make_cluster: MakeCluster, slow_database: TcpProxy
) -> None:
    address = {"host": "127.0.0.1", "port": slow_database.port}
    cluster = make_cluster(large=True, database=address)
    with cluster.world.runner(**cluster.pod("pod-1", lease=_SHORT_LEASE)) as runner:
        cluster.wait_for("BackupHealthy", "True")
        slow_database.bytes_per_s = _CRAWL_BYTES_PER_S
        with cluster.world.started("backup-now") as client:
            cluster.world.find_process("pg_dump")
            busy = "db-backup.nect.com/busy-until"
            eventually(
                lambda: busy in cluster.lease()["metadata"].get("annotations", {}),
                say=lambda: str(cluster.lease()),
            )
            eventually(
                lambda: "finishedAt" not in cluster.status()["lastAttempt"],
                say=lambda: str(cluster.status()),
            )
            before = cluster.status()

            cluster.give_lease_to("pod-2")

            said, _ = client.communicate(timeout=60)
            assert "pod-2 holds the Lease" in said
            assert client.returncode == 130
            assert runner.process.wait(60) == 69
    assert cluster.holder() == "pod-2"
    assert cluster.status() == before, "the last word is the successor's"
    cluster.world.assert_nothing_left()


def test_doctor_says_what_the_role_lacks(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(may_report=False)
    before = cluster.lease()

    done = cluster.world.cli("doctor")

    done.must(78, "ok    Kubernetes API, Lease: may be written, nobody holds it")
    (line,) = [one for one in done.out.splitlines() if "Kubernetes API, status" in one]
    assert line.startswith("FAIL")
    assert "has to allow 'patch' on 'databasebackups.backup.nect.com'" in line
    assert cluster.lease() == before


def test_doctor_finds_nothing_wrong_and_changes_nothing(make_cluster: MakeCluster) -> None:
    cluster = make_cluster()

    done = cluster.world.cli("doctor").must(0)

    assert "ok    Kubernetes API, status: may be written" in done.out
    assert cluster.status() == {}


def test_the_parent_stays_small_with_lease_and_status(make_cluster: MakeCluster) -> None:
    cluster = make_cluster()
    with cluster.world.runner() as runner:
        cluster.wait_for("BackupHealthy", "True")
        cluster.world.back_up()
        lines = Path(f"/proc/{runner.process.pid}/status").read_text().splitlines()

    resident_kib = int(next(line for line in lines if line.startswith("VmRSS")).split()[1])
    assert resident_kib < 50 * 1024


def test_a_wrong_setting_is_refused_by_its_name(make_cluster: MakeCluster) -> None:
    cluster = make_cluster()
    for name, value in (
        ("RUNNER_IN_CLUSTER", "yes"),
        ("LEASE_DURATION", "1s"),
        ("LEASE_DURATION", "soon"),
        ("SERVICE_ACCOUNT_DIR", "/nowhere"),
    ):
        said = cluster.world.cli("run", **{name: value}).must(78).said
        assert (value if name == "SERVICE_ACCOUNT_DIR" else name) in said
