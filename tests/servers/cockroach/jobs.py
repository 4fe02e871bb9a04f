"""The stand-in's jobs: they run in threads of their own, whoever began them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import datetime

from attrs import Factory, define

from tests.servers.cockroach.mvcc import Clock
from tests.servers.cockroach.wire import SqlError

#: On a machine that is busy with other tests.
_BUSY_S = 60.0
#: Told by a job how far it is; may wait, and raises what ends the job.
Gate = Callable[[float], None]
#: What a job does. What it gives publishes what it made, once nothing can end it any more.
Work = Callable[[int, Gate], Callable[[], None] | None]


class _Ended(Exception):
    """The job goes no further: it was cancelled, or a test wants it so."""

    def __init__(self, status: str, error: str) -> None:
        self.status, self.error = status, error


@define
class Job:
    """A row of SHOW JOBS."""

    id: int
    kind: str
    description: str
    user: str
    created: datetime
    status: str = "running"
    error: str = ""
    done: float = 0.0
    cancelled: threading.Event = Factory(threading.Event)
    ended: threading.Event = Factory(threading.Event)


@define
class Fate:
    """What a test has in mind for the next job: at `at` it gets `status`, with `error`."""

    status: str
    error: str
    at: float = 0.5


class Jobs:
    """All jobs of one stand-in.

    `hold` lets running jobs stop where they are until it is cleared.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()  # guards the two below
        self._jobs: dict[int, Job] = {}
        self._threads: list[threading.Thread] = []
        self.go = threading.Event()
        self.go.set()
        self.fates: dict[str, list[Fate]] = {}

    def all(self) -> list[Job]:
        with self._lock:
            return list(self._jobs.values())

    def get(self, number: int) -> Job:
        with self._lock:
            if number not in self._jobs:
                raise SqlError("42704", f"job with ID {number} does not exist")
            return self._jobs[number]

    def start(
        self,
        kind: str,
        description: str,
        user: str,
        work: Work,
        *,
        at_end: Callable[[], None] = lambda: None,
    ) -> Job:
        created = self._clock.now()
        job = Job(int(created.timestamp() * 1_000_000), kind, description, user, created)
        fates = self.fates.get(kind)
        fate = fates.pop(0) if fates else None
        thread = threading.Thread(
            target=self._run, args=(job, work, fate, at_end), name=f"stand-in-{kind.lower()}"
        )
        with self._lock:
            self._jobs[job.id] = job
            self._threads.append(thread)
        thread.start()
        return job

    def _run(self, job: Job, work: Work, fate: Fate | None, at_end: Callable[[], None]) -> None:
        def gate(done: float) -> None:
            job.done = done
            while not self.go.wait(0.02) and not job.cancelled.is_set():
                continue
            if job.cancelled.is_set():
                raise _Ended("canceled", "job canceled by user")
            if fate and done >= fate.at:
                if fate.status == "paused":
                    job.status, job.error = fate.status, fate.error
                    job.cancelled.wait()
                    raise _Ended("canceled", fate.error)
                raise _Ended(fate.status, fate.error)

        status, error = "succeeded", ""
        try:
            gate(0.0)
            publish = work(job.id, gate)
            gate(1.0)
            if publish is not None:
                publish()
        except _Ended as end:
            status, error = end.status, end.error
        except SqlError as failure:
            status, error = "failed", str(failure)
        except Exception as failure:  # noqa: BLE001 - thread top: whatever it is ends the job
            status, error = "failed", f"{type(failure).__name__}: {failure}"
        # What it has made is gone again before anybody sees that it has ended.
        at_end()
        job.status, job.error = status, error
        job.ended.set()

    def cancel(self, number: int) -> None:
        job = self.get(number)
        if job.ended.is_set():
            raise SqlError(
                "XXUUU", f"job {number}: cannot be requested to be canceled: {job.status}"
            )
        job.cancelled.set()

    def close(self) -> None:
        for job in self.all():
            job.cancelled.set()
        self.go.set()
        for thread in self._threads:
            thread.join()

    def wait_for(self, kind: str) -> Job:
        """The newest job of a kind that has not ended, once there is one."""
        deadline = time.monotonic() + _BUSY_S
        while time.monotonic() < deadline:
            running = [job for job in self.all() if job.kind == kind and not job.ended.is_set()]
            if running:
                return running[-1]
            time.sleep(0.02)
        raise AssertionError(f"no {kind} job began")
