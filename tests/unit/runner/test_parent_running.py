"""The runner's parent as it runs: in a thread, with real clocks, sockets and fence."""

from __future__ import annotations

import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from controller.api.errors import BackupError, Cancelled
from controller.api.status import DatabaseBackupStatus
from controller.process.clock import SystemClock
from runner.control import ControlClient, RunnerNotRunning
from runner.jobs.request import JobRequest
from runner.outcome import JobKind
from runner.ports import Fence, FileFence, Overtaken
from tests.unit.runner.a_parent import NOTHING, RecordingFence, Runner, a_job, stored

# -- a whole run --------------------------------------------------------------------------


class Running:
    """A runner in a thread, with real clocks, sockets and fence."""

    def __init__(
        self, folder: Path, body: str, *, fence: Fence | None = None, is_deleted: bool = False
    ) -> None:
        self.runner = Runner(folder, body, clock=SystemClock())
        self.runner.order.is_ordered = is_deleted
        self.runner.parent._fence = fence or FileFence(folder / "run" / "fence")
        self.client = ControlClient(folder / "run" / "control.sock")
        self.stop, self.now = threading.Event(), threading.Event()
        self.error: BackupError | None = None
        self.thread = threading.Thread(target=self._run, name="parent")
        self.thread.start()

    def _run(self) -> None:
        try:
            self.runner.parent.run(self.stop, self.now)
        except BackupError as error:
            self.error = error

    def get(self, path: str) -> tuple[int, str]:
        host, port = self.runner.parent.http_address
        try:
            with urllib.request.urlopen(f"http://{host}:{port}{path}", timeout=20) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def end(self, *, at_once: bool = False) -> None:
        if at_once:
            self.now.set()
        self.stop.set()
        self.thread.join(30)
        assert not self.thread.is_alive()


def _until(true: Callable[[], object]) -> None:
    deadline_mono = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline_mono
        time.sleep(0.02)


def _answers(client: ControlClient) -> bool:
    try:
        return client.is_answered()
    except RunnerNotRunning:
        return False


def test_a_runner_serves_until_it_is_told_to_stop(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    running = Running(tmp_path, a_job(NOTHING))
    _until(lambda: _answers(running.client))
    # The first command comes as early as can be: it waits for the first look.
    events = list(running.client.start(JobRequest(kind=JobKind.VERIFY)))

    assert events[-1]["outcome"]["success"] is True
    assert running.client.status()["name"] == "shop"
    assert running.get("/healthz")[0] == 200
    assert running.get("/readyz")[0] == 200
    assert "db_backup_controller_runner_started_at" in running.get("/metrics")[1]

    running.end()
    assert not _answers(running.client)
    assert set(threading.enumerate()) <= before
    assert running.runner.kinds[0] is JobKind.INSPECT


def test_a_running_job_may_finish_within_the_grace(tmp_path: Path) -> None:
    slow = "progress(1); time.sleep(0.7); end(backupId='x')"
    running = Running(tmp_path, a_job(NOTHING, other=slow))
    _until(lambda: running.runner.parent._slot.progress and len(running.runner.started) == 2)

    running.end()

    attempt = running.runner.status.status.last_attempt
    assert attempt is not None
    assert attempt.succeeded is True


def test_a_second_signal_ends_the_job_cleanly(tmp_path: Path) -> None:
    obeys = """
signal.signal(signal.SIGTERM, lambda *_: end(130, reason="Cancelled", message="taken back"))
progress(1)
wait()
"""
    running = Running(tmp_path, a_job(NOTHING, other=obeys))
    _until(lambda: running.runner.parent._slot.progress and len(running.runner.started) == 2)

    running.end(at_once=True)

    attempt = running.runner.status.status.last_attempt
    assert attempt is not None
    assert (attempt.reason, attempt.message) == (
        Cancelled.reason,
        "the runner is shutting down",
    )


def test_a_deletion_has_no_grace(tmp_path: Path) -> None:
    obeys = """
signal.signal(signal.SIGTERM, lambda *_: end(130, reason="Cancelled"))
progress(1)
wait()
"""
    running = Running(tmp_path, a_job(NOTHING, other=obeys), is_deleted=True)
    _until(lambda: running.runner.parent._slot.progress)

    running.end()

    assert running.runner.kinds == [JobKind.DELETE]


def test_a_runner_that_lost_its_fence_ends_its_job_without_grace_and_then_itself(
    tmp_path: Path,
) -> None:
    obeys = """
signal.signal(signal.SIGTERM, lambda *_: end(130, reason="Cancelled", message="taken back"))
progress(1)
wait()
"""
    fence = RecordingFence()
    running = Running(tmp_path, a_job(NOTHING, other=obeys), fence=fence)
    _until(lambda: running.runner.parent._slot.progress and len(running.runner.started) == 2)

    fence.on_lost(Overtaken("another-pod holds the Lease"))

    running.thread.join(30)
    assert not running.thread.is_alive()
    assert str(running.error) == "another-pod holds the Lease"
    assert running.error is not None
    assert running.error.exit_code == 69
    attempt = running.runner.status.status.last_attempt
    assert attempt is not None
    assert attempt.message == "another-pod holds the Lease"
    assert not _answers(running.client)


def test_of_two_runners_the_second_waits_and_takes_over(tmp_path: Path) -> None:
    first = Running(tmp_path, a_job(stored(1)))
    _until(lambda: _answers(first.client))
    waiting = Runner(tmp_path / "second", a_job(stored(1)), clock=SystemClock())
    waiting.parent._fence = FileFence(tmp_path / "run" / "fence")
    stop = threading.Event()
    thread = threading.Thread(target=waiting.parent.run, args=(stop, threading.Event()))
    thread.start()
    time.sleep(0.3)
    assert waiting.started == []
    assert waiting.status.status == DatabaseBackupStatus()

    first.end()
    _until(lambda: waiting.started)

    stop.set()
    thread.join(30)
    assert not thread.is_alive()
