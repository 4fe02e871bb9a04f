"""A runner as in its pod: real API server, its own account, and exactly the rights of its Role."""

from __future__ import annotations

import json
import time
from pathlib import Path

from tests.integration.jobs.commands import eventually
from tests.integration.jobs.conftest import MakeCluster
from tests.servers.proxy import TcpProxy

_CRAWL_BYTES_PER_S = 2e5


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
