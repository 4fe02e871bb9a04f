from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.repository.catalogue import Catalogue
from runner.storage.base import Storage
from runner.storage.filesystem import FilesystemStorage
from runner.storage.memory import MemoryStorage
from tests.unit.repository.samples import LAYOUT, RecordingStorage


@pytest.fixture(params=["memory", "filesystem"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RecordingStorage]:
    inner: Storage = MemoryStorage()
    if request.param == "filesystem":
        inner = FilesystemStorage("disk", tmp_path)
    yield RecordingStorage(inner)
    inner.close()


@pytest.fixture
def catalogue(storage: RecordingStorage) -> Catalogue:
    return Catalogue(storage, LAYOUT)
