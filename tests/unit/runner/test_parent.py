"""The runner's parent, step by step: stand-ins as child processes, a clock that stands still."""

from __future__ import annotations

import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from controller.api.errors import BackupError, Cancelled
from controller.api.status import DatabaseBackupStatus
from controller.process.clock import Clock, SystemClock
from runner import config as runner_config
from runner.control import ControlClient, RunnerNotRunning
from runner.jobs.request import JobRequest
from runner.outcome import JobKind
from runner.parent import Parent, Settings
from runner.ports import Fence, FileFence, LastStatus, OnLost, Overtaken
from tests.builders import a_backup_manifest, a_config_folder
from tests.fakes.clock import START, FakeClock
from tests.unit.jobs.stand_in import command

#: What a look finds when nothing is stored yet.
_NOTHING: dict[str, Any] = {"at": "2026-11-23T10:00:00Z", "states": []}
_HEALTHY = {"name": "one", "healthy": True, "checkedAt": "2026-11-23T10:00:00Z"}


def _stored(hours_ago: int) -> dict[str, Any]:
    """What a look finds when there is one backup."""
    newest = (START - timedelta(hours=hours_ago)).isoformat().replace("+00:00", "Z")
    state = _HEALTHY | {"storedBackups": 1, "lastBackupAt": newest, "newestRestorableAt": newest}
    complete = {"id": "x", "startedAt": newest, "locations": ["one"]}
    return _NOTHING | {
        "states": [state],
        "storedBackups": 1,
        "newestAt": newest,
        "complete": complete,
    }


def _job(inspection: dict[str, Any] | None = None, *, other: str = "end()") -> str:
    """A stand-in that looks (and finds `inspection`), or else does `other`."""
    event = json.dumps({"event": "inspection", "inspection": inspection})
    told = f"    say(json.loads({event!r}))\n" if inspection else ""
    return f"if request['kind'] == 'inspect':\n{told}    end()\n{other}\n"


class RecordingFence:
    def __init__(self) -> None:
        self.calls: list[float | None] = []
        self.lost: Overtaken | None = None

    def acquire(self, stop: threading.Event, on_lost: OnLost) -> bool:
        self.on_lost = on_lost
        return True

    def confirm(self) -> bool:
        if self.lost:
            raise self.lost
        return True

    def busy_until(self, deadline_s: float | None) -> None:
        self.calls.append(deadline_s)

    def release(self) -> None:
        self.calls.append(-1)


class Runner:
    """A parent, and what it told."""

    def __init__(self, folder: Path, body: str, *, clock: Clock | None = None, **spec: Any) -> None:
        self.folder = a_config_folder(folder / "config", backup=a_backup_manifest(**spec))
        self.clock = FakeClock()
        self.fence = RecordingFence()
        self.status = LastStatus()
        self.parent = Parent(
            Settings(
                config=self.folder,
                listen="127.0.0.1:0",
                control_socket=folder / "run" / "control.sock",
                grace_s=600,
            ),
            runner_config.load(self.folder),
            clock or self.clock,
            self.fence,
            self.status,
        )
        self.started: list[JobRequest] = []
        slot = self.parent._slot
        slot._command = command(body)
        on_start = slot._on_start

        def start(request: JobRequest, at: Any) -> None:
            self.started.append(request)
            on_start(request, at)

        slot._on_start = start

    def step(self) -> float:
        """One step, and what it started to its end."""
        pause_s = self.parent.step()
        self.settle()
        return pause_s

    def settle(self) -> None:
        """Wait until no job runs, those that follow a lost one included."""
        while True:
            if not self.parent._slot.join(20):
                self.parent._slot.cancel()
                raise AssertionError("the job does not end")
            if self.parent._slot.running is None:
                return

    @property
    def kinds(self) -> list[JobKind]:
        return [request.kind for request in self.started]

    def configure(self, **spec: Any) -> None:
        (self.folder / "backup.yaml").write_text(yaml.safe_dump(a_backup_manifest(**spec)))

    def metric(self, name: str, label: str = "") -> float:
        lines = self.parent.metrics.render().decode().splitlines()
        (line,) = [line for line in lines if line.startswith(name) and label in line]
        return float(line.rpartition(" ")[2])


# -- the first look -----------------------------------------------------------------------


def test_the_first_thing_is_a_look_at_the_locations(tmp_path: Path) -> None:
    runner = Runner(tmp_path, _job(_stored(1)))
    assert runner.parent._ready()[0] is False

    runner.step()

    assert runner.started == [JobRequest(kind=JobKind.INSPECT, scheduled=True, abort_orphans=True)]
    assert runner.parent._ready() == (True, {"problem": ""})
    status = runner.status.status
    assert status.stored_backups == 1
    assert status.last_backup is not None
    assert status.last_backup.id == "x"


def test_a_database_that_was_never_backed_up_is_at_once(tmp_path: Path) -> None:
    runner = Runner(tmp_path, _job(_NOTHING))
    runner.step()

    runner.step()

    assert runner.kinds == [JobKind.INSPECT, JobKind.BACKUP]
    assert runner.started[1].scheduled


def test_a_fresh_backup_is_not_repeated_after_a_restart(tmp_path: Path) -> None:
    runner = Runner(tmp_path, _job(_stored(1)))
    runner.step()

    pause_s = runner.step()

    assert runner.kinds == [JobKind.INSPECT]
    assert pause_s == 20
    assert runner.parent.status()["nextBackupAt"] == START + timedelta(hours=2)


def test_a_tick_that_was_missed_while_the_runner_was_down_runs_once(tmp_path: Path) -> None:
    runner = Runner(tmp_path, _job(_stored(9)))
    runner.step()

    for _ in range(3):
        runner.step()

    assert runner.kinds == [JobKind.INSPECT, JobKind.BACKUP]


@pytest.mark.parametrize(
    "death", ["os.kill(os.getpid(), signal.SIGKILL)", "end(75, reason='LocationsFailed')"]
)
def test_a_first_look_that_fails_does_not_keep_the_runner_from_starting(
    tmp_path: Path, death: str
) -> None:
    runner = Runner(tmp_path, f"if request['kind'] == 'inspect': {death}\nend()")
    runner.step()

    runner.step()

    assert runner.parent._ready()[0] is True
    assert runner.kinds == [JobKind.INSPECT, JobKind.BACKUP]


def test_a_look_is_repeated_every_hour(tmp_path: Path) -> None:
    runner = Runner(tmp_path, _job(_stored(1)))
    runner.step()
    runner.clock.advance(3599)
    runner.step()
    assert runner.kinds == [JobKind.INSPECT]

    runner.clock.advance(2)
    runner.step()

    assert runner.started[1] == JobRequest(kind=JobKind.INSPECT, scheduled=True, abort_orphans=True)


# -- jobs ---------------------------------------------------------------------------------


def test_a_step_starts_nothing_while_a_job_runs(tmp_path: Path) -> None:
    runner = Runner(tmp_path, _job(_NOTHING, other="progress(1); wait()"))
    runner.step()
    assert runner.parent.step() == 20
    _until(lambda: runner.parent._slot.progress)

    runner.clock.advance(30 * 3600)
    assert runner.parent.step() == 20

    assert runner.kinds == [JobKind.INSPECT, JobKind.BACKUP]
    assert "a scheduled backup runs since 1 d 6 h" in str(runner.parent.status()["running"])
    runner.settle()  # its deadline has passed: it is ended
    attempt = runner.status.status.last_attempt
    assert attempt is not None
    assert attempt.reason == "JobTimedOut"


def test_a_runner_that_was_overtaken_starts_no_job_that_is_due(tmp_path: Path) -> None:
    runner = Runner(tmp_path, _job(_stored(30)), backupCron="0 3 * * *")
    runner.step()
    assert runner.parent._due() == JobRequest(kind=JobKind.BACKUP, scheduled=True)
    runner.fence.lost = Overtaken("another-pod holds the Lease")

    runner.step()

    assert runner.kinds == [JobKind.INSPECT]


def test_what_a_job_did_is_in_status_and_metrics(tmp_path: Path) -> None:
    failure = "end(78, reason='AccessDenied', message='GRANT it')"
    runner = Runner(tmp_path, _job(_NOTHING, other=failure))
    runner.step()
    runner.step()

    attempt = runner.status.status.last_attempt
    assert attempt is not None
    assert (attempt.succeeded, attempt.reason, attempt.message) == (
        False,
        "AccessDenied",
        "GRANT it",
    )
    assert runner.metric("db_backup_controller_last_job_success{") == 0
    assert runner.metric("db_backup_controller_job_running{", 'job_type="backup"') == 0
    assert runner.metric("db_backup_controller_consecutive_failures{", 'job_type="backup"') == 1


def test_the_fence_knows_how_long_a_job_may_take(tmp_path: Path) -> None:
    runner = Runner(tmp_path, _job(_NOTHING), timeout="2h")
    runner.step()
    runner.step()

    assert runner.fence.calls == [600, None, 7200, None]


def test_after_a_killed_job_the_locations_are_cleaned_and_told(tmp_path: Path) -> None:
    runner = Runner(tmp_path, _job(_NOTHING, other="os.kill(os.getpid(), signal.SIGKILL)"))
    runner.step()
    runner.step()

    look = runner.started[-1]
    assert runner.kinds == [JobKind.INSPECT, JobKind.BACKUP, JobKind.INSPECT]
    assert not look.abort_orphans
    assert look.lost is not None
    assert (look.lost.kind, look.lost.reason) == (JobKind.BACKUP, "JobLost")


def test_a_backup_that_a_person_asked_for_pays_for_the_ticks_before_it(tmp_path: Path) -> None:
    runner = Runner(tmp_path, _job(_stored(1)))
    runner.step()
    runner.clock.advance(2 * 3600 - 1)
    runner.step()
    runner.clock.advance(10)  # the tick is due now

    runner.parent._slot.start(JobRequest(kind=JobKind.BACKUP))
    runner.settle()
    runner.step()

    backups = [request for request in runner.started if request.kind is JobKind.BACKUP]
    assert [request.scheduled for request in backups] == [False]


def test_suspended_nothing_is_scheduled_and_the_looks_go_on(tmp_path: Path) -> None:
    runner = Runner(tmp_path, _job(_NOTHING), suspend=True)

    for _ in range(3):
        runner.step()
        runner.clock.advance(3601)

    assert set(runner.kinds) == {JobKind.INSPECT}
    assert runner.parent.status()["nextBackupAt"] is None
    assert runner.metric("db_backup_controller_suspended") == 1


# -- configuration ------------------------------------------------------------------------


def test_a_changed_configuration_is_taken_between_jobs(tmp_path: Path) -> None:
    runner = Runner(tmp_path, _job(_NOTHING), suspend=True)
    runner.step()

    runner.configure(suspend=False, timeout="3h")
    runner.step()

    assert runner.kinds == [JobKind.INSPECT, JobKind.BACKUP]
    assert 3 * 3600 in runner.fence.calls


def test_a_wrong_configuration_is_told_until_it_is_mended(tmp_path: Path) -> None:
    runner = Runner(tmp_path, _job(_stored(1)))
    runner.step()

    runner.configure(backupInterval=-7)
    runner.step()

    problem = str(runner.parent.status()["problem"])
    assert "spec.backupInterval" in problem
    assert runner.parent._ready() == (False, {"problem": problem})

    runner.configure()
    runner.step()
    assert runner.parent._ready() == (True, {"problem": ""})


# -- probes -------------------------------------------------------------------------------


def test_a_scheduler_that_stands_still_is_not_healthy(tmp_path: Path) -> None:
    runner = Runner(tmp_path, _job(_stored(1)))
    runner.step()
    assert runner.parent._health()[0] is True

    runner.clock.advance(201)
    assert runner.parent._health()[0] is False

    runner.step()
    assert runner.parent._health()[0] is True


def test_who_waits_for_its_turn_is_healthy_and_not_ready(tmp_path: Path) -> None:
    runner = Runner(tmp_path, _job(_stored(1)))
    runner.clock.advance(10**6)

    assert runner.parent._health()[0] is True
    assert runner.parent._ready()[0] is False


def test_a_defect_in_a_step_does_not_end_the_runner_and_is_seen_if_it_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = Runner(tmp_path, _job(_stored(1)))
    runner.step()

    def fail(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    runner.clock.advance(30 * 3600)
    with monkeypatch.context() as patch:
        patch.setattr(runner.parent._slot, "start", fail)
        assert runner.parent._try_step() == 20
        assert runner.parent._health()[0] is False

    runner.step()
    assert runner.parent._health()[0] is True


# -- a whole run --------------------------------------------------------------------------


class Running:
    """A runner in a thread, with real clocks, sockets and fence."""

    def __init__(self, folder: Path, body: str, *, fence: Fence | None = None) -> None:
        self.runner = Runner(folder, body, clock=SystemClock())
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
    running = Running(tmp_path, _job(_NOTHING))
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
    running = Running(tmp_path, _job(_NOTHING, other=slow))
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
    running = Running(tmp_path, _job(_NOTHING, other=obeys))
    _until(lambda: running.runner.parent._slot.progress and len(running.runner.started) == 2)

    running.end(at_once=True)

    attempt = running.runner.status.status.last_attempt
    assert attempt is not None
    assert (attempt.reason, attempt.message) == (
        Cancelled.reason,
        "the runner is shutting down",
    )


def test_a_runner_that_lost_its_fence_ends_its_job_without_grace_and_then_itself(
    tmp_path: Path,
) -> None:
    obeys = """
signal.signal(signal.SIGTERM, lambda *_: end(130, reason="Cancelled", message="taken back"))
progress(1)
wait()
"""
    fence = RecordingFence()
    running = Running(tmp_path, _job(_NOTHING, other=obeys), fence=fence)
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
    first = Running(tmp_path, _job(_stored(1)))
    _until(lambda: _answers(first.client))
    waiting = Runner(tmp_path / "second", _job(_stored(1)), clock=SystemClock())
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
