"""The control socket itself: who may open it, and what a client finds where no runner serves it."""

from __future__ import annotations

import os
import socket
import stat
import threading
from pathlib import Path

import pytest

from controller.api.errors import TerminalError
from runner.control import ControlClient, RunnerNotRunning
from tests.unit.jobs.stand_in import BACKUP
from tests.unit.runner.served import Served, serving

# -- a runner that is not there -----------------------------------------------------------


def test_without_a_runner_every_verb_says_so(tmp_path: Path) -> None:
    client = ControlClient(tmp_path / "control.sock")

    assert not client.is_answered()
    with pytest.raises(RunnerNotRunning, match="no runner listens"):
        client.status()
    with pytest.raises(RunnerNotRunning):
        client.cancel()
    with pytest.raises(RunnerNotRunning):
        list(client.start(BACKUP))


def test_a_socket_that_a_dead_runner_left_is_no_runner_and_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir(mode=0o700)
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(tmp_path / "run" / "control.sock"))
    dead.close()
    assert not ControlClient(tmp_path / "run" / "control.sock").is_answered()

    with serving(tmp_path, "end()") as served:
        assert served.client.is_answered()


class _Scripted:
    """A runner that answers one client with given bytes and then is gone."""

    def __init__(self, path: Path, answer: bytes, *, read: bool = True) -> None:
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(path))
        self._server.listen(1)
        self._answer, self._read = answer, read
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        with self._server, self._server.accept()[0] as client:
            if self._read:
                client.recv(65536)
            client.sendall(self._answer)

    def join(self) -> None:
        self._thread.join(20)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b'{"event": "accepted"}\n',
        b'{"event": "accepted"}\n{"event": "progress", "done": 1}\n',
        b'{"event": "accepted"}\n{"event": "outc',
    ],
)
def test_a_runner_that_ends_before_the_job_is_named_as_that(tmp_path: Path, answer: bytes) -> None:
    path = tmp_path / "control.sock"
    runner = _Scripted(path, answer)

    with pytest.raises(RunnerNotRunning, match=r"went away|before it told how"):
        list(ControlClient(path).start(BACKUP))
    runner.join()


def test_a_runner_that_hangs_up_unheard_is_not_running(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    runner = _Scripted(path, b"", read=False)

    with pytest.raises(RunnerNotRunning, match="went away"):
        ControlClient(path).status()
    runner.join()


# -- the directory ------------------------------------------------------------------------


def test_nobody_else_gets_at_the_socket(tmp_path: Path) -> None:
    with serving(tmp_path, "end()") as served:
        assert stat.S_IMODE(served.path.parent.stat().st_mode) == 0o700
        assert stat.S_IMODE(served.path.stat().st_mode) == 0o600


def test_a_directory_that_others_may_enter_is_refused_and_not_changed(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    folder.chmod(0o777)

    with pytest.raises(TerminalError, match="open to others"):
        Served(tmp_path, "end()").server.bind()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o777


def test_a_link_or_a_file_in_place_of_the_directory_is_refused(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    (tmp_path / "run").symlink_to(elsewhere)
    with pytest.raises(TerminalError, match="not a directory of ours"):
        Served(tmp_path, "end()").server.bind()

    (tmp_path / "run").unlink()
    (tmp_path / "run").write_text("a file")
    with pytest.raises(TerminalError, match="CONTROL_DIR"):
        Served(tmp_path, "end()").server.bind()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a directory away")
def test_somebody_elses_directory_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir(mode=0o700)
    os.chown(folder, 12345, 12345)

    with pytest.raises(TerminalError, match="not a directory of ours"):
        Served(tmp_path, "end()").server.bind()


def test_a_path_that_is_too_long_for_a_socket_says_what_to_do(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 120)
    folder.mkdir()

    with pytest.raises(TerminalError, match="CONTROL_DIR"):
        Served(folder, "end()").server.bind()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_a_client_says_nothing_to_another_users_socket(tmp_path: Path) -> None:
    """Whoever makes the folder below /tmp first could pose as the runner."""
    path = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        os.setegid(65534)
        os.seteuid(65534)
        try:
            server.listen()  # the kernel notes who listens
        finally:
            os.seteuid(0)
            os.setegid(0)
        server.settimeout(20)
        client = ControlClient(path)

        for ask in (client.status, client.cancel, client.is_answered):
            with pytest.raises(TerminalError, match="user 65534 listens"):
                ask()
            connection, _ = server.accept()
            with connection:
                assert connection.recv(1) == b""
