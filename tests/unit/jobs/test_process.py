"""A job's process: whatever it does, its watcher returns an outcome and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from controller.api.errors import Cancelled, JobTimedOut
from runner.jobs.events import Event
from runner.jobs.process import TERMINATION_S, JobLimits, JobProcess, JobResult
from runner.jobs.request import JobRequest, RestoreOptions, look_after
from runner.outcome import JobKind, Result
from tests.fakes.clock import START, FakeClock
from tests.unit.jobs.stand_in import job


def _is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def _gone(pid: int, *, within_s: float = 5.0) -> bool:
    deadline_mono = time.monotonic() + within_s
    while _is_alive(pid):
        if time.monotonic() > deadline_mono:
            return False
        time.sleep(0.01)
    return True


class _Heard:
    """Events, and an event that is set once one of a kind came."""

    def __init__(self, then: Callable[[Event], None] = lambda _: None) -> None:
        self.events: list[Event] = []
        self._then = then
        self._changed = threading.Condition()

    def __call__(self, event: Event) -> None:
        with self._changed:
            self.events.append(event)
            self._changed.notify_all()
        self._then(event)

    def wait_for(self, kind: str) -> Event:
        with self._changed:
            assert self._changed.wait_for(lambda: self._found(kind), 20), self.events
            return self._found(kind)[0]

    def _found(self, kind: str) -> list[Event]:
        return [event for event in self.events if event["event"] == kind]


class _Running:
    """A job that runs in a thread, as the slot runs it."""

    def __init__(self, process: JobProcess) -> None:
        self._result: list[JobResult] = []
        self._thread = threading.Thread(target=lambda: self._result.append(process.run()))
        self._thread.start()

    def result(self) -> JobResult:
        self._thread.join(30)
        assert not self._thread.is_alive()
        return self._result[0]


# -- a job that says how it ended -----------------------------------------------------


def test_the_outcome_and_the_exit_code_are_the_jobs_own() -> None:
    result = job("end(backupId='x', plainBytes=7)").run()

    assert (result.exit_code, result.lost) == (0, False)
    assert result.outcome.kind is JobKind.BACKUP
    assert (result.outcome.success, result.outcome.backup_id) == (True, "x")
    assert result.outcome.plain_bytes == 7


def test_a_failure_keeps_its_reason_and_code() -> None:
    result = job("end(78, reason='AccessDenied', message='GRANT it')").run()

    assert (result.exit_code, result.lost) == (78, False)
    assert (result.outcome.reason, result.outcome.message) == ("AccessDenied", "GRANT it")


def test_events_arrive_in_order_and_the_outcome_is_none_of_them() -> None:
    heard = _Heard()

    job(
        "progress(1); say({'event': 'warning', 'message': 'w'}); progress(2); end()", on_event=heard
    ).run()

    assert [event["event"] for event in heard.events] == ["progress", "warning", "progress"]


def test_the_job_gets_its_request_its_config_and_a_scratch_of_its_own() -> None:
    heard = _Heard()
    body = """
scratch = os.environ["RUNNER_JOB_SCRATCH"]
open(os.path.join(scratch, "file"), "w").close()
say({"event": "seen", "request": request, "config": os.environ["CONFIG_DIR"], "scratch": scratch,
     "mode": os.stat(scratch).st_mode & 0o777, "parent": os.environ["RUNNER_JOB_PARENT"]})
end()
"""
    job(body, request=JobRequest(kind=JobKind.VERIFY, everything=True), on_event=heard).run()

    seen = heard.events[0]
    assert seen["request"] == {"kind": "verify", "everything": True}
    assert seen["config"] == "/etc/db-backup"
    assert seen["mode"] == 0o700
    assert seen["parent"] == str(os.getpid())
    assert not Path(seen["scratch"]).exists()


def test_a_job_that_is_killed_after_its_last_word_has_its_own_outcome() -> None:
    body = """
try: end(backupId="x")
except SystemExit: os.kill(os.getpid(), signal.SIGKILL)
"""
    result = job(body).run()

    assert (result.outcome.success, result.exit_code, result.lost) == (True, 0, False)


# -- a job that does not ----------------------------------------------------------------


def test_a_killed_job_is_reported_by_the_survivor() -> None:
    clock = FakeClock()

    result = job("progress(1); os.kill(os.getpid(), signal.SIGKILL)", clock=clock).run()

    assert (result.lost, result.exit_code) == (True, 75)
    assert result.outcome.reason == "JobLost"
    assert "SIGKILL" in result.outcome.message
    assert "memory limit" in result.outcome.message
    assert result.outcome.started_at == clock.now()


def test_another_signal_is_named() -> None:
    result = job("os.kill(os.getpid(), signal.SIGSEGV)").run()

    assert "SIGSEGV" in result.outcome.message


@pytest.mark.parametrize("status", [0, 1])
def test_a_job_that_exits_without_a_word_is_lost_even_with_status_0(status: int) -> None:
    result = job(f"sys.exit({status})").run()

    assert (result.lost, result.outcome.success) == (True, False)
    assert f"exited with {status} and no result" in result.outcome.message


def test_a_job_that_dies_before_it_read_its_request_is_lost() -> None:
    process = JobProcess(
        JobRequest(kind=JobKind.BACKUP, name="x" * 1_000_000),
        Path("/nowhere"),
        JobLimits(deadline_s=60, stall_s=60),
        command=("/bin/false",),
    )

    assert process.run().outcome.reason == "JobLost"


def test_a_killed_backup_is_named() -> None:
    """Its uploads can be told from those of others."""
    body = (
        "open(os.environ['RUNNER_JOB_SCRATCH'] + '/backup-id', 'w').write("
        "'2026-11-23T02-00-00Z-7f3a')\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )

    lost = job(body).run().outcome

    assert lost.backup_id == "2026-11-23T02-00-00Z-7f3a"
    assert look_after(lost).abandoned == (lost.backup_id,)


def test_a_killed_restore_names_the_backup_that_it_told() -> None:
    body = """
say({"event": "started", "kind": "restore", "backupId": "2026-11-23T02-00-00Z-7f3a"})
os.kill(os.getpid(), signal.SIGKILL)
"""
    request = JobRequest(kind=JobKind.RESTORE, restore=RestoreOptions(at=START))

    lost = job(body, request=request).run().outcome

    assert lost.backup_id == "2026-11-23T02-00-00Z-7f3a"
    assert look_after(lost).abandoned == (), "what a restore reads is nothing to take back"


def test_the_scratch_of_a_killed_job_is_removed() -> None:
    heard = _Heard()
    body = """
scratch = os.environ["RUNNER_JOB_SCRATCH"]
os.mkdir(os.path.join(scratch, "folder"))
say({"event": "scratch", "path": scratch})
os.kill(os.getpid(), signal.SIGKILL)
"""
    job(body, on_event=heard).run()

    assert not Path(heard.events[0]["path"]).exists()


@pytest.mark.parametrize(
    "line",
    [
        b"garbage",
        b"",
        b"{",
        b"[]",
        b"17",
        b'{"event": 7}',
        b'{"no": "event"}',
        b"\xff\xfe",
        b'{"event": "outcome"}',
        b'{"event": "outcome", "exitCode": "no", "outcome": 7}',
        b'{"event": "outcome", "exitCode": 0, "outcome": {"kind": "nonsense"}}',
    ],
)
def test_a_line_that_is_no_event_stops_nothing(line: bytes) -> None:
    heard = _Heard()

    result = job(f"write({line!r}); progress(1); end(backupId='x')", on_event=heard).run()

    assert result.outcome.backup_id == "x"
    assert [event["done"] for event in heard.events] == [1]


def test_a_listener_that_fails_does_not_block_the_job() -> None:
    def fail(_: Event) -> None:
        raise ValueError("a defect of the listener")

    # More than the 64 KiB of a pipe: a job that nobody reads would hang here.
    result = job("for n in range(1000): progress(n)\nend(backupId='x')", on_event=fail).run()

    assert result.outcome.backup_id == "x"


# -- a job that has to end --------------------------------------------------------------


_OBEYS = """
signal.signal(signal.SIGTERM, lambda *_: end(130, reason="Cancelled", message="taken back"))
say({"event": "ready"})
wait()
"""
_IGNORES = """
signal.signal(signal.SIGTERM, signal.SIG_IGN)
say({"event": "ready", "pid": os.getpid()})
wait()
"""


def test_a_cancelled_job_may_take_back_what_it_began() -> None:
    heard = _Heard()
    process = job(_OBEYS, on_event=heard)
    running = _Running(process)
    heard.wait_for("ready")

    process.cancel()

    result = running.result()
    assert (result.exit_code, result.lost) == (130, False)
    assert result.outcome.result is Result.CANCELLED


def test_who_ended_it_knows_why_and_the_first_cause_counts() -> None:
    heard = _Heard()
    process = job(_OBEYS, on_event=heard)
    running = _Running(process)
    heard.wait_for("ready")

    process.cancel(JobTimedOut("too slow"))
    process.cancel(Cancelled("by a person"))

    result = running.result()
    assert (result.outcome.reason, result.outcome.message) == ("JobTimedOut", "too slow")
    assert result.exit_code == JobTimedOut.exit_code


def test_a_job_that_succeeds_although_it_was_cancelled_succeeded() -> None:
    heard = _Heard()
    body = _OBEYS.replace('130, reason="Cancelled", message="taken back"', 'backupId="x"')
    process = job(body, on_event=heard)
    running = _Running(process)
    heard.wait_for("ready")

    process.cancel()

    result = running.result()
    assert (result.outcome.success, result.exit_code) == (True, 0)


def test_a_cancel_before_the_start_counts() -> None:
    process = job("wait()")
    process.cancel()

    result = process.run()

    assert (result.outcome.reason, result.exit_code) == ("Cancelled", 130)


def test_a_job_that_does_not_listen_is_killed_after_its_grace() -> None:
    clock, heard = FakeClock(), _Heard()
    process = job(_IGNORES, on_event=heard, clock=clock)
    running = _Running(process)
    pid = heard.wait_for("ready")["pid"]

    process.cancel()
    time.sleep(0.6)  # two looks: SIGTERM was sent, and ignored
    assert _is_alive(pid)
    clock.advance(TERMINATION_S + 1)

    result = running.result()
    assert _gone(pid)
    assert (result.lost, result.outcome.reason) == (True, "Cancelled")


def test_a_job_ends_at_its_deadline_whatever_progress_it_makes() -> None:
    clock = FakeClock()
    heard = _Heard(lambda _: clock.advance(1))
    body = """
signal.signal(signal.SIGTERM, lambda *_: end(130, reason="Cancelled"))
for n in range(1_000_000): progress(n); time.sleep(0.01)
"""
    result = job(
        body, on_event=heard, clock=clock, limits=JobLimits(deadline_s=20, stall_s=1000)
    ).run()

    assert result.outcome.reason == "JobTimedOut"
    assert "after 20 s" in result.outcome.message
    assert "spec.timeout" in result.outcome.message
    assert result.exit_code == 75


def test_heartbeats_that_do_not_change_are_no_progress() -> None:
    clock = FakeClock()
    heard = _Heard(lambda _: clock.advance(1))
    body = """
signal.signal(signal.SIGTERM, lambda *_: end(130, reason="Cancelled"))
while True: progress(7, counters={"a": 1}); time.sleep(0.01)
"""
    result = job(
        body, on_event=heard, clock=clock, limits=JobLimits(deadline_s=1e6, stall_s=20)
    ).run()

    assert result.outcome.reason == "JobTimedOut"
    assert "no progress for 20 s" in result.outcome.message


@pytest.mark.parametrize(
    "beat",
    [
        "progress(n)",
        "progress(7, counters={'a': n})",
        "progress(7, detail=f'index {n}')",
        "progress(7, stage=f's{n}')",
    ],
)
def test_any_change_is_progress(beat: str) -> None:
    clock = FakeClock()
    heard = _Heard(lambda _: clock.advance(10))
    body = f"for n in range(60): {beat}; time.sleep(0.01)\nend()"

    result = job(
        body, on_event=heard, clock=clock, limits=JobLimits(deadline_s=1e6, stall_s=15)
    ).run()

    assert result.outcome.success


# -- what a job leaves behind -------------------------------------------------------------


@pytest.mark.parametrize("own_group", [False, True], ids=["its group", "a group of its own"])
@pytest.mark.parametrize(
    "end", ["end()", "os.kill(os.getpid(), signal.SIGKILL)"], ids=["ends", "is killed"]
)
def test_a_grandchild_does_not_outlive_the_job(end: str, own_group: bool) -> None:
    heard = _Heard()
    group = "process_group=0, " if own_group else ""
    body = f"""
child = subprocess.Popen(["sleep", "1000"], {group}stdin=subprocess.DEVNULL)
say({{"event": "child", "pid": child.pid}})
{end}
"""
    job(body, on_event=heard).run()

    assert _gone(heard.events[0]["pid"])


def test_a_grandchild_that_holds_the_events_does_not_hold_the_job() -> None:
    heard = _Heard()
    body = """
child = subprocess.Popen(["sleep", "1000"], pass_fds=(stream.fileno(),), process_group=0)
say({"event": "child", "pid": child.pid})
end(backupId="x")
"""
    result = job(body, on_event=heard).run()

    assert result.outcome.backup_id == "x"
    assert _gone(heard.events[0]["pid"])


def test_no_descriptor_is_left_open() -> None:
    job("end()").run()
    before = sorted(Path("/proc/self/fd").iterdir())

    job("progress(1); end()").run()
    job("os.kill(os.getpid(), signal.SIGKILL)").run()

    assert sorted(Path("/proc/self/fd").iterdir()) == before


def test_a_signal_to_the_runner_is_not_the_jobs() -> None:
    heard = _Heard()
    job(
        "say({'event': 'group', 'id': os.getpgrp(), 'session': os.getsid(0)}); end()",
        on_event=heard,
    ).run()

    assert heard.events[0]["id"] == heard.events[0]["session"] != os.getpgrp()
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
