"""The control socket, over real sockets and with real (stand-in) jobs."""

from __future__ import annotations

import json
import socket
import threading
import time
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import pytest

from controller.api.errors import BusyError
from runner.control import ControlClient, Refused
from runner.jobs.request import JobRequest
from runner.outcome import JobKind
from runner.ports import Overtaken
from tests.unit.jobs.stand_in import BACKUP
from tests.unit.runner.served import LONG, kinds, serving, until_running

# -- starting a job ---------------------------------------------------------------------


def test_a_client_gets_the_events_and_then_the_outcome(tmp_path: Path) -> None:
    with serving(tmp_path, "progress(1); progress(2); end(backupId='x')") as served:
        events = served.start()

    assert kinds(events) == ["accepted", "progress", "progress", "outcome"]
    assert (events[-1]["exitCode"], events[-1]["outcome"]["backupId"]) == (0, "x")


def test_the_request_arrives_as_it_was_made(tmp_path: Path) -> None:
    with serving(tmp_path, "end()") as served:
        served.start(JobKind.VERIFY)

        assert [request for request, _ in served.told.started] == [JobRequest(kind=JobKind.VERIFY)]


def test_nobody_asks_for_everything_to_be_deleted(tmp_path: Path) -> None:
    with serving(tmp_path, "end()") as served:
        with pytest.raises(Refused, match="only the deletion of the object"):
            served.start(JobKind.DELETE)

        assert served.told.started == []


def test_detached_it_ends_once_the_job_was_accepted(tmp_path: Path) -> None:
    with serving(tmp_path, LONG) as served:
        assert kinds(served.start(detach=True)) == ["accepted"]

        until_running(served)


def test_a_second_client_is_refused_if_it_does_not_want_to_wait(tmp_path: Path) -> None:
    with serving(tmp_path, LONG) as served:
        served.start(detach=True)

        with pytest.raises(Refused, match="a backup runs since") as refused:
            served.start(wait=False)

    assert (refused.value.reason, refused.value.exit_code) == ("Busy", BusyError.exit_code)


def test_a_client_that_waits_is_told_so_and_gets_its_turn(tmp_path: Path) -> None:
    with serving(tmp_path, "progress(1); time.sleep(0.5); end(backupId='x')") as served:
        served.start(detach=True)

        events = served.start()

        assert kinds(events)[0] == "waiting"
        assert "a backup runs" in events[0]["message"]
        assert kinds(events)[-3:] == ["accepted", "progress", "outcome"]
        assert len(served.told.ended) == 2


def test_who_waits_goes_before_the_next_scheduled_backup(tmp_path: Path) -> None:
    scheduled = JobRequest(kind=JobKind.BACKUP, scheduled=True)
    with serving(tmp_path, LONG) as served:
        served.told.slot.start(scheduled)
        waiting = served.client.start(JobRequest(kind=JobKind.RESTORE), wait=True)
        assert next(waiting)["event"] == "waiting"

        served.told.slot.cancel()
        # The schedule asks at each step, and at once when the slot is free.
        began = []
        while not served.told.slot.runs(JobKind.RESTORE):
            began.append(served.told.slot.try_start(scheduled))
        assert not any(began)
        assert not served.told.slot.try_start(scheduled)

        served.told.slot.cancel()
        assert kinds(list(waiting))[-1] == "outcome"
        assert served.told.slot.try_start(scheduled)
        served.told.slot.cancel()
        served.told.finish()


def test_who_does_not_wait_any_more_holds_nothing_up(tmp_path: Path) -> None:
    scheduled = JobRequest(kind=JobKind.BACKUP, scheduled=True)
    with serving(tmp_path, LONG) as served:
        served.told.slot.start(scheduled)
        with pytest.raises(Refused, match="a scheduled backup runs"):
            served.start(wait=False)
        served.told.slot.cancel()
        served.told.slot.join()

        assert served.told.slot.try_start(scheduled)
        served.told.slot.cancel()
        served.told.finish()


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

    assert kinds(events) == ["waiting", "accepted", "outcome"]
    assert events[0]["message"] == ""


def test_many_clients_that_wait_all_get_their_turn(tmp_path: Path) -> None:
    with serving(tmp_path, "time.sleep(0.05); end()") as served:
        outcomes: list[str] = []
        clients = [
            threading.Thread(target=lambda: outcomes.append(kinds(served.start())[-1]))
            for _ in range(6)
        ]
        for client in clients:
            client.start()
        for client in clients:
            client.join(60)

        assert outcomes == ["outcome"] * 6
        assert len(served.told.ended) == 6


def test_a_runner_that_shuts_down_refuses_even_who_would_wait(tmp_path: Path) -> None:
    with serving(tmp_path, LONG) as served:
        served.start(detach=True)
        until_running(served)
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
            assert kinds(served.ask(b"x" * 1_000_000)) == ["refused"]

        assert served.told.started == []
        assert served.client.status()["event"] == "status"


# -- status and cancel --------------------------------------------------------------------


def test_status_is_one_line(tmp_path: Path) -> None:
    with serving(tmp_path, "end()") as served:
        assert served.ask(b'{"verb": "status"}\n') == [{"event": "status", "running": "a test"}]


def test_cancel_ends_the_running_job_and_its_client_hears_it(tmp_path: Path) -> None:
    with serving(tmp_path, LONG) as served:
        events = served.client.start(BACKUP)
        while next(events)["event"] != "progress":
            pass

        assert served.client.cancel()

        outcome = list(events)[-1]
        assert (outcome["event"], outcome["exitCode"]) == ("outcome", 130)


def test_cancel_says_that_nothing_runs(tmp_path: Path) -> None:
    with serving(tmp_path, "end()") as served:
        assert not served.client.cancel()


def test_those_who_wait_keep_nobody_from_a_look_or_from_ending_the_job(tmp_path: Path) -> None:
    with serving(tmp_path, LONG) as served, ExitStack() as crowd:
        served.start(detach=True)
        until_running(served)
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
    with serving(tmp_path, LONG) as served:
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
