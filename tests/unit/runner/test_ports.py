from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from controller.api.errors import TerminalError
from controller.api.status import DatabaseBackupStatus
from runner.ports import BothFences, FileFence, LastStatus
from runner.rundir import socket_path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "fence"


def test_of_two_runners_one_acts_until_it_lets_go(path: Path) -> None:
    first, second = FileFence(path), FileFence(path)
    assert first.acquire(threading.Event())
    acquired = threading.Event()
    stop = threading.Event()

    def wait() -> None:
        if second.acquire(stop):
            acquired.set()

    waiting = threading.Thread(target=wait)
    waiting.start()
    assert not acquired.wait(0.3)

    first.release()

    assert acquired.wait(20)
    waiting.join()
    second.release()


def test_who_is_stopped_while_it_waits_does_not_act(path: Path) -> None:
    first, second, stop = FileFence(path), FileFence(path), threading.Event()
    assert first.acquire(threading.Event())
    result: list[bool] = []
    waiting = threading.Thread(target=lambda: result.append(second.acquire(stop)))
    waiting.start()
    time.sleep(0.1)

    stop.set()

    waiting.join(20)
    assert result == [False]
    second.release()  # does nothing
    assert not FileFence(path).acquire(stop)
    first.release()


def test_a_fence_can_be_taken_again(path: Path) -> None:
    for _ in range(3):
        fence = FileFence(path)
        assert fence.acquire(threading.Event())
        fence.busy_until(60)
        fence.busy_until(None)
        fence.release()
        fence.release()


def test_a_runner_that_is_killed_holds_nothing(path: Path) -> None:
    program = (
        "import sys, threading; from pathlib import Path; from runner.ports import FileFence;"
        "fence = FileFence(Path(sys.argv[1])); fence.acquire(threading.Event());"
        "print('held', flush=True); threading.Event().wait()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        stopped = threading.Event()
        stopped.set()
        assert not FileFence(path).acquire(stopped)

        other.kill()
        other.wait()

    fence = FileFence(path)
    assert fence.acquire(threading.Event())
    fence.release()


def test_a_directory_that_is_open_to_others_is_refused(path: Path) -> None:
    path.parent.mkdir()
    path.parent.chmod(0o755)

    with pytest.raises(TerminalError, match="open to others"):
        FileFence(path).acquire(threading.Event())


def test_who_gets_the_outer_fence_and_not_the_inner_one_keeps_none(tmp_path: Path) -> None:
    outer, inner = tmp_path / "outer", tmp_path / "run" / "fence"
    tmp_path.chmod(0o700)
    command, stop = FileFence(inner), threading.Event()
    assert command.acquire(threading.Event())
    result: list[bool] = []
    both = BothFences(FileFence(outer), FileFence(inner))
    waiting = threading.Thread(target=lambda: result.append(both.acquire(stop, lambda _: None)))
    waiting.start()
    _until_taken(outer)

    stop.set()

    waiting.join(20)
    assert result == [False]
    other = FileFence(outer)
    assert other.try_acquire()
    other.release()
    command.release()
    assert both.acquire(threading.Event(), lambda _: None)
    both.release()


def _until_taken(path: Path) -> None:
    deadline_mono = time.monotonic() + 20
    while not (path.exists() and path.read_text()):
        assert time.monotonic() < deadline_mono
        time.sleep(0.02)


def test_the_last_status_is_kept() -> None:
    last = LastStatus()
    assert last.status == DatabaseBackupStatus()

    last.report(DatabaseBackupStatus(stored_backups=3))

    assert last.status.stored_backups == 3


def test_runner_and_client_meet_at_the_same_path(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)

    here = socket_path(tmp_path, {})

    assert socket_path(tmp_path / "link", {}) == here
    assert socket_path(tmp_path / "other", {}) != here
    assert socket_path(tmp_path, {"CONTROL_DIR": "/run/x"}) == Path("/run/x/control.sock")
