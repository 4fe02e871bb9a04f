"""A control server with a slot of stand-ins behind it, and a client."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from runner.control import ControlClient, ControlServer
from runner.jobs.events import Event
from runner.jobs.request import JobRequest
from runner.outcome import JobKind
from runner.ports import Confirm
from tests.unit.jobs.stand_in import Told

LONG = """
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


def kinds(events: list[Event]) -> list[str]:
    return [event["event"] for event in events]


def until_running(served: Served) -> None:
    deadline_mono = time.monotonic() + 20
    while served.told.slot.progress is None:
        assert time.monotonic() < deadline_mono
        time.sleep(0.01)
