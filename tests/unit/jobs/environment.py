"""A job's real surroundings without a child process: two folders as locations."""

from __future__ import annotations

import io
import threading
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

from engines.interface import JobContext
from runner import config as runner_config
from runner.jobs.environment import JobEnvironment
from runner.jobs.events import Event, EventWriter
from runner.jobs.request import JobRequest
from runner.repository.catalogue import Catalogue
from runner.repository.layout import Layout
from runner.storage.filesystem import FilesystemStorage
from tests.builders import a_backup_manifest, a_config_folder
from tests.fakes.clock import FakeClock
from tests.unit.repository.samples import a_manifest, put_data

CLUSTER = "2f0b6e54-5f5c-4b1c-8f9d-000000000001"
#: Of the object that `a_backup_manifest` describes.
OWNER = Layout(namespace="db", name="shop")


class Surroundings:
    """Two locations, `one` and `two`, and jobs on them."""

    def __init__(
        self,
        folder: Path,
        *,
        now: datetime,
        storage: Mapping[str, Any] | None = None,
        **spec: Any,
    ) -> None:
        self.clock = FakeClock(now)
        self._stream = io.BytesIO()
        self.folders = {name: folder / name for name in ("one", "two")}
        for path in self.folders.values():
            path.mkdir()
        self.config_folder = a_config_folder(
            folder / "config",
            backup=a_backup_manifest(**spec),
            cluster=CLUSTER,
            storage={
                "backupLocations": [
                    {"name": name, "storageType": "filesystem", "path": str(path)}
                    for name, path in self.folders.items()
                ],
                **(storage or {}),
            },
        )
        self._scratch = folder / "scratch"
        self._scratch.mkdir()

    def store(self, name: str, number: int, started_at: datetime) -> None:
        """Put a backup into a location."""
        catalogue = self.catalogue(name)
        put_data(catalogue, self.storage(name), number)
        catalogue.commit(a_manifest(number, started_at=started_at))

    @property
    def events(self) -> list[Mapping[str, Any]]:
        return [orjson.loads(line) for line in self._stream.getvalue().splitlines()]

    def told(self, kind: str) -> list[Event]:
        return [event for event in self.events if event["event"] == kind]

    def job(self, request: JobRequest) -> JobEnvironment:
        events = EventWriter(self._stream)
        return JobEnvironment(
            request=request,
            config=runner_config.load(self.config_folder),
            context=JobContext(
                cancelled=threading.Event(), report=events.progress, scratch=self._scratch
            ),
            events=events,
            clock=self.clock,
        )

    def catalogue(self, name: str) -> Catalogue:
        return Catalogue(self.storage(name), OWNER)

    def storage(self, name: str) -> FilesystemStorage:
        return FilesystemStorage(name, self.folders[name])
