"""Of a runner's pods one acts: real processes, a real Lease."""

from __future__ import annotations

import signal
import time

from tests.integration.jobs.conftest import MakeCluster
from tests.integration.jobs.world import eventually
from tests.servers.proxy import TcpProxy

_CRAWL_BYTES_PER_S = 2e5
_SHORT_LEASE = "6s"


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
