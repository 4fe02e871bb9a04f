"""The end of an object that goes with its backups: what runs, what is tried again, what is told."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from controller.api.conditions import ConditionStatus, Verdict
from controller.api.errors import BeingDeleted
from runner.deletion import Deletion
from runner.jobs.process import JobResult
from runner.jobs.request import JobRequest
from runner.jobs.slot import JobSlot
from runner.outcome import JobKind
from tests.fakes.clock import FakeClock
from tests.unit.jobs.stand_in import AMPLE, BACKUP, command

_FATE = {"name": "s3", "ok": True, "message": "deleted 3 backups"}
_DOWN = {"name": "s3", "ok": False, "reason": "StorageUnavailable", "message": "no answer"}
_STAYS = {"name": "s3", "ok": False, "reason": "ForeignOwner", "message": "another cluster's"}
#: Runs until somebody ends it.
_LONG = """
signal.signal(signal.SIGTERM, lambda *_: end(130, reason="Cancelled"))
progress(400, stage="delete s3", total=1000, unit="objects")
wait()
"""


def _end(code: int = 0, **fields: object) -> str:
    return f"end({code}, **json.loads({json.dumps(fields)!r}))"


class Bench:
    """A deletion with real child processes; the order is given and taken back by the test."""

    def __init__(self, body: str) -> None:
        self.is_ordered = True
        self.told: list[Verdict] = []
        self.kinds: list[JobKind] = []
        self.clock = FakeClock()
        self.slot = JobSlot(
            Path("/etc/db-backup"),
            self.clock,
            lambda _: AMPLE,
            on_start=lambda request, _: self.kinds.append(request.kind),
            on_event=lambda _: None,
            on_end=self._ended,
            command=command(body),
        )
        self.deletion = Deletion(self, self.slot, self.told.append, self.clock)

    def is_given(self) -> bool:
        return self.is_ordered

    def _ended(self, request: JobRequest, result: JobResult) -> None:
        self.deletion.finished(request, result.outcome)

    def step(self) -> float | None:
        """One step, and what it started to its end."""
        pause_s = self.deletion.step()
        assert self.slot.join(30)
        return pause_s

    def until_it_runs(self) -> None:
        _until(lambda: self.slot.progress)


def _until(true: Callable[[], object]) -> None:
    deadline_mono = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline_mono
        time.sleep(0.02)


def test_without_an_order_nothing_happens() -> None:
    bench = Bench(_end())
    bench.is_ordered = False

    assert bench.step() is None

    assert (bench.kinds, bench.told, bench.deletion.is_begun) == ([], [], False)
    bench.slot.start(BACKUP)
    assert bench.slot.join(30)


def test_it_deletes_once_and_says_so() -> None:
    bench = Bench(_end(fates=[_FATE]))

    assert [bench.step() for _ in range(3)] == [20, 20, 20]

    assert bench.kinds == [JobKind.DELETE]
    assert bench.told == [
        Verdict(ConditionStatus.FALSE, "Deleting", "it begins"),
        Verdict(ConditionStatus.TRUE, "Deleted", "s3: deleted 3 backups"),
    ]


def test_a_failure_is_tried_again_later_each_time() -> None:
    bench = Bench(_end(75, reason="StorageUnavailable", fates=[_DOWN]))
    waits: list[float] = []

    for _ in range(6):
        bench.step()
        before = len(bench.kinds)
        waited_s = 0.0
        while len(bench.kinds) == before:
            bench.clock.advance(5)
            waited_s += 5
            bench.step()
        waits.append(waited_s)

    assert waits == [10, 20, 40, 80, 120, 120]
    assert bench.told[1] == Verdict(
        ConditionStatus.FALSE,
        "StorageUnavailable",
        "s3: StorageUnavailable: no answer; tried again in 10 s",
    )


def test_a_job_that_was_killed_is_tried_again() -> None:
    bench = Bench("os.kill(os.getpid(), signal.SIGKILL)")
    bench.step()
    assert bench.told[-1].reason == "JobLost"

    bench.clock.advance(10)
    bench.step()

    assert bench.kinds == [JobKind.DELETE] * 2


def test_what_has_to_stay_is_the_end_of_it() -> None:
    bench = Bench(_end(78, reason="DataRetained", fates=[_STAYS]))
    bench.step()

    bench.clock.advance(1000)
    bench.step()

    assert bench.kinds == [JobKind.DELETE]
    assert bench.told[-1] == Verdict(
        ConditionStatus.FALSE, "DataRetained", "s3: ForeignOwner: another cluster's"
    )


def test_a_running_backup_is_ended_first() -> None:
    bench = Bench(f"if request['kind'] == 'delete': {_end(fates=[_FATE])}\n{_LONG}")
    bench.slot.start(BACKUP)
    bench.until_it_runs()

    bench.step()
    bench.step()

    assert bench.kinds == [JobKind.BACKUP, JobKind.DELETE]
    assert bench.told[-1].reason == "Deleted"


def test_a_running_restore_is_waited_for() -> None:
    bench = Bench(f"if request['kind'] == 'delete': {_end(fates=[_FATE])}\n{_LONG}")
    bench.slot.start(JobRequest(kind=JobKind.RESTORE))
    bench.until_it_runs()

    for _ in range(3):
        assert bench.deletion.step() == 20
    assert bench.slot.runs(JobKind.RESTORE)
    assert {verdict.reason for verdict in bench.told} == {"RestoreRuns"}

    bench.slot.cancel()
    assert bench.slot.join(30)
    bench.step()
    assert bench.told[-1].reason == "Deleted"


def test_no_other_job_begins_any_more() -> None:
    bench = Bench(_end(fates=[_FATE]))
    bench.step()

    for kind in set(JobKind) - {JobKind.DELETE}:
        with pytest.raises(BeingDeleted, match=r"spec\.deletionPolicy: Delete"):
            bench.slot.start(JobRequest(kind=kind))


def test_an_order_that_is_taken_back_ends_the_job_and_begins_no_other() -> None:
    bench = Bench(_LONG)
    assert bench.deletion.step() == 20
    bench.until_it_runs()
    bench.is_ordered = False

    assert bench.step() == 20

    assert bench.told[-1].reason == "Cancelled"
    bench.clock.advance(1000)
    bench.step()
    assert bench.kinds == [JobKind.DELETE]
    with pytest.raises(BeingDeleted):
        bench.slot.start(BACKUP)


def test_how_far_the_job_is_is_told() -> None:
    bench = Bench(_LONG)
    bench.deletion.step()
    bench.until_it_runs()

    bench.deletion.step()

    assert bench.told[-1] == Verdict(
        ConditionStatus.FALSE, "Deleting", "delete s3: 400 of 1000 objects"
    )
    bench.slot.cancel()
    assert bench.slot.join(30)
