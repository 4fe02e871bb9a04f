"""Jobs that pause, fail, outlive their runner or are ended; servers and logins that fail."""

from __future__ import annotations

import os
import shutil
import signal
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.cockroach.conftest import MakeWorld
from tests.integration.cockroach.world import CockroachWorld
from tests.integration.jobs.commands import eventually
from tests.servers.cockroach import server
from tests.servers.cockroach.jobs import Fate
from tests.servers.cockroach.server import CockroachServer
from tests.servers.tls import Authority


@pytest.fixture
def world(one: CockroachWorld) -> CockroachWorld:
    one.put("a", "1")
    return one


def jobs(world: CockroachWorld, kind: str = "BACKUP") -> list[str]:
    return [job.status for job in world.stand_in.jobs.all() if job.kind == kind]


def kill_at_work(world: CockroachWorld, *command: str, kind: str = "BACKUP") -> None:
    """Begin a job, and kill all of it while the cluster is at work."""
    world.stand_in.jobs.go.clear()
    with world.started(*command) as process:
        world.stand_in.jobs.wait_for(kind)
        child = world.find_process("runner.jobs.child")
        # Its parent's end is its signal to take back what it began: it must not come to that.
        os.kill(child, signal.SIGSTOP)
        os.kill(process.pid, signal.SIGKILL)
        os.kill(child, signal.SIGKILL)
        process.wait()
    eventually(lambda: not world.processes(), say=lambda: "processes are left")
    world.stand_in.log.clear()
    # Nobody was left to remove them, as the end of a pod does.
    for folder in (world.folder / "tmp").glob("job-*"):
        shutil.rmtree(folder)


# -- jobs that do not succeed -------------------------------------------------------------


@pytest.mark.parametrize("status", ["paused", "failed"])
def test_a_full_backup_that_does_not_succeed_tells_the_job_s_reason(
    world: CockroachWorld, status: str
) -> None:
    reason = "error executing backup: disk quota exceeded in the bucket"
    world.stand_in.jobs.fates["BACKUP"] = [Fate(status, reason)]

    world.cli("backup-now").must(75, status, reason, "ClusterFailed")

    world.assert_nothing_left()
    world.assert_no_half_backup()
    world.back_up()
    assert len(jobs(world)) == 2


def test_a_paused_incremental_backup_is_a_failure_and_the_chain_goes_on_later(
    world: CockroachWorld,
) -> None:
    full = world.back_up()
    reason = "the bucket's owner has to look"
    world.stand_in.jobs.fates["BACKUP"] = [Fate("paused", reason)]

    world.cli("backup-now").must(75, reason)
    layer = world.back_up()

    assert jobs(world) == ["succeeded", "canceled", "succeeded"]
    assert world.layer(layer)["chain"] == full


def test_a_restore_that_pauses_is_cancelled_and_leaves_nothing(world: CockroachWorld) -> None:
    world.back_up()
    world.stand_in.jobs.fates["RESTORE"] = [Fate("paused", "no space left")]

    world.cli("restore", "--at", "now", "--replace", "--yes").must(75, "no space left")

    assert world.server.rows(world.database) == {"a": "1"}
    world.assert_nothing_left()


# -- runners that die -----------------------------------------------------------------------


def test_a_full_backup_whose_runner_was_killed_is_waited_for(world: CockroachWorld) -> None:
    kill_at_work(world, "backup-now")
    (begun,) = world.stand_in.jobs.all()
    assert world.backups() == []

    with world.started("backup-now") as process:
        # It has to find the job while that still runs.
        world.find_process("runner.jobs.child")
        eventually(lambda: _is_watched(world, begun.id), say=lambda: "nobody looks at the job")
        world.stand_in.jobs.go.set()
        said, _ = process.communicate(timeout=120)

    assert process.returncode == 0, said
    assert "going on with the backup" in said
    assert "holds the state of" in said
    assert jobs(world) == ["succeeded", "succeeded"]
    (found,) = world.chains()
    assert {world.layer(one)["number"]: world.layer(one)["chain"] for one in world.backups()} == {
        0: found,
        1: found,
    }
    world.cli("verify", "--all").must(0)


def _is_watched(world: CockroachWorld, number: int) -> bool:
    return f"SHOW JOB {number}" in world.stand_in.log


def test_what_a_job_finished_while_nobody_was_there_is_committed(world: CockroachWorld) -> None:
    kill_at_work(world, "backup-now")
    world.stand_in.jobs.go.set()
    (job,) = world.stand_in.jobs.all()
    assert job.ended.wait(60)
    world.put("a", "now")

    done = world.cli("backup-now", "--json").must(0).outcome()

    assert jobs(world) == ["succeeded", "succeeded"]
    (found,) = world.chains()
    (now,) = set(world.backups()) - {found}
    assert done["backupId"] == now
    listed = world.cli("list", "--json").must(0).json()
    rows = sorted(listed, key=lambda row: str(row["stateOf"]))
    assert [(row["id"], row["chain"]) for row in rows] == [(found, found), (now, found)]
    # What was found is of then, and is not said to be of today.
    assert rows[0]["startedAt"] <= rows[0]["stateOf"] < rows[1]["startedAt"] <= rows[1]["stateOf"]
    world.cli("restore", "--name", now, "--database", "copy").must(0)
    assert world.server.rows("copy") == {"a": "now"}


@pytest.mark.parametrize("finishes_alone", [True, False])
def test_an_incremental_backup_whose_runner_was_killed_is_not_begun_twice(
    world: CockroachWorld, finishes_alone: bool
) -> None:
    full = world.back_up()
    world.put("a", "2")
    between = world.server.now()
    world.put("a", "3")
    kill_at_work(world, "backup-now")
    world.stand_in.jobs.go.set()
    if finishes_alone:
        assert world.stand_in.jobs.all()[-1].ended.wait(60)

    world.put("a", "now")

    layer = world.back_up()

    assert jobs(world) == ["succeeded"] * 3
    assert sorted(world.layer(one)["number"] for one in world.backups()) == [0, 1, 2]
    assert world.layer(layer) | {"chain": full, "number": 2} == world.layer(layer)
    world.cli("restore", "--name", layer, "--database", "now").must(0)
    assert world.server.rows("now") == {"a": "now"}
    world.cli("restore", "--at", between.isoformat(), "--database", "copy").must(0)
    assert world.server.rows("copy") == {"a": "2"}


def test_what_a_killed_restore_left_is_cleared_by_the_next(world: CockroachWorld) -> None:
    world.back_up()
    kill_at_work(world, "restore", "--at", "now", "--replace", "--yes", kind="RESTORE")
    world.stand_in.jobs.go.set()
    assert world.stand_in.jobs.all()[-1].ended.wait(60)
    assert any(name.startswith("dbb_restore_") for name in world.server.databases())

    world.cli("restore", "--at", "now", "--replace", "--yes").must(0)

    assert world.server.rows(world.database) == {"a": "1"}
    world.assert_nothing_left()


def test_a_killed_restore_into_a_free_name_is_ended_by_the_next(world: CockroachWorld) -> None:
    world.back_up()
    kill_at_work(world, "restore", "--at", "now", "--database", "copy", kind="RESTORE")
    (killed,) = [job for job in world.stand_in.jobs.all() if job.kind == "RESTORE"]

    with world.started("restore", "--at", "now", "--database", "copy") as process:
        assert killed.ended.wait(60)
        world.stand_in.jobs.go.set()
        said, _ = process.communicate(timeout=120)

    assert process.returncode == 0, said
    assert jobs(world, "RESTORE") == ["canceled", "succeeded"]
    assert world.server.rows("copy") == {"a": "1"}


def test_what_a_killed_restore_finished_is_whole_and_in_the_way(world: CockroachWorld) -> None:
    world.back_up()
    kill_at_work(world, "restore", "--at", "now", "--database", "copy", kind="RESTORE")
    assert "copy" not in world.server.databases()
    world.stand_in.jobs.go.set()
    assert world.stand_in.jobs.all()[-1].ended.wait(60)

    world.cli("restore", "--at", "now", "--database", "copy").must(78, "exists")

    assert world.server.rows("copy") == {"a": "1"}


# -- jobs that are ended ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "command", [("backup-now",), ("restore", "--at", "now", "--database", "x")]
)
def test_a_cancelled_job_ends_the_cluster_s_too(
    world: CockroachWorld, command: tuple[str, ...]
) -> None:
    kind = "BACKUP" if command == ("backup-now",) else "RESTORE"
    if kind == "RESTORE":
        world.back_up()
    before = world.backups()
    world.stand_in.jobs.go.clear()
    with world.started(*command) as process:
        job = world.stand_in.jobs.wait_for(kind)
        os.kill(world.find_process("runner.jobs.child"), signal.SIGTERM)
        process.wait(120)

    assert process.returncode == 130
    assert job.status == "canceled"
    world.stand_in.jobs.go.set()
    assert world.backups() == before
    assert "x" not in world.server.databases()
    world.assert_nothing_left()
    world.assert_no_half_backup()


# -- nodes that end ---------------------------------------------------------------------------


def end_node(world: CockroachWorld, how: str) -> None:
    if how == "drained":
        world.stand_in.drain()
    else:
        world.stand_in.listener.drop_connections()


@pytest.mark.parametrize("how", ["drained", "killed"])
def test_a_backup_outlives_the_node_that_it_asked(world: CockroachWorld, how: str) -> None:
    full = world.back_up()
    world.stand_in.jobs.go.clear()
    with world.started("backup-now") as process:
        job = world.stand_in.jobs.wait_for("BACKUP")
        eventually(lambda: _is_watched(world, job.id), say=lambda: "nobody looks at the job")
        end_node(world, how)
        world.stand_in.log.clear()
        eventually(lambda: _is_watched(world, job.id), say=lambda: "nobody looks again")
        world.stand_in.jobs.go.set()
        said, _ = process.communicate(timeout=120)

    assert process.returncode == 0, said
    assert f"lost sight of the cluster's job {job.id}" in said
    assert jobs(world) == ["succeeded", "succeeded"]
    assert world.layer(world.backups()[-1])["chain"] == full


@pytest.mark.parametrize("how", ["drained", "killed"])
def test_a_restore_outlives_the_node_that_it_asked(world: CockroachWorld, how: str) -> None:
    """What comes after the job, too: the swap of the databases."""
    world.back_up()
    world.put("a", "2")
    world.stand_in.jobs.go.clear()
    with world.started("restore", "--at", "now", "--replace", "--yes") as process:
        job = world.stand_in.jobs.wait_for("RESTORE")
        eventually(lambda: _is_watched(world, job.id), say=lambda: "nobody looks at the job")
        end_node(world, how)
        world.stand_in.jobs.go.set()
        said, _ = process.communicate(timeout=120)

    assert process.returncode == 0, said
    assert world.server.rows(world.database) == {"a": "1"}
    world.assert_nothing_left()


# -- logins ---------------------------------------------------------------------------------


@pytest.fixture
def secured(authority: Authority, tmp_path: Path) -> Iterator[CockroachServer]:
    """A cluster with certificates, which wants a password or a client's certificate."""
    issued = authority.issue_server()
    issued.write(tmp_path, certificate="node.crt", key="node.key")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "node.crt", tmp_path / "node.key")
    context.load_verify_locations(cadata=authority.certificate_pem)
    context.verify_mode = ssl.CERT_OPTIONAL
    with server.standing_in(tls=context, passwords={"root": "hunter-two"}) as found:
        yield CockroachServer(
            host="localhost", port=found.port, password="hunter-two", stand_in=found.stand_in
        )


def test_a_password_is_taken_over_a_proven_connection(
    secured: CockroachServer, make_world: MakeWorld, authority: Authority
) -> None:
    world = make_world(secured, "s3")
    right = {"pass": {"value": "hunter-two"}, "certCA": {"value": authority.certificate_pem}}
    world.configure(database=right)
    world.back_up()

    world.configure(database={**right, "pass": {"value": "hunter-three"}})
    done = world.cli("backup-now").must(78, "spec.cockroach.pass")
    assert "hunter" not in done.said


def test_a_node_of_another_authority_is_refused(
    secured: CockroachServer, make_world: MakeWorld
) -> None:
    world = make_world(secured, "s3")
    another = {"value": Authority().certificate_pem}
    world.configure(database={"pass": {"value": "hunter-two"}, "certCA": another})

    world.cli("backup-now").must(78, "certCA", "spec.cockroach")
    assert world.backups() == []


def test_a_client_s_certificate_needs_no_password(
    secured: CockroachServer, make_world: MakeWorld, authority: Authority
) -> None:
    world = make_world(secured, "s3")
    issued = authority.issue_client("root")
    world.configure(
        database={
            "cert": {"value": issued.certificate_pem},
            "certKey": {"value": issued.key_pem},
            "certCA": {"value": authority.certificate_pem},
        }
    )

    full = world.back_up()

    assert world.backups() == [full]
