"""A runner whose object goes with its backups: real storages, a real API server, real deaths."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator

import pytest
from attrs import frozen

from tests.integration.jobs.cluster import ClusterWorld
from tests.integration.jobs.conftest import MakeCluster
from tests.integration.jobs.places import Place, minio_bucket, moto_bucket, stock
from tests.integration.jobs.world import eventually
from tests.servers.minio import MinioServer
from tests.servers.moto import MotoServer
from tests.servers.proxy import Fault, HttpProxy, TcpProxy

ALWAYS = 10**6
SHORT_LEASE = "6s"
QUIET = {"suspend": True, "deletionPolicy": "Delete"}


@pytest.fixture
def s3_behind(moto_server: MotoServer) -> Iterator[HttpProxy]:
    with HttpProxy(moto_server.port) as proxy:
        yield proxy


@pytest.fixture
def minio_behind(minio_server: MinioServer) -> Iterator[TcpProxy]:
    with TcpProxy(minio_server.port) as proxy:
        yield proxy


def back_up(cluster: ClusterWorld, count: int = 2) -> None:
    for _ in range(count):
        cluster.world.back_up()


def keys(cluster: ClusterWorld, place: Place, folder: str = "") -> list[str]:
    """What is left of the object."""
    root = f"{cluster.namespace}/shop/{folder}"
    return [key for key in place.all_keys() if key.startswith(root)]


def neighbours(cluster: ClusterWorld) -> list[dict[str, str]]:
    """Write what others have beside the object's folder; returns all that is not its own."""
    for place in cluster.world.places:
        for owner in (f"{cluster.namespace}/shop2", f"{cluster.namespace}2/shop", "other/shop"):
            place.write(f"{owner}/_manifests/2026-11-23T02-00-00Z-0000.json", b"{}")
            place.write(f"{owner}/_data/2026-11-23T02-00-00Z-0000/dump.0000", b"theirs")
            place.write(f"{owner}/_owner.json", b"{}")
    return others(cluster)


def others(cluster: ClusterWorld) -> list[dict[str, str]]:
    root = f"{cluster.namespace}/shop/"
    return [
        stock(place, only=lambda key: not key.startswith(root)) for place in cluster.world.places
    ]


def wait_for_reason(cluster: ClusterWorld, reason: str) -> str:
    """Wait until the runner says so; returns its message."""
    eventually(
        lambda: cluster.condition("DataDeleted").get("reason") == reason,
        say=lambda: f"not {reason}: {cluster.status().get('conditions')}",
        timeout_s=120,
    )
    message: str = cluster.condition("DataDeleted")["message"]
    return message


def test_a_running_runner_deletes_everything_and_nothing_else(make_cluster: MakeCluster) -> None:
    cluster = make_cluster("folder", "minio", "s3", "gcs", **QUIET)
    back_up(cluster)
    before = neighbours(cluster)
    with cluster.world.runner(LEASE_DURATION=SHORT_LEASE):
        assert cluster.condition("DataDeleted") == {}

        cluster.delete()

        said = wait_for_reason(cluster, "Deleted")
        assert said == "; ".join(
            f"{name}: deleted 2 backups" for name in ("folder", "minio", "s3", "gcs")
        )
        assert cluster.condition("DataDeleted")["status"] == "True"
        assert [keys(cluster, place) for place in cluster.world.places] == [[]] * 4
        # Nobody begins anew what is gone, be it a look, a schedule or a person.
        cluster.world.cli("backup-now").must(78, "spec.deletionPolicy: Delete")
        cluster.world.cli("restore", "--at", "now").must(78, "being deleted")
        assert cluster.world.status()["running"] == ""
        assert [keys(cluster, place) for place in cluster.world.places] == [[]] * 4
        assert others(cluster) == before


def test_another_clusters_backups_stay(make_cluster: MakeCluster) -> None:
    cluster = make_cluster("folder", "minio", **QUIET)
    back_up(cluster)
    theirs = cluster.world.place("minio")
    theirs.write(f"{cluster.namespace}/shop/_owner.json", b'{"clusterId": "another"}')
    before = stock(theirs)
    cluster.delete()

    with cluster.world.runner(wait=False):
        said = wait_for_reason(cluster, "DataRetained")

    assert "folder: deleted 2 backups" in said
    assert "minio: ForeignOwner: cluster another writes backups" in said
    assert keys(cluster, cluster.world.place("folder")) == []
    assert stock(theirs) == before


def test_a_location_that_is_down_is_tried_again(
    make_cluster: MakeCluster, minio_server: MinioServer, minio_behind: TcpProxy
) -> None:
    bucket = minio_bucket(minio_server, endpoint=minio_behind.endpoint)
    cluster = make_cluster("folder", bucket, **QUIET)
    back_up(cluster)
    cluster.delete()
    minio_behind.is_refusing = True

    with cluster.world.runner(wait=False):
        said = wait_for_reason(cluster, "StorageUnavailable")
        assert "folder: deleted 2 backups" in said
        assert "tried again in 10 s" in said
        assert keys(cluster, cluster.world.place("folder")) == []
        assert keys(cluster, bucket)

        minio_behind.is_refusing = False
        said = wait_for_reason(cluster, "Deleted")

    assert said == "folder: holds nothing; minio: deleted 2 backups"
    assert keys(cluster, bucket) == []


@frozen(kw_only=True)
class Halting:
    """An object that is being deleted, and a store where that comes to a halt half-way."""

    cluster: ClusterWorld
    bucket: Place
    halt: Fault

    def wait(self) -> None:
        """Wait until a runner has deleted the manifests and gets no further."""
        eventually(lambda: self.halt.hits > 0, say=lambda: "nothing is deleted")


@pytest.fixture
def halting(make_cluster: MakeCluster, moto_server: MotoServer, s3_behind: HttpProxy) -> Halting:
    bucket = moto_bucket(moto_server, endpoint=s3_behind.endpoint)
    cluster = make_cluster(bucket, **QUIET)
    back_up(cluster)
    cluster.delete()
    s3_behind.add(Fault(method="POST", path_part="delete", times=1))
    halt = Fault(method="POST", path_part="delete", times=ALWAYS, delay_s=5, status=503)
    s3_behind.add(halt)
    return Halting(cluster=cluster, bucket=bucket, halt=halt)


def kill_job(cluster: ClusterWorld, runner_pid: int) -> None:
    os.kill(cluster.world.find_process("runner.jobs.child"), signal.SIGKILL)


def kill_runner(cluster: ClusterWorld, runner_pid: int) -> None:
    os.kill(runner_pid, signal.SIGKILL)


@pytest.mark.parametrize("kill", [kill_job, kill_runner])
def test_a_deletion_that_was_killed_is_gone_on_with(
    halting: Halting,
    s3_behind: HttpProxy,
    kill: Callable[[ClusterWorld, int], None],
) -> None:
    cluster, bucket = halting.cluster, halting.bucket

    with cluster.world.runner(wait=False) as runner:
        halting.wait()
        kill(cluster, runner.process.pid)
        eventually(
            lambda: not cluster.world.processes("runner.jobs.child"), say=lambda: "the job lives"
        )
        assert keys(cluster, bucket, "_manifests/") == []
        assert keys(cluster, bucket, "_data/")
        assert keys(cluster, bucket, "_owner.json")
        s3_behind.faults.clear()
        if kill is kill_job:
            wait_for_reason(cluster, "Deleted")
    with cluster.world.runner(wait=False) as runner:
        # The reason may still be the one that the runner before gave.
        runner.wait_started()
        wait_for_reason(cluster, "Deleted")

    assert keys(cluster, bucket) == []


def test_a_deletion_that_is_taken_back_stops(halting: Halting, s3_behind: HttpProxy) -> None:
    cluster, bucket = halting.cluster, halting.bucket
    with cluster.world.runner(wait=False):
        halting.wait()

        cluster.retain()

        eventually(
            lambda: not cluster.world.processes("runner.jobs.child"),
            say=lambda: "the job lives",
            timeout_s=90,
        )
        s3_behind.faults.clear()
        before = stock(bucket)
        cluster.world.cli("backup-now").must(78)
    assert before
    assert stock(bucket) == before


def test_a_running_backup_is_ended_first(
    make_cluster: MakeCluster, slow_database: TcpProxy
) -> None:
    address = {"host": "127.0.0.1", "port": slow_database.port}
    cluster = make_cluster("folder", "minio", large=True, database=address, **QUIET)
    back_up(cluster, 1)
    with cluster.world.runner(LEASE_DURATION=SHORT_LEASE):
        slow_database.bytes_per_s = 2e5
        with cluster.world.started("backup-now") as client:
            cluster.world.find_process("pg_dump")

            cluster.delete()

            said, _ = client.communicate(timeout=90)
            assert client.returncode == 130, said
            assert "the object is being deleted" in said
        wait_for_reason(cluster, "Deleted")

    assert [keys(cluster, place) for place in cluster.world.places] == [[], []]
    cluster.world.assert_nothing_left()


def test_a_node_that_is_drained_hands_the_deletion_over_at_once(
    halting: Halting, s3_behind: HttpProxy
) -> None:
    cluster, bucket = halting.cluster, halting.bucket
    with cluster.world.runner(wait=False, **cluster.pod("pod-1")) as one:
        halting.wait()
        one.process.send_signal(signal.SIGTERM)
        s3_behind.faults.clear()
        one.process.wait(60)
    with cluster.world.runner(wait=False, **cluster.pod("pod-2")):
        wait_for_reason(cluster, "Deleted")

    assert keys(cluster, bucket) == []
    assert cluster.lease()["spec"]["leaseTransitions"] == 2
