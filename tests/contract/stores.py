"""Engines whose database stores by itself, as the contract sees them.

A new one adds a class that keeps to `Store` and a line in BENCHES, and is covered.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pytest

from controller.api.locations import BackupLocation
from engines.external_store import Collection, ExternalStore, StoredLayer
from engines.interface import BackupFacts, JobContext, Progress, Restored, Target
from tests.servers.cockroach.fixtures import VERSIONS
from tests.servers.cockroach.store import CockroachStore
from tests.servers.postgres_engine import a_context

T = TypeVar("T")


class Store(Protocol):
    """A database, a bucket, and the engine between them.

    Attributes:
        engine: for a user that may do everything.
        database: has a table of keys and values.
        location, parent: where the collections of a test lie.
    """

    engine: ExternalStore
    database: str
    location: BackupLocation
    parent: str

    # -- engines ------------------------------------------------------------------

    def engine_of(self, user: str) -> ExternalStore:
        """The engine for a user that is made for it and has no right."""
        ...

    def engine_for(self, database: str) -> ExternalStore: ...

    def engine_at(self, port: int) -> ExternalStore:
        """The engine for another port of loopback."""
        ...

    # -- the database -----------------------------------------------------------------

    def run(self, statement: str) -> None:
        """Run a statement that the engine named as a cure."""
        ...

    def put(self, key: str, value: str) -> None: ...

    def delete(self, key: str) -> None: ...

    def move(self, source: str, target: str, amount: int) -> None:
        """Take from one number and give to another, in one transaction."""
        ...

    def new_table(self) -> None: ...

    def new_view(self, name: str) -> None:
        """Of the table of keys and values."""
        ...

    def count(self, database: str, name: str) -> int:
        """How many rows a table or view has."""
        ...

    def new_database(self, name: str) -> None:
        """An empty one."""
        ...

    def give_to(self, user: str) -> None:
        """Let a new user own the database."""
        ...

    def rows(self, database: str) -> Mapping[str, str]: ...

    def databases(self) -> set[str]: ...

    def now(self) -> datetime: ...

    # -- what it does by itself -----------------------------------------------------

    def jobs(self) -> Sequence[str]:
        """The status of every job about the bucket, in the order in which they were begun."""
        ...

    def slow_jobs(self) -> AbstractContextManager[Callable[[], None]]:
        """In the block no job comes to its end soon, until what it gives is called."""
        ...

    def slow_looks(self) -> AbstractContextManager[Callable[[], None]]:
        """The same for looks for files; skips where that cannot be had."""
        ...

    def said(self) -> Sequence[str]:
        """All that the database shows of what it was asked, or has logged."""
        ...

    # -- the bucket -----------------------------------------------------------------

    def objects(self) -> Mapping[str, bytes]: ...

    def data_of(self, collection: Collection) -> Sequence[str]:
        """Keys of the objects that hold rows."""
        ...

    def write(self, key: str, body: bytes) -> None: ...

    def remove(self, key: str) -> None: ...

    def secrets(self) -> Sequence[str]: ...


#: How to make a store, and what it is run on.
BENCHES: Mapping[str, tuple[Callable[..., Store], Sequence[Any]]] = {
    "cockroach": (CockroachStore.of, (*VERSIONS, "real")),
}


class Bench:
    """One store, with a collection and the contexts of one test's jobs."""

    def __init__(self, store: Store, collection: Collection, folder: Path) -> None:
        self.store, self.collection, self._folder = store, collection, folder
        self.engine = store.engine
        self.reports: list[Progress] = []
        self._lock = threading.Lock()  # one context has its folder before the next looks for one

    def context(self, cancelled: threading.Event | None = None) -> JobContext:
        with self._lock:
            return a_context(self._folder, cancelled=cancelled, report=self.reports.append)

    def back_up(self, since: StoredLayer | None = None) -> StoredLayer:
        facts = since.facts if since else None
        return self.engine.store_layer(self.collection, self.context(), since=facts)

    def layers(self) -> Sequence[StoredLayer]:
        return self.engine.stored_layers(self.collection, self.context())

    def restore(
        self,
        layer: StoredLayer,
        into: str,
        *,
        at: datetime | None = None,
        engine: ExternalStore | None = None,
        facts: BackupFacts | None = None,
        **target: Any,
    ) -> Restored:
        return (engine or self.engine).restore_layer(
            self.collection,
            facts or layer.facts,
            self.context(),
            at=at or layer.facts.coverage.end,
            target=Target(**{"database": into, "label": "ab12", **target}),
        )

    def state(self) -> object:
        """What no look may change."""
        databases = self.store.databases()
        rows = self.store.rows(self.store.database)
        return databases, rows, list(self.store.jobs()), sorted(self.store.objects())

    def assert_nothing_half_made(self) -> None:
        assert not [name for name in self.store.databases() if name.startswith("dbb_")]
        ended = {"succeeded", "failed", "canceled"}
        assert not set(self.store.jobs()) - ended


def benches() -> Iterator[Any]:
    """A parameter for each engine and each server that it is run on."""
    for name, (make, servers) in BENCHES.items():
        for server in servers:
            label = ".".join(map(str, server)) if isinstance(server, tuple) else server
            yield pytest.param((make, server), id=f"{name}-{label}")


@contextmanager
def in_a_thread(work: Callable[[], T], go: Callable[[], None]) -> Iterator[Future[T]]:
    """Do it beside the block, which waits for it at its end.

    Args:
        go: what lets it come to an end if the block fails.
    """
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(work)
        try:
            yield done
        except BaseException:
            go()
            raise
