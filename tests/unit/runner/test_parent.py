"""The runner's parent, step by step: stand-ins as child processes, a clock that stands still."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from controller.api.conditions import Condition, ConditionStatus, get_condition
from controller.api.status import AttemptSummary, BackupSummary, DatabaseBackupStatus
from runner.jobs.request import JobRequest
from runner.outcome import JobKind
from runner.ports import Overtaken
from tests.fakes.clock import START
from tests.unit.runner.a_parent import NOTHING, Runner, a_job, stored
from tests.unit.runner.test_parent_running import _until

# -- the first look -----------------------------------------------------------------------


def test_the_first_thing_is_a_look_at_the_locations(tmp_path: Path) -> None:
    runner = Runner(tmp_path, a_job(stored(1)))
    assert runner.parent._ready()[0] is False

    runner.step()

    assert runner.started == [JobRequest(kind=JobKind.INSPECT, scheduled=True, abort_orphans=True)]
    assert runner.parent._ready() == (True, {"problem": ""})
    status = runner.status.status
    assert status.stored_backups == 1
    assert status.last_backup is not None
    assert status.last_backup.id == "x"


def test_a_database_that_was_never_backed_up_is_at_once(tmp_path: Path) -> None:
    runner = Runner(tmp_path, a_job(NOTHING))
    runner.step()

    runner.step()

    assert runner.kinds == [JobKind.INSPECT, JobKind.BACKUP]
    assert runner.started[1].scheduled


def test_a_fresh_backup_is_not_repeated_after_a_restart(tmp_path: Path) -> None:
    runner = Runner(tmp_path, a_job(stored(1)))
    runner.step()

    pause_s = runner.step()

    assert runner.kinds == [JobKind.INSPECT]
    assert pause_s == 20
    assert runner.parent.status()["nextBackupAt"] == START + timedelta(hours=2)


def test_a_tick_that_was_missed_while_the_runner_was_down_runs_once(tmp_path: Path) -> None:
    runner = Runner(tmp_path, a_job(stored(9)))
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


@pytest.mark.parametrize("is_deleted", [False, True])
@pytest.mark.parametrize(
    ("suspend", "status", "reason"),
    [(True, ConditionStatus.UNKNOWN, "Suspended"), (False, ConditionStatus.FALSE, "Overdue")],
)
def test_since_when_a_backup_is_not_healthy_outlives_the_runner(
    tmp_path: Path, suspend: bool, status: ConditionStatus, reason: str, is_deleted: bool
) -> None:
    month_ago = START - timedelta(days=30)
    runner = Runner(tmp_path, a_job(stored(30 * 24)), suspend=suspend)
    runner.order.is_ordered = is_deleted
    condition = Condition(
        type="BackupHealthy", status=status, reason=reason, last_transition_time=month_ago
    )
    runner.resume(
        DatabaseBackupStatus(
            conditions=(condition,),
            last_backup=BackupSummary(id="x", started_at=month_ago, locations=("one",)),
            last_attempt=AttemptSummary(
                started_at=month_ago, finished_at=month_ago, succeeded=True
            ),
        )
    )

    runner.step()

    healthy = get_condition(runner.status.status.conditions, "BackupHealthy")
    assert healthy is not None
    assert (healthy.status, healthy.reason) == (status, reason)
    assert healthy.last_transition_time == month_ago


def test_a_look_is_repeated_every_hour(tmp_path: Path) -> None:
    runner = Runner(tmp_path, a_job(stored(1)))
    runner.step()
    runner.clock.advance(3599)
    runner.step()
    assert runner.kinds == [JobKind.INSPECT]

    runner.clock.advance(2)
    runner.step()

    assert runner.started[1] == JobRequest(kind=JobKind.INSPECT, scheduled=True, abort_orphans=True)


# -- jobs ---------------------------------------------------------------------------------


def test_a_step_starts_nothing_while_a_job_runs(tmp_path: Path) -> None:
    runner = Runner(tmp_path, a_job(NOTHING, other="progress(1); wait()"))
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
    runner = Runner(tmp_path, a_job(stored(30)), backupCron="0 3 * * *")
    runner.step()
    assert runner.parent._due() == JobRequest(kind=JobKind.BACKUP, scheduled=True)
    runner.fence.lost = Overtaken("another-pod holds the Lease")

    runner.step()

    assert runner.kinds == [JobKind.INSPECT]


def test_what_a_job_did_is_in_status_and_metrics(tmp_path: Path) -> None:
    failure = "end(78, reason='AccessDenied', message='GRANT it')"
    runner = Runner(tmp_path, a_job(NOTHING, other=failure))
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
    runner = Runner(tmp_path, a_job(NOTHING), timeout="2h")
    runner.step()
    runner.step()

    assert runner.fence.calls == [600, None, 7200, None]


def test_after_a_killed_job_the_locations_are_cleaned_and_told(tmp_path: Path) -> None:
    runner = Runner(tmp_path, a_job(NOTHING, other="os.kill(os.getpid(), signal.SIGKILL)"))
    runner.step()
    runner.step()

    look = runner.started[-1]
    assert runner.kinds == [JobKind.INSPECT, JobKind.BACKUP, JobKind.INSPECT]
    assert not look.abort_orphans
    assert look.lost is not None
    assert (look.lost.kind, look.lost.reason) == (JobKind.BACKUP, "JobLost")


def test_a_backup_that_a_person_asked_for_pays_for_the_ticks_before_it(tmp_path: Path) -> None:
    runner = Runner(tmp_path, a_job(stored(1)))
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
    runner = Runner(tmp_path, a_job(NOTHING), suspend=True)

    for _ in range(3):
        runner.step()
        runner.clock.advance(3601)

    assert set(runner.kinds) == {JobKind.INSPECT}
    assert runner.parent.status()["nextBackupAt"] is None
    assert runner.metric("db_backup_controller_suspended") == 1


# -- an object that goes with its backups --------------------------------------------------


def test_an_object_that_is_deleted_has_its_backups_deleted_and_nothing_else_done(
    tmp_path: Path,
) -> None:
    fates = [{"name": "one", "ok": True, "message": "deleted 1 backup"}]
    runner = Runner(tmp_path, a_job(stored(9), other=f"end(fates={fates!r})"), timeout="2h")
    runner.step()
    runner.order.is_ordered = True

    runner.step()
    runner.clock.advance(30 * 3600)  # a backup and a look would be due
    runner.step()

    assert runner.kinds == [JobKind.INSPECT, JobKind.DELETE]
    assert runner.fence.calls == [600, None, 7200, None]
    condition = get_condition(runner.status.status.conditions, "DataDeleted")
    assert condition is not None
    assert (condition.status, condition.reason) == (ConditionStatus.TRUE, "Deleted")
    assert condition.message == "one: deleted 1 backup"


def test_a_runner_that_starts_then_does_not_look_at_the_locations_and_is_ready(
    tmp_path: Path,
) -> None:
    runner = Runner(tmp_path, "os.kill(os.getpid(), signal.SIGKILL)")
    runner.order.is_ordered = True

    runner.step()

    assert runner.kinds == [JobKind.DELETE], "nor after a job that was killed"
    assert runner.parent._ready() == (True, {"problem": ""})


# -- configuration ------------------------------------------------------------------------


def test_a_changed_configuration_is_taken_between_jobs(tmp_path: Path) -> None:
    runner = Runner(tmp_path, a_job(NOTHING), suspend=True)
    runner.step()

    runner.configure(suspend=False, timeout="3h")
    runner.step()

    assert runner.kinds == [JobKind.INSPECT, JobKind.BACKUP]
    assert 3 * 3600 in runner.fence.calls


def test_a_wrong_configuration_is_told_until_it_is_mended(tmp_path: Path) -> None:
    runner = Runner(tmp_path, a_job(stored(1)))
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
    runner = Runner(tmp_path, a_job(stored(1)))
    runner.step()
    assert runner.parent._health()[0] is True

    runner.clock.advance(201)
    assert runner.parent._health()[0] is False

    runner.step()
    assert runner.parent._health()[0] is True


def test_who_waits_for_its_turn_is_healthy_and_not_ready(tmp_path: Path) -> None:
    runner = Runner(tmp_path, a_job(stored(1)))
    runner.clock.advance(10**6)

    assert runner.parent._health()[0] is True
    assert runner.parent._ready()[0] is False


def test_a_defect_in_a_step_does_not_end_the_runner_and_is_seen_if_it_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = Runner(tmp_path, a_job(stored(1)))
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
