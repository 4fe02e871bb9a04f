"""Processes that die: the dump, the job, the runner, the client - and what must outlive them."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator

import pytest
from attrs import frozen

from tests.integration.jobs.commands import eventually
from tests.integration.jobs.conftest import MakeWorld
from tests.integration.jobs.memory import NoMemoryLimit, memory_limit
from tests.integration.jobs.world import DATA, PASSPHRASE, World, client_bin_dirs_with
from tests.servers.proxy import TcpProxy

SEALED = {"encryptionPass": {"value": PASSPHRASE}}
#: So slow that a backup of the large database takes some seconds.
_SLOW_BYTES_PER_S = 6e6
#: So slow that it takes a minute: whatever a test does to it, it comes in time.
_CRAWL_BYTES_PER_S = 2e5
JOB = "runner.jobs.child"


@frozen
class Slow:
    """A world with one backup, whose next one takes a while."""

    world: World
    proxy: TcpProxy
    older: str
    stock: dict[str, dict[str, str]]

    def assert_as_before(self) -> None:
        """Nothing of the backup that was ended is there, and all that was before it."""
        self.world.assert_nothing_left()
        assert self.world.backups() == [self.older]
        self.world.assert_no_half_backup()
        self.world.assert_nothing_lost(self.stock)

    def assert_next_backup_works(self) -> None:
        self.proxy.bytes_per_s = None
        newer = self.world.back_up()
        assert self.world.backups() == sorted([self.older, newer])
        self.world.assert_nothing_lost(self.stock)
        self.world.assert_all_restorable()

    @contextlib.contextmanager
    def backup_under_way(self, *argv: str) -> Iterator[subprocess.Popen[str]]:
        """`backup-now` at a moment when parts of it are stored; from then on it crawls."""
        with self.world.started("backup-now", *argv) as client:
            self.world.find_process("pg_dump")
            eventually(self._is_something_stored, say=lambda: "no upload was begun")
            self.proxy.bytes_per_s = _CRAWL_BYTES_PER_S
            yield client

    def _is_something_stored(self) -> bool:
        return any(
            place.uploads()
            or any(key.startswith(DATA) and self.older not in key for key in place.all_keys())
            for place in self.world.places
        )


@pytest.fixture
def slow(make_world: MakeWorld, slow_database: TcpProxy) -> Slow:
    world = make_world("folder", "s3", large=True)
    world.configure(
        locations={"s3": SEALED},
        database={"host": "127.0.0.1", "port": slow_database.port},
    )
    older = world.back_up()
    stock = world.stock()
    slow_database.bytes_per_s = _SLOW_BYTES_PER_S
    return Slow(world, slow_database, older, stock)


def _said(client: subprocess.Popen[str]) -> str:
    out, _ = client.communicate(timeout=90)
    assert "Traceback" not in out, out
    return out


@pytest.mark.parametrize("with_runner", [False, True], ids=["by itself", "in the runner"])
def test_dump_process_killed_at_a_random_byte(slow: Slow, with_runner: bool) -> None:
    with slow.world.runner() if with_runner else contextlib.nullcontext():
        with slow.world.started("backup-now") as client:
            pid = slow.world.find_process("pg_dump")
            slow.proxy.bytes_per_s = random.uniform(_CRAWL_BYTES_PER_S, _SLOW_BYTES_PER_S / 3)
            time.sleep(random.uniform(0, 1.5))
            os.kill(pid, signal.SIGKILL)
            said = _said(client)

        assert client.returncode in {70, 75}, said
        assert "pg_dump was killed by signal 9" in said
    slow.assert_as_before()
    slow.assert_next_backup_works()


@pytest.mark.parametrize("cut", ["-c 3000", "-c 100000", "-c -1"])
def test_a_dump_that_ends_early_with_exit_0_is_found_at_the_latest_by_verify(
    make_world: MakeWorld, cut: str
) -> None:
    world = make_world("folder", "s3")
    world.configure(locations={"s3": SEALED})
    older = world.back_up()
    stock = world.stock()
    tools = client_bin_dirs_with(
        world.folder / "tools",
        world.server,
        {
            "pg_dump": 'case "$1" in --version) exec "$REAL/pg_dump" "$@";; esac\n'
            f'"$REAL/pg_dump" "$@" | head {cut}; exit 0'
        },
    )

    done = world.cli("backup-now", POSTGRES_BIN_DIRS=tools)

    world.assert_nothing_lost(stock)
    if done.code != 0:
        assert world.backups() == [older]
        return
    (broken,) = set(world.backups()) - {older}
    for location in ("folder", "s3"):
        world.cli("verify", "--location", location).must(65, broken, location)
    world.cli("verify", "--all").must(65, broken)
    world.cli("verify", older).must(0)
    new = f"{world.database}_new"
    failed = world.cli("restore", "--at", "now", "--database", new)
    assert failed.code in {65, 70}, failed.said
    with world.server.connect() as connection:
        there = connection.execute("SELECT FROM pg_database WHERE datname = %s", (new,)).fetchone()
    assert there is None
    world.cli("restore", "--name", older, "--database", new).must(0)


@pytest.mark.parametrize("what", ["runner", "runner and job"])
def test_runner_killed_in_the_middle_of_an_upload_and_restarted(slow: Slow, what: str) -> None:
    with slow.world.runner() as runner, slow.backup_under_way() as client:
        job = slow.world.find_process(JOB)
        runner.kill()
        if what == "runner and job":
            with contextlib.suppress(ProcessLookupError):
                os.kill(job, signal.SIGKILL)
        said = _said(client)
        # The client cannot know what became of the job, and says so.
        assert client.returncode not in {0, 65, 69, 78}, said
        assert "runner" in said

    eventually(
        lambda: not slow.world.processes(),
        say=lambda: str(slow.world.processes()),
    )
    assert slow.world.backups() == [slow.older]
    slow.world.assert_nothing_lost(slow.stock)
    slow.proxy.bytes_per_s = None
    with slow.world.runner():
        eventually(
            lambda: not any(place.uploads() for place in slow.world.places),
            say=lambda: "uploads of the dead runner are still there",
        )
        slow.assert_next_backup_works()


def test_job_killed_by_the_kernel_is_reported_by_the_survivor(slow: Slow) -> None:
    with slow.world.runner() as runner:
        with slow.backup_under_way() as client:
            os.kill(slow.world.find_process(JOB), signal.SIGKILL)
            said = _said(client)
        assert client.returncode == 75, said
        assert "memory" in said
        assert "SIGKILL" in said
        eventually(
            lambda: not any(place.uploads() for place in slow.world.places),
            say=lambda: "uploads of the dead job are still there",
        )
        status = slow.world.status()["status"]
        assert status["lastAttempt"]["succeeded"] is False
        assert status["lastAttempt"]["reason"] == "JobLost"
        assert status["lastBackup"]["id"] == slow.older
        assert runner.metric("last_job_success", job_type="backup") == 0
        assert runner.metric("consecutive_failures", job_type="backup") == 1
        assert runner.metric("job_running", job_type="backup") == 0
        assert slow.world.backups() == [slow.older]
        slow.assert_next_backup_works()
        assert runner.metric("consecutive_failures", job_type="backup") == 0
    # What a runner learned is known to the next one.
    with slow.world.runner() as runner:
        assert runner.metric("last_job_success", job_type="backup") == 1


def test_a_job_that_runs_out_of_memory_dies_alone_and_says_so(slow: Slow) -> None:
    with contextlib.ExitStack() as stack:
        try:
            limit = stack.enter_context(memory_limit(2 * 1024**2))
        except NoMemoryLimit as reason:
            pytest.skip(str(reason))
        runner = stack.enter_context(slow.world.runner())
        with slow.backup_under_way() as client:
            limit.take_in(slow.world.find_process(JOB))
            slow.proxy.bytes_per_s = None  # the parts that it collects are larger than the limit
            said = _said(client)

        assert limit.oom_kill_count() == 1
        assert client.returncode == 75, said
        assert "raise the runner's memory limit" in said
        assert slow.world.status()["status"]["lastAttempt"]["reason"] == "JobLost"
        assert runner.process.poll() is None
        assert slow.world.backups() == [slow.older]
        slow.assert_next_backup_works()


def test_a_restarted_runner_still_reports_a_failure(slow: Slow) -> None:
    with slow.world.runner() as runner, slow.backup_under_way() as client:
        os.kill(slow.world.find_process(JOB), signal.SIGKILL)
        _said(client)
        eventually(
            lambda: b"JobLost" in slow.world.place("folder").read("db/shop/_state.json"),
            say=lambda: f"the failure was not kept: {runner.log}",
        )

    with slow.world.runner() as runner:
        assert runner.metric("last_job_success", job_type="backup") == 0
        assert runner.metric("consecutive_failures", job_type="backup") == 1
        assert slow.world.status()["status"]["lastAttempt"]["reason"] == "JobLost"


def test_job_killed_without_a_runner_leaves_nothing_to_the_next_one(slow: Slow) -> None:
    with slow.backup_under_way() as client:
        os.kill(slow.world.find_process(JOB), signal.SIGKILL)
        said = _said(client)
    assert client.returncode == 75, said
    assert "memory" in said

    slow.assert_next_backup_works()
    slow.world.assert_nothing_left()


def test_sigterm_with_a_short_grace_ends_the_backup_cleanly(slow: Slow) -> None:
    with slow.world.runner(SHUTDOWN_GRACE="1s") as runner, slow.backup_under_way() as client:
        runner.process.terminate()
        said = _said(client)
        assert client.returncode == 130, said
        assert "shutting down" in said
        assert runner.process.wait(40) == 0
    slow.assert_as_before()
    slow.assert_next_backup_works()


def test_sigterm_lets_a_backup_finish_within_its_grace(slow: Slow) -> None:
    with slow.world.runner(SHUTDOWN_GRACE="2m") as runner, slow.backup_under_way() as client:
        runner.process.terminate()
        eventually(
            lambda: slow.world.cli("backup-now", "--no-wait").code == 69,
            say=lambda: "a new job was taken while shutting down",
        )
        slow.proxy.bytes_per_s = None
        said = _said(client)
        assert client.returncode == 0, said
        assert runner.process.wait(20) == 0
    assert len(slow.world.backups()) == 2
    slow.world.assert_nothing_lost(slow.stock)
    slow.world.assert_all_restorable()


def test_sigterm_counts_before_the_configuration_is_read(make_world: MakeWorld) -> None:
    world = make_world("folder")
    file = world.config / "backup.yaml"
    content = file.read_bytes()
    file.unlink()
    os.mkfifo(file)
    with world.runner(wait=False) as runner:
        # It opens once the runner wants to read it, which waits here for what is written.
        with file.open("wb") as pipe:
            (world.config / "whole").write_bytes(content)
            (world.config / "whole").replace(file)
            runner.process.send_signal(signal.SIGTERM)
            pipe.write(content)
        assert runner.process.wait(60) == 0, runner.log
    assert "runner stopped" in runner.log


def test_second_sigterm_ends_the_backup_at_once(slow: Slow) -> None:
    with slow.world.runner(SHUTDOWN_GRACE="10m") as runner, slow.backup_under_way() as client:
        runner.process.terminate()
        time.sleep(1)
        assert runner.process.poll() is None
        runner.process.terminate()
        started = time.monotonic()
        assert runner.process.wait(40) == 0
        assert time.monotonic() - started < 20
        said = _said(client)
        assert client.returncode == 130, said
    slow.assert_as_before()


def test_cancel_takes_back_what_was_begun(slow: Slow) -> None:
    with slow.world.runner() as runner:
        slow.world.wait_idle()
        slow.world.cli("cancel").must(0, "no job runs")
        with slow.backup_under_way() as client:
            slow.world.cli("cancel").must(0, "being ended")
            said = _said(client)
        assert client.returncode == 130, said
        assert runner.metric("consecutive_failures", job_type="backup") in {None, 0}
        assert runner.metric("jobs_total", job_type="backup", result="cancelled") == 1
        eventually(
            lambda: not any(place.uploads() for place in slow.world.places),
            say=lambda: "uploads are still there",
        )
        assert slow.world.backups() == [slow.older]
        slow.world.assert_no_half_backup()
        slow.assert_next_backup_works()
    slow.world.cli("cancel").must(75, "no runner listens")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_lost_client_ends_no_job(slow: Slow, number: signal.Signals) -> None:
    with slow.world.runner() as runner:
        with slow.backup_under_way() as client:
            client.send_signal(number)
            said = _said(client)
            if number == signal.SIGINT:
                assert client.returncode == 130
                assert "goes on" in said
        assert runner.metric("job_running", job_type="backup") == 1
        slow.proxy.bytes_per_s = None
        eventually(
            lambda: runner.metric("jobs_total", job_type="backup", result="success") == 1,
            say=lambda: runner.log,
            timeout_s=40,
        )
    assert len(slow.world.backups()) == 2
    slow.world.assert_all_restorable()


def test_ctrl_c_on_a_job_of_one_s_own_takes_it_back(slow: Slow) -> None:
    with slow.backup_under_way() as client:
        client.send_signal(signal.SIGINT)
        said = _said(client)
    assert client.returncode == 130, said
    assert "ending the job" in said
    assert "failed after" in said
    assert "ended by Ctrl-C" in said
    assert "runner" not in said, "there is none"
    slow.assert_as_before()


def test_one_job_at_a_time_and_the_next_one_waits(slow: Slow) -> None:
    with slow.world.runner(), slow.backup_under_way() as client:
        slow.world.cli("backup-now", "--no-wait").must(69, "backup runs since", "cancel")
        with slow.world.started("backup-now") as second:
            slow.proxy.bytes_per_s = None
            assert "waiting" in _said(second)
            assert second.returncode == 0
        _said(client)
        assert client.returncode == 0
    assert len(slow.world.backups()) == 3
    slow.world.assert_all_restorable()


def test_detach_leaves_the_job_to_the_runner(slow: Slow) -> None:
    slow.world.cli("backup-now", "--detach").must(75, "no runner listens")
    slow.proxy.bytes_per_s = None
    with slow.world.runner() as runner:
        slow.world.cli("backup-now", "--detach").must(0)
        eventually(
            lambda: runner.metric("jobs_total", job_type="backup", result="success") == 1,
            say=lambda: runner.log,
            timeout_s=40,
        )
    assert len(slow.world.backups()) == 2


def test_a_second_runner_of_one_configuration_waits_until_the_first_is_gone(
    make_world: MakeWorld,
) -> None:
    world = make_world("folder")
    with world.runner() as first, world.runner(wait=False) as second:
        time.sleep(2)
        assert second.process.poll() is None
        assert "runner started" not in second.log
        world.back_up()
        assert first.metric("jobs_total", job_type="backup", result="success") == 1
        first.kill()
        second.wait_ready()
        world.back_up()
        assert second.metric("jobs_total", job_type="backup", result="success") == 1
    assert len(world.backups()) == 2


def test_two_runners_of_one_owner_harm_nothing(slow: Slow) -> None:
    """What a split cluster does: other machines, the same bucket and name."""
    other = {"CONTROL_DIR": str(slow.world.folder / "run-2")}
    with slow.world.runner(), slow.backup_under_way() as client:
        with slow.world.runner(**other) as second:
            # It starts while the other one uploads, and backs up meanwhile.
            slow.proxy.bytes_per_s = None
            slow.world.cli("backup-now", **other).must(0)
            said = _said(client)
            assert second.process.poll() is None
        # Whatever became of the first one's backup, it says the truth about it.
        assert client.returncode in {0, 75}, said

    assert len(slow.world.backups()) == 2 + (client.returncode == 0)
    slow.world.assert_nothing_lost(slow.stock)
    slow.world.assert_all_restorable()
