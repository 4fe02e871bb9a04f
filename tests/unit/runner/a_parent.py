"""A runner's parent whose jobs are stand-ins, and what it told."""

from __future__ import annotations

import json
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import yaml

from controller.api.status import DatabaseBackupStatus
from controller.process.clock import Clock
from runner import config as runner_config
from runner.jobs.request import JobRequest
from runner.outcome import JobKind
from runner.parent import Parent, Settings
from runner.ports import LastStatus, OnLost, Overtaken
from tests.builders import a_backup_manifest, a_config_folder
from tests.fakes.clock import START, FakeClock
from tests.unit.jobs.stand_in import command

#: What a look finds when nothing is stored yet.
NOTHING: dict[str, Any] = {"at": "2026-11-23T10:00:00Z", "states": []}
HEALTHY = {"name": "one", "healthy": True, "checkedAt": "2026-11-23T10:00:00Z"}


def stored(hours_ago: int) -> dict[str, Any]:
    """What a look finds when there is one backup."""
    newest = (START - timedelta(hours=hours_ago)).isoformat().replace("+00:00", "Z")
    state = HEALTHY | {"storedBackups": 1, "lastBackupAt": newest, "newestRestorableAt": newest}
    complete = {"id": "x", "startedAt": newest, "locations": ["one"]}
    return NOTHING | {
        "states": [state],
        "storedBackups": 1,
        "newestAt": newest,
        "complete": complete,
    }


def a_job(inspection: dict[str, Any] | None = None, *, other: str = "end()") -> str:
    """A stand-in that looks (and finds `inspection`), or else does `other`."""
    event = json.dumps({"event": "inspection", "inspection": inspection})
    told = f"    say(json.loads({event!r}))\n" if inspection else ""
    return f"if request['kind'] == 'inspect':\n{told}    end()\n{other}\n"


class RecordingFence:
    def __init__(self) -> None:
        self.calls: list[float | None] = []
        self.lost: Overtaken | None = None

    def acquire(self, stop: threading.Event, on_lost: OnLost) -> bool:
        self.on_lost = on_lost
        return True

    def confirm(self) -> bool:
        if self.lost:
            raise self.lost
        return True

    def busy_until(self, deadline_s: float | None) -> None:
        self.calls.append(deadline_s)

    def release(self) -> None:
        self.calls.append(-1)


class Order:
    """A `DeletionOrder` that a test gives."""

    is_ordered = False

    def is_given(self) -> bool:
        return self.is_ordered


class Runner:
    """A parent, and what it told."""

    def __init__(self, folder: Path, body: str, *, clock: Clock | None = None, **spec: Any) -> None:
        self.folder = a_config_folder(folder / "config", backup=a_backup_manifest(**spec))
        self.clock = FakeClock()
        self.fence = RecordingFence()
        self.status = LastStatus()
        self.order = Order()
        self.parent = Parent(
            Settings(
                config=self.folder,
                listen="127.0.0.1:0",
                control_socket=folder / "run" / "control.sock",
                grace_s=600,
            ),
            runner_config.load(self.folder),
            clock or self.clock,
            self.fence,
            self.status,
            self.order,
        )
        self.started: list[JobRequest] = []
        slot = self.parent._slot
        slot._command = command(body)
        on_start = slot._on_start

        def start(request: JobRequest, at: Any) -> None:
            self.started.append(request)
            on_start(request, at)

        slot._on_start = start

    def resume(self, former: DatabaseBackupStatus) -> None:
        """What `run` does with a former runner's status before its first step."""
        self.parent._former = former
        self.parent._reports.resume(former)

    def step(self) -> float:
        """One step, and what it started to its end."""
        pause_s = self.parent.step()
        self.settle()
        return pause_s

    def settle(self) -> None:
        """Wait until no job runs, those that follow a lost one included."""
        while True:
            if not self.parent._slot.join(20):
                self.parent._slot.cancel()
                raise AssertionError("the job does not end")
            if self.parent._slot.running is None:
                return

    @property
    def kinds(self) -> list[JobKind]:
        return [request.kind for request in self.started]

    def configure(self, **spec: Any) -> None:
        (self.folder / "backup.yaml").write_text(yaml.safe_dump(a_backup_manifest(**spec)))

    def metric(self, name: str, label: str = "") -> float:
        lines = self.parent.metrics.render().decode().splitlines()
        (line,) = [line for line in lines if line.startswith(name) and label in line]
        return float(line.rpartition(" ")[2])
