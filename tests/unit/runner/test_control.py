"""The control socket, over real sockets and with real (stand-in) jobs."""

from __future__ import annotations

import json
import os
import socket
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from controller.api.errors import BusyError, TerminalError
from runner.control import ControlClient, ControlServer, Refused, RunnerNotRunning
from runner.jobs.events import Event
from runner.jobs.request import JobRequest
from runner.outcome import JobKind
from runner.ports import Confirm, Overtaken
from tests.unit.jobs.stand_in import BACKUP, Told

_LONG = """
signal.signal(signal.SIGTERM, lambda *_: end(130, reason="Cancelled"))
progress(1)
wait()
"""


class Served:
    """A server on a socket, a slot behind it, and a client."""

    def __init__(self, folder: Path, body: str, confirm: Confirm = lambda: True) -> None:
        self.path = folder / "run" / "control.sock"
        self.told = Told(body, confirm=confirm)
        self.client = ControlClient(self.path)
        self.server = ControlServer(self.path, self.told.slot, lambda: {"running": "a test"})

    def start(self, kind: JobKind = JobKind.BACKUP, **options: Any) -> list[Event]:
        return list(self.client.start(JobRequest(kind=kind), **options))

    def ask(self, raw: bytes) -> list[Event]:
        """Send bytes as they are; what comes back until the server hangs up."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(20)
            connection.connect(str(self.path))
            connection.sendall(raw)
            with connection.makefile("rb") as lines:
                return [json.loads(line) for line in lines]


@contextmanager
def serving(folder: Path, body: str, *, confirm: Confirm = lambda: True) -> Iterator[Served]:
    """A running server; no thread may outlive it."""
    before = set(threading.enumerate())
    served, stop = Served(folder, body, confirm), threading.Event()
    served.server.bind()
    thread = threading.Thread(target=served.server.run, args=(stop,), name="control-server")
    thread.start()
    try:
        yield served
    finally:
        served.told.slot.close()
        served.told.slot.cancel()
        served.told.slot.join(30)
        stop.set()
        served.client.is_answered()  # wakes the server, which else looks twice a second
        thread.join(30)
    assert not thread.is_alive()
    assert not served.path.exists()
    assert set(threading.enumerate()) <= before


def _kinds(events: list[Event]) -> list[str]:
    return [event["event"] for event in events]


def _until_running(served: Served) -> None:
    deadline_mono = time.monotonic() + 20
    while served.told.slot.progress is None:
        assert time.monotonic() < deadline_mono
        time.sleep(0.01)


# -- starting a job ---------------------------------------------------------------------


def test_a_client_gets_the_events_and_then_the_outcome(tmp_path: Path) -> None:
    with serving(tmp_path, "progress(1); progress(2); end(backupId='x')") as served:
        events = served.start()

    assert _kinds(events) == ["accepted", "progress", "progress", "outcome"]
    assert (events[-1]["exitCode"], events[-1]["outcome"]["backupId"]) == (0, "x")


def test_the_request_arrives_as_it_was_made(tmp_path: Path) -> None:
    with serving(tmp_path, "end()") as served:
        served.start(JobKind.VERIFY)

        assert [request for request, _ in served.told.started] == [JobRequest(kind=JobKind.VERIFY)]


def test_detached_it_ends_once_the_job_was_accepted(tmp_path: Path) -> None:
    with serving(tmp_path, _LONG) as served:
        assert _kinds(served.start(detach=True)) == ["accepted"]

        _until_running(served)


def test_a_second_client_is_refused_if_it_does_not_want_to_wait(tmp_path: Path) -> None:
    with serving(tmp_path, _LONG) as served:
        served.start(detach=True)

        with pytest.raises(Refused, match="a backup runs since") as refused:
            served.start(wait=False)

    assert (refused.value.reason, refused.value.exit_code) == ("Busy", BusyError.exit_code)


def test_a_client_that_waits_is_told_so_and_gets_its_turn(tmp_path: Path) -> None:
    with serving(tmp_path, "progress(1); time.sleep(0.5); end(backupId='x')") as served:
        served.start(detach=True)

        events = served.start()

        assert _kinds(events)[0] == "waiting"
        assert "a backup runs" in events[0]["message"]
        assert _kinds(events)[-3:] == ["accepted", "progress", "outcome"]
        assert len(served.told.ended) == 2


def test_who_waits_for_its_turn_is_told_when_there_will_be_none(tmp_path: Path) -> None:
    def confirm() -> bool:
        raise Overtaken("another-pod holds the Lease")

    with serving(tmp_path, "end()", confirm=confirm) as served:
        with pytest.raises(Refused, match="another-pod holds the Lease") as refused:
            served.start(wait=True)

        assert served.told.started == []
    assert (refused.value.reason, refused.value.exit_code) == ("Busy", BusyError.exit_code)


def test_a_look_at_the_locations_is_waited_for_even_by_who_does_not_wait(tmp_path: Path) -> None:
    with serving(tmp_path, "time.sleep(0.5 * (request['kind'] == 'inspect')); end()") as served:
        served.told.slot.start(JobRequest(kind=JobKind.INSPECT))

        events = served.start(wait=False)

    assert _kinds(events) == ["waiting", "accepted", "outcome"]
    assert events[0]["message"] == ""


def test_many_clients_that_wait_all_get_their_turn(tmp_path: Path) -> None:
    with serving(tmp_path, "time.sleep(0.05); end()") as served:
        outcomes: list[str] = []
        clients = [
            threading.Thread(target=lambda: outcomes.append(_kinds(served.start())[-1]))
            for _ in range(6)
        ]
        for client in clients:
            client.start()
        for client in clients:
            client.join(60)

        assert outcomes == ["outcome"] * 6
        assert len(served.told.ended) == 6


def test_a_runner_that_shuts_down_refuses_even_who_would_wait(tmp_path: Path) -> None:
    with serving(tmp_path, _LONG) as served:
        served.start(detach=True)
        _until_running(served)
        served.told.slot.close()

        with pytest.raises(Refused, match="shutting down"):
            served.start()


# -- clients that go away ---------------------------------------------------------------


def test_a_client_that_goes_away_ends_no_job(tmp_path: Path) -> None:
    body = "for n in range(40): progress(n); time.sleep(0.01)\nend(backupId='x')"
    with serving(tmp_path, body) as served:
        events = served.client.start(BACKUP)
        assert next(events)["event"] == "accepted"
        next(events)
        events.close()  # type: ignore[attr-defined]  # a generator: the connection goes with it

        assert served.told.finish().outcome.backup_id == "x"


def test_a_client_that_never_reads_delays_no_job(tmp_path: Path) -> None:
    body = "for n in range(3000): progress(n, detail='x' * 200)\nend(backupId='x')"
    with serving(tmp_path, body) as served, socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(served.path))
        request = {"verb": "start", "request": {"kind": "backup"}}
        connection.sendall(json.dumps(request).encode() + b"\n")
        while not served.told.started:
            time.sleep(0.01)

        assert served.told.finish().outcome.backup_id == "x"


def test_who_only_looks_whether_somebody_listens_is_not_noticed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    with serving(tmp_path, "end()") as served:
        assert served.client.is_answered()
        assert served.client.status()["running"] == "a test"

    assert caplog.records == []


# -- what is no request -----------------------------------------------------------------


@pytest.mark.parametrize(
    "raw",
    [
        b"\n",
        b"garbage\n",
        b"[]\n",
        b'"verb"\n',
        b"{}\n",
        b'{"verb": 7}\n',
        b'{"verb": "dance"}\n',
        b'{"verb": "start"}\n',
        b'{"verb": "start", "request": 7}\n',
        b'{"verb": "start", "request": {"kind": "dance"}}\n',
        b'{"verb": "start", "request": {"kind": "prune", "dryRun": "no"}}\n',
        b"\xff\xfe\n",
        b'{"verb": ' + b"[" * 10_000 + b"\n",
    ],
    ids=lambda raw: repr(raw[:40]),
)
def test_what_is_no_request_is_refused_and_starts_nothing(tmp_path: Path, raw: bytes) -> None:
    with serving(tmp_path, "end()") as served:
        (answer,) = served.ask(raw)

        assert (answer["event"], answer["reason"]) == ("refused", "FormatError")
        assert served.told.started == []
        assert served.client.status()["event"] == "status"


def test_a_request_without_an_end_is_cut_off(tmp_path: Path) -> None:
    with serving(tmp_path, "end()") as served:
        with suppress(ConnectionError):
            assert _kinds(served.ask(b"x" * 1_000_000)) == ["refused"]

        assert served.told.started == []
        assert served.client.status()["event"] == "status"


# -- status and cancel --------------------------------------------------------------------


def test_status_is_one_line(tmp_path: Path) -> None:
    with serving(tmp_path, "end()") as served:
        assert served.ask(b'{"verb": "status"}\n') == [{"event": "status", "running": "a test"}]


def test_cancel_ends_the_running_job_and_its_client_hears_it(tmp_path: Path) -> None:
    with serving(tmp_path, _LONG) as served:
        events = served.client.start(BACKUP)
        while next(events)["event"] != "progress":
            pass

        assert served.client.cancel()

        outcome = list(events)[-1]
        assert (outcome["event"], outcome["exitCode"]) == ("outcome", 130)


def test_cancel_says_that_nothing_runs(tmp_path: Path) -> None:
    with serving(tmp_path, "end()") as served:
        assert not served.client.cancel()


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


def test_those_who_wait_keep_nobody_from_a_look_or_from_ending_the_job(tmp_path: Path) -> None:
    with serving(tmp_path, _LONG) as served, ExitStack() as crowd:
        served.start(detach=True)
        _until_running(served)
        # More than may start anything: some wait for their turn, the others were refused.
        waiting = 0
        for _ in range(20):
            client = ControlClient(served.path)
            events = crowd.enter_context(closing(client.start(JobRequest(kind=JobKind.VERIFY))))
            with suppress(Refused):
                waiting += next(events)["event"] == "waiting"

        assert waiting == 16
        assert served.client.status()["running"] == "a test"
        with pytest.raises(Refused, match="too many clients"):
            served.start()
        assert served.client.cancel()
        served.told.slot.close()


def test_a_client_too_many_is_told_so(tmp_path: Path) -> None:
    with serving(tmp_path, _LONG) as served:
        served.start(detach=True)
        crowd = [socket.socket(socket.AF_UNIX) for _ in range(24)]
        try:
            for one in crowd:
                one.connect(str(served.path))
            time.sleep(0.3)

            with pytest.raises(Refused, match="too many clients"):
                served.client.status()
        finally:
            for one in crowd:
                one.close()


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
