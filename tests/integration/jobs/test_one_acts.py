"""Of a runner's pods one acts: real processes, a real Lease, and what a pause does to them."""

from __future__ import annotations

import signal
import socket
import time
from pathlib import Path

from tests.integration.jobs.commands import eventually
from tests.integration.jobs.conftest import MakeCluster
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
            # By its text: a controller of another release looks for that one.
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


def test_a_runner_that_was_overtaken_while_it_stood_still_says_and_starts_nothing(
    make_cluster: MakeCluster,
) -> None:
    cluster = make_cluster()
    first, second = (cluster.pod(f"pod-{n}", lease=_SHORT_LEASE) for n in (1, 2))
    with (
        cluster.world.runner(**first) as one,
        cluster.world.runner(wait=False, **second) as two,
        socket.socket(socket.AF_UNIX) as asking,
    ):
        cluster.wait_for("BackupHealthy", "True")
        cluster.world.cli("backup-now", **first).must(0)  # not all of it is in the status yet
        one.process.send_signal(signal.SIGSTOP)
        two.wait_ready()
        newer = cluster.world.cli("backup-now", "--json", **second).must(0).outcome()["backupId"]
        eventually(
            lambda: cluster.status()["lastBackup"]["id"] == newer,
            say=lambda: str(cluster.status()),
        )
        before = cluster.status(), cluster.world.backups(), cluster.events()
        asking.settimeout(60)
        asking.connect(str(Path(first["CONTROL_DIR"]) / "control.sock"))
        asking.sendall(b'{"verb": "start", "request": {"kind": "backup"}, "wait": true}\n')

        one.process.send_signal(signal.SIGCONT)

        assert one.process.wait(60) == 69
        assert b"accepted" not in asking.makefile("rb").read()
        assert "pod-2 holds the Lease" in one.log
        assert (cluster.status(), cluster.world.backups(), cluster.events()) == before
        assert cluster.holder() == "pod-2"


def test_a_runner_that_can_ask_nobody_goes_on_with_its_backups(make_cluster: MakeCluster) -> None:
    cluster = make_cluster()
    with cluster.world.runner(**cluster.pod("pod-1", lease="3s")) as runner:
        cluster.wait_for("BackupHealthy", "True")
        cluster.server.suspend()
        silent_since_mono = time.monotonic()
        try:
            eventually(
                lambda: (
                    "Lease not renewed" in runner.log and time.monotonic() - silent_since_mono > 4
                ),
                say=lambda: runner.log,
            )
            newer = cluster.world.back_up()
        finally:
            cluster.server.resume()

        eventually(
            lambda: cluster.status()["lastBackup"]["id"] == newer,
            say=lambda: str(cluster.status()),
            timeout_s=90,
        )
        assert cluster.holder() == "pod-1"
