"""The worker: what an outcome does to a key, on a real queue."""

from __future__ import annotations

import io
import json
import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from controller.api import errors
from controller.api.errors import (
    AccessDenied,
    ApiConflict,
    ApiThrottled,
    ApiUnavailable,
    BackupError,
    BusyError,
    Cancelled,
    ChecksumMismatch,
    DependencyMissing,
    InvalidSpec,
)
from controller.api.keys import ObjectKey
from controller.process.clock import SystemClock
from controller.process.logging import configure
from controller.queue.ratelimit import ExponentialPerKey
from controller.queue.workqueue import WorkQueue
from controller.worker import Outcome, RequeueAfter, Worker, outcome_of
from tests.fakes.clock import FakeClock

SHOP = ObjectKey("db", "shop")
TILL = ObjectKey("db", "till")


class Counts:
    """Counts, from zeros."""

    def __init__(self) -> None:
        self.outcomes = Counter(dict.fromkeys(Outcome, 0))

    def reconciled(self, outcome: Outcome) -> None:
        self.outcomes[outcome] += 1


class World:
    """A queue whose clock a test moves, and a worker whose reconcile it scripts."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.queue = WorkQueue[ObjectKey](
            ExponentialPerKey(first_s=1.0, jitter=lambda: 0.0), clock=self.clock
        )
        self.counts = Counts()
        self.worked_on: list[ObjectKey] = []
        self.results: dict[ObjectKey, RequeueAfter | BaseException | None] = {}
        self.worker = Worker(
            "DatabaseBackup",
            self.queue,
            self.reconcile,
            metrics=self.counts,
            clock=self.clock,
            new_id=lambda: f"r-{len(self.worked_on)}",
        )

    def reconcile(self, key: ObjectKey) -> RequeueAfter | None:
        self.worked_on.append(key)
        result = self.results.get(key)
        if isinstance(result, BaseException):
            raise result
        return result

    def work_on(self, key: ObjectKey, result: RequeueAfter | BaseException | None) -> None:
        self.results[key] = result
        self.queue.add(key)
        assert self.worker.process_next()

    def comes_again_after_exactly(self, delay_s: float) -> bool:
        """Let so much time pass; say whether the key is there at the end of it and not before."""
        self.clock.advance(delay_s - 0.25)
        is_early = len(self.queue) > 0
        self.clock.advance(0.25)
        return len(self.queue) == 1 and not is_early

    def never_comes_again(self) -> bool:
        self.clock.advance(10**6)
        return len(self.queue) == 0

    def ended_in(self, outcome: Outcome) -> bool:
        """Whether the one reconcile so far was counted as this and as nothing else."""
        return self.counts.outcomes == {**dict.fromkeys(Outcome, 0), outcome: 1}


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def lines() -> Iterator[Callable[[], list[dict[str, Any]]]]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    configure(stream=stream, level="DEBUG")
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    root.handlers[:] = handlers
    root.setLevel(level)


def test_a_key_that_is_done_is_forgotten(world: World) -> None:
    world.work_on(SHOP, ApiConflict("changed"))
    world.clock.advance(1)
    world.results[SHOP] = None

    world.worker.process_next()

    assert world.queue.num_requeues(SHOP) == 0
    assert world.counts.outcomes[Outcome.DONE] == 1
    assert world.never_comes_again()


def test_a_reconcile_may_ask_to_look_again(world: World) -> None:
    world.work_on(SHOP, RequeueAfter(30))

    assert world.ended_in(Outcome.REQUEUED)
    assert world.comes_again_after_exactly(30)


def test_requeue_after_resets_the_failures(world: World) -> None:
    world.work_on(SHOP, ApiConflict("changed"))
    world.clock.advance(1)
    world.results[SHOP] = RequeueAfter(30)

    world.worker.process_next()

    assert world.queue.num_requeues(SHOP) == 0


@pytest.mark.parametrize("after_s", [0, -1])
def test_a_look_again_at_once_would_never_end(after_s: float) -> None:
    with pytest.raises(ValueError, match="after_s"):
        RequeueAfter(after_s)


@pytest.mark.parametrize(
    "error", [ApiConflict("changed"), ApiUnavailable("refused"), BusyError("a job runs")]
)
def test_a_passing_fault_is_tried_again_later_and_later(world: World, error: BackupError) -> None:
    world.work_on(SHOP, error)
    assert world.ended_in(Outcome.RETRIED)

    for delay_s in (1, 2, 4):
        assert world.comes_again_after_exactly(delay_s)
        world.worker.process_next()

    assert world.queue.num_requeues(SHOP) == 4


def test_a_throttled_reconcile_waits_as_long_as_the_server_says(world: World) -> None:
    world.work_on(SHOP, ApiThrottled("slow down", retry_after_s=7))

    assert world.ended_in(Outcome.RETRIED)
    assert world.queue.num_requeues(SHOP) == 0
    assert world.comes_again_after_exactly(7)


def test_an_event_brings_a_throttled_reconcile_no_sooner(world: World) -> None:
    world.work_on(SHOP, ApiThrottled("slow down", retry_after_s=7))
    world.clock.advance(3)

    world.work_on(SHOP, None)

    assert world.worked_on == [SHOP]
    assert world.comes_again_after_exactly(4)
    world.worker.process_next()
    assert world.worked_on == [SHOP, SHOP]
    assert world.never_comes_again()


def test_a_throttled_reconcile_without_a_wish_is_a_passing_fault(world: World) -> None:
    world.work_on(SHOP, ApiThrottled("slow down", retry_after_s=0))

    assert world.comes_again_after_exactly(1)


def test_a_missing_dependency_is_looked_for_again_after_its_time(world: World) -> None:
    world.work_on(SHOP, DependencyMissing("no class gold", retry_after_s=45))

    assert world.ended_in(Outcome.WAITING)
    assert world.queue.num_requeues(SHOP) == 0
    assert world.comes_again_after_exactly(45)


def test_the_event_of_a_dependency_comes_before_its_time(world: World) -> None:
    world.work_on(SHOP, DependencyMissing("no class gold", retry_after_s=45))

    world.queue.add(SHOP)

    assert len(world.queue) == 1


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (InvalidSpec("no such zone"), Outcome.TERMINAL),
        (AccessDenied("may not"), Outcome.TERMINAL),
        (ChecksumMismatch("differs"), Outcome.INTEGRITY),
    ],
)
def test_should_not_requeue_what_only_a_person_can_change(
    world: World, error: BackupError, outcome: Outcome
) -> None:
    world.work_on(SHOP, error)

    assert world.ended_in(outcome)
    assert world.queue.num_requeues(SHOP) == 0
    assert world.never_comes_again()


@pytest.mark.parametrize(
    "error", [ZeroDivisionError("x"), BackupError("unclassified"), Cancelled("stopped")]
)
def test_a_defect_is_counted_told_with_its_stack_and_tried_again(
    world: World, error: Exception, lines: Callable[[], list[dict[str, Any]]]
) -> None:
    world.work_on(SHOP, error)

    assert world.ended_in(Outcome.UNEXPECTED)
    assert world.comes_again_after_exactly(1)
    (line,) = (line for line in lines() if line["level"] == "ERROR")
    assert "in reconcile" in line["stack"]


def test_one_bad_object_does_not_disturb_another(world: World) -> None:
    world.results[SHOP] = ZeroDivisionError("x")
    world.queue.add(SHOP)
    world.queue.add(TILL)

    assert world.worker.process_next()
    assert world.worker.process_next()

    assert world.worked_on == [SHOP, TILL]
    assert world.counts.outcomes[Outcome.DONE] == 1


def test_a_key_is_given_back_even_when_the_process_is_being_ended(world: World) -> None:
    with pytest.raises(KeyboardInterrupt):
        world.work_on(SHOP, KeyboardInterrupt())

    assert world.queue.stats().unfinished_work_s == 0
    world.queue.add(SHOP)
    assert world.queue.get() == SHOP


def test_an_event_during_a_reconcile_brings_the_key_again(world: World) -> None:
    def reconcile(key: ObjectKey) -> None:
        if not world.worked_on:
            world.queue.add(key)
        world.worked_on.append(key)

    worker = Worker(
        "DatabaseBackup", world.queue, reconcile, metrics=world.counts, clock=world.clock
    )
    world.queue.add(SHOP)

    worker.process_next()
    worker.process_next()

    assert world.worked_on == [SHOP, SHOP]
    assert len(world.queue) == 0


def test_every_record_of_a_reconcile_names_its_object(
    world: World, lines: Callable[[], list[dict[str, Any]]]
) -> None:
    def reconcile(_key: ObjectKey) -> None:
        logging.getLogger("deep").info("applied")
        raise ApiConflict("changed")

    worker = Worker(
        "DatabaseBackup",
        world.queue,
        reconcile,
        metrics=world.counts,
        clock=world.clock,
        new_id=lambda: "r-7",
    )
    world.queue.add(SHOP)

    worker.process_next()
    logging.getLogger("deep").info("idle")

    *inside, outside = lines()
    names = {"kind": "DatabaseBackup", "namespace": "db", "name": "shop", "reconcile_id": "r-7"}
    assert [line["msg"] for line in inside] == ["applied", "reconcile failed, trying again"]
    assert all(names.items() <= line.items() for line in inside)
    assert not names.keys() & outside.keys()


def test_each_reconcile_has_an_id_of_its_own(
    world: World, lines: Callable[[], list[dict[str, Any]]]
) -> None:
    worker = Worker(
        "DatabaseBackup", world.queue, lambda _: None, metrics=world.counts, clock=world.clock
    )
    for _ in range(2):
        world.queue.add(SHOP)
        worker.process_next()

    first, second = (line["reconcile_id"] for line in lines())

    assert first != second


@pytest.mark.parametrize(
    ("error", "level"),
    [
        (ApiConflict("changed"), "WARNING"),
        (DependencyMissing("no class gold"), "INFO"),
        (InvalidSpec("no such zone"), "ERROR"),
        (ChecksumMismatch("differs"), "ERROR"),
    ],
)
def test_a_known_error_is_told_once_by_its_reason_and_without_a_stack(
    world: World,
    error: BackupError,
    level: str,
    lines: Callable[[], list[dict[str, Any]]],
) -> None:
    world.work_on(SHOP, error)

    (line,) = lines()
    assert (line["level"], line["reason"], line["error"]) == (level, error.reason, str(error))
    assert "stack" not in line


def _all_errors() -> set[type[BackupError]]:
    return {
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, BackupError)
    }


@pytest.mark.parametrize("kind", sorted(_all_errors(), key=lambda kind: kind.__name__))
def test_what_comes_again_by_itself_is_what_the_taxonomy_calls_retriable(
    kind: type[BackupError],
) -> None:
    error = ApiThrottled("x", 1.0) if kind is ApiThrottled else kind("x")

    outcome = outcome_of(error)

    comes_again = outcome in {Outcome.RETRIED, Outcome.WAITING}
    assert comes_again == kind.retriable
    is_unclassified = kind in {BackupError, Cancelled}
    assert (outcome is Outcome.UNEXPECTED) == is_unclassified


def test_what_was_added_before_the_end_is_still_worked_on(world: World) -> None:
    world.queue.add(SHOP)
    world.queue.add(TILL)
    world.queue.shut_down()

    while world.worker.process_next():
        pass

    assert world.worked_on == [SHOP, TILL]


def test_an_idle_worker_ends_with_the_queue(world: World) -> None:
    thread = threading.Thread(target=world.worker.process_next, daemon=True)
    thread.start()
    world.clock.wait_for_waiters(1)

    world.queue.shut_down()
    thread.join(5)

    assert not thread.is_alive()


def test_workers_beside_each_other_never_share_an_object() -> None:
    queue = WorkQueue[ObjectKey](ExponentialPerKey(), clock=SystemClock())
    counts = Counts()
    keys = [ObjectKey("db", f"n{number}") for number in range(5)]
    locks = {key: threading.Lock() for key in keys}
    tries = Counter[ObjectKey]()

    def reconcile(key: ObjectKey) -> None:
        if not locks[key].acquire(blocking=False):
            raise AssertionError(f"{key} is worked on twice")
        try:
            tries[key] += 1
            if tries[key] % 3 == 0:
                raise ApiConflict("changed")
        finally:
            locks[key].release()

    def work() -> None:
        worker = Worker("Thing", queue, reconcile, metrics=counts, clock=SystemClock())
        while worker.process_next():
            pass

    workers = [threading.Thread(target=work) for _ in range(4)]
    for thread in workers:
        thread.start()
    for _ in range(200):
        for key in keys:
            queue.add(key)
    queue.shut_down()
    for thread in workers:
        thread.join(20)

    assert counts.outcomes[Outcome.UNEXPECTED] == 0
    assert set(tries) == set(keys)
