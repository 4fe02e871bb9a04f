"""Single flight, and everybody may listen."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from controller.api.errors import BackupError, BusyError, Cancelled
from runner.jobs.events import Event
from runner.jobs.process import JobResult
from runner.jobs.request import JobRequest
from runner.jobs.slot import JobSlot, new_listener
from runner.outcome import JobKind
from runner.pipeline.pipe import Pipe
from tests.fakes.clock import START, FakeClock
from tests.unit.jobs.stand_in import AMPLE, BACKUP, Told, command

#: Runs until somebody ends it.
_LONG = """
signal.signal(signal.SIGTERM, lambda *_: end(130, reason="Cancelled"))
progress(1)
wait()
"""


def _all(listener: Pipe[Event]) -> list[Event]:
    events = []
    while (event := listener.get()) is not None:
        events.append(event)
    return events


def test_a_job_runs_and_everybody_is_told() -> None:
    told = Told("progress(1); end(backupId='x')")
    listener = new_listener()

    told.slot.start(BACKUP, listener)

    events = _all(listener)
    assert [event["event"] for event in events] == ["progress", "outcome"]
    assert events[-1]["exitCode"] == 0
    assert events[-1]["outcome"]["backupId"] == "x"
    assert told.finish().outcome.backup_id == "x"
    assert told.started == [(BACKUP, START)]
    assert [event["event"] for event in told.events] == ["progress"]
    assert told.slot.running is None
    assert told.slot.progress is None


def test_a_second_job_is_refused_and_told_which_one_runs() -> None:
    clock = FakeClock()
    told = Told(_LONG, clock=clock)
    told.slot.start(JobRequest(kind=JobKind.BACKUP, scheduled=True))
    clock.advance(125)

    with pytest.raises(
        BusyError, match=r"a scheduled backup runs since 2 min 5 s; `runner cancel`"
    ):
        told.slot.start(JobRequest(kind=JobKind.RESTORE))

    assert told.slot.cancel()
    told.finish()
    assert len(told.started) == len(told.ended) == 1


def test_of_many_that_start_at_once_one_wins() -> None:
    told = Told(_LONG)
    barrier = threading.Barrier(8)
    refused: list[BusyError] = []

    def start() -> None:
        barrier.wait()
        try:
            told.slot.start(BACKUP)
            # Nobody may meet a job whose thread has not started.
        except BusyError as error:
            refused.append(error)
        told.slot.join(0.01)

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(refused) == 7
    told.slot.cancel()
    told.finish()
    assert len(told.started) == 1


def test_the_next_job_starts_only_after_the_end_of_the_last_was_noted() -> None:
    noting, go_on = threading.Event(), threading.Event()
    freed: list[JobKind] = []

    def note(request: JobRequest, result: JobResult) -> None:
        noting.set()
        assert go_on.wait(20)

    slot = JobSlot(
        Path("/etc"),
        FakeClock(),
        lambda _: AMPLE,
        on_start=lambda *_: None,
        on_event=lambda _: None,
        on_end=note,
        on_free=lambda request, _: freed.append(request.kind),
        command=command("end()"),
    )
    slot.start(BACKUP)
    assert noting.wait(20)

    with pytest.raises(BusyError):
        slot.start(BACKUP)
    assert freed == []

    go_on.set()
    assert slot.join(20)
    assert freed == [JobKind.BACKUP]


def test_what_follows_a_lost_job_can_be_started_at_once() -> None:
    kinds: list[JobKind] = []

    def follow(request: JobRequest, result: JobResult) -> None:
        kinds.append(request.kind)
        if result.lost and request.kind is JobKind.BACKUP:
            slot.start(JobRequest(kind=JobKind.INSPECT))

    slot = JobSlot(
        Path("/etc"),
        FakeClock(),
        lambda _: AMPLE,
        on_start=lambda *_: None,
        on_event=lambda _: None,
        on_end=lambda *_: None,
        on_free=follow,
        command=command("os.kill(os.getpid(), signal.SIGKILL)"),
    )
    slot.start(BACKUP)

    while slot.running is not None or len(kinds) < 2:
        assert slot.join(20)
    assert kinds == [JobKind.BACKUP, JobKind.INSPECT]


@pytest.mark.parametrize("at", ["on_start", "on_end", "on_free"])
def test_a_defect_in_a_callback_does_not_occupy_the_slot_for_ever(at: str) -> None:
    ended: list[JobResult] = []

    def fail(*_: object) -> None:
        raise RuntimeError("a defect")

    callbacks = {
        "on_start": lambda *_: None,
        "on_end": lambda _, result: ended.append(result),
        "on_free": lambda *_: None,
    } | {at: fail}
    slot = JobSlot(
        Path("/etc"),
        FakeClock(),
        lambda _: AMPLE,
        on_event=lambda _: None,
        command=command("end()"),
        **callbacks,  # type: ignore[arg-type]
    )
    listener = new_listener()

    slot.start(BACKUP, listener)

    assert _all(listener)[-1]["event"] == "outcome"
    assert slot.join(20)
    assert slot.running is None
    if at == "on_start":
        assert ended[0].outcome.reason == "InternalError"
        assert "a defect" in ended[0].outcome.message


def test_a_job_that_cannot_even_be_started_has_an_outcome_and_frees_the_slot() -> None:
    ended: list[JobResult] = []
    slot = JobSlot(
        Path("/etc"),
        FakeClock(),
        lambda _: AMPLE,
        on_start=lambda *_: None,
        on_event=lambda _: None,
        on_end=lambda _, result: ended.append(result),
        command=("/does/not/exist",),
    )
    listener = new_listener()

    slot.start(BACKUP, listener)

    (event,) = _all(listener)
    assert event["outcome"]["success"] is False
    assert slot.join(20)
    assert slot.running is None
    assert (ended[0].lost, ended[0].exit_code) == (True, BackupError.exit_code)


def test_a_listener_that_does_not_keep_up_is_dropped_and_delays_nothing() -> None:
    told = Told("for n in range(3000): progress(n)\nend(backupId='x')")
    listener = new_listener()

    told.slot.start(BACKUP, listener)

    assert told.finish().outcome.backup_id == "x"
    assert len(told.events) == 3000
    with pytest.raises(BusyError, match="runner status"):
        _all(listener)


def test_a_listener_that_went_away_changes_nothing_for_the_job() -> None:
    told = Told("for n in range(50): progress(n); time.sleep(0.005)\nend(backupId='x')")
    listener = new_listener()
    told.slot.start(BACKUP, listener)
    listener.get()

    listener.abort(BusyError("the client went away"))

    assert told.finish().outcome.backup_id == "x"
    assert told.slot.running is None
    assert len(told.events) == 50


def test_the_last_event_shows_what_the_running_job_does() -> None:
    told = Told(_LONG)
    listener = new_listener()
    told.slot.start(BACKUP, listener)
    listener.get()

    progress = told.slot.progress
    assert progress is not None
    assert progress["done"] == 1

    told.slot.cancel(Cancelled("enough"))
    assert told.finish().outcome.message == "enough"


def test_cancel_says_whether_there_was_anything_to_end() -> None:
    assert not Told("end()").slot.cancel()


def test_a_closed_slot_starts_nothing_and_lets_the_running_job_end() -> None:
    told = Told("progress(1); time.sleep(0.2); end(backupId='x')")
    told.slot.start(BACKUP)

    told.slot.close()

    assert told.slot.closed
    assert told.finish().outcome.backup_id == "x"
    with pytest.raises(BusyError, match="shutting down"):
        told.slot.start(BACKUP)


def test_join_gives_up_after_its_timeout() -> None:
    told = Told(_LONG)
    assert told.slot.join(0)
    told.slot.start(BACKUP)

    assert not told.slot.join(0.05)

    told.slot.cancel()
    assert told.slot.join(20)
