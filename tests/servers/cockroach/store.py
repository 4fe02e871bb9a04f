"""A database of a CockroachDB cluster and a bucket of MinIO, as tests/contract asks for them."""

from __future__ import annotations

import contextlib
import io
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Self

import pytest

from engines.cockroach.engine import CockroachEngine
from engines.external_store import Collection
from tests.servers.cockroach import server as servers
from tests.servers.cockroach.server import CockroachServer, a_location, an_engine
from tests.servers.minio import MinioServer
from tests.servers.proxy import TcpProxy

#: So much of it lets a real cluster write for a minute.
_SLOW_BYTES_PER_S = 20_000.0
_SLOW_ROWS, _SLOW_ROW_BYTES = 60, 16_000


class CockroachStore:
    """See `tests.contract.stores.Store`."""

    parent = "p/db/shop/_data/"

    def __init__(self, server: CockroachServer, minio: MinioServer, way: TcpProxy) -> None:
        self.server, self._minio, self._way = server, minio, way
        self._bucket = minio.new_bucket()
        self.location = a_location(minio, self._bucket, storage_endpoint=way.endpoint)
        self.database = server.new_database()
        self.engine = self.engine_for(self.database)

    @classmethod
    @contextlib.contextmanager
    def of(cls, request: pytest.FixtureRequest, which: tuple[int, int] | str) -> Iterator[Self]:
        """On the stand-in as a version, or on the real server."""
        minio: MinioServer = request.getfixturevalue("minio_server")
        with contextlib.ExitStack() as stack:
            way = stack.enter_context(TcpProxy(minio.port))
            if isinstance(which, str):
                server = request.getfixturevalue("real_cockroach")
            else:
                server = stack.enter_context(servers.standing_in(version=which, shows_by_id="on"))
            yield cls(server, minio, way)

    # -- engines ------------------------------------------------------------------

    def engine_of(self, user: str) -> CockroachEngine:
        self.server.execute(f"CREATE USER {user}")
        return an_engine(self.server, self.database, self.location, user=user)

    def engine_for(self, database: str) -> CockroachEngine:
        return an_engine(self.server, database, self.location)

    def engine_at(self, port: int) -> CockroachEngine:
        return an_engine(self.server, self.database, self.location, port=port)

    # -- the database -----------------------------------------------------------------

    def run(self, statement: str) -> None:
        self.server.execute(statement)

    def put(self, key: str, value: str) -> None:
        self.server.put(self.database, key, value)

    def delete(self, key: str) -> None:
        self.server.delete(self.database, key)

    def move(self, source: str, target: str, amount: int) -> None:
        self.server.move(self.database, source, target, amount)

    def new_table(self) -> None:
        self.server.new_table(self.database, f"t_{secrets.token_hex(3)}")

    def new_view(self, name: str) -> None:
        place = f"{self.database}.public"
        self.server.execute(f"CREATE VIEW {place}.{name} AS SELECT k FROM {place}.t")

    def count(self, database: str, name: str) -> int:
        ((found,),) = self.server.execute(f'SELECT count(*) FROM "{database}".public."{name}"')
        return int(found)

    def new_database(self, name: str) -> None:
        self.server.execute(f"CREATE DATABASE {name}")

    def give_to(self, user: str) -> None:
        self.server.execute(f"CREATE USER {user}")
        self.server.execute(f"ALTER DATABASE {self.database} OWNER TO {user}")

    def rows(self, database: str) -> Mapping[str, str]:
        return self.server.rows(database)

    def databases(self) -> set[str]:
        return self.server.databases()

    def now(self) -> datetime:
        moment: datetime = self.server.now()
        return moment

    # -- what it does by itself -----------------------------------------------------

    def jobs(self) -> Sequence[str]:
        return [status for status, about in self.server.jobs() if self._bucket in about]

    @contextlib.contextmanager
    def slow_jobs(self) -> Iterator[Callable[[], None]]:
        if self.server.stand_in is not None:
            with _until_set(self.server.stand_in.jobs.go) as go:
                yield go
            return
        for number in range(_SLOW_ROWS):
            self.put(f"slow-{number}", secrets.token_hex(_SLOW_ROW_BYTES // 2))
        self._way.bytes_per_s = _SLOW_BYTES_PER_S
        try:
            yield self._hurry
        finally:
            self._hurry()

    def _hurry(self) -> None:
        self._way.bytes_per_s = None

    @contextlib.contextmanager
    def slow_looks(self) -> Iterator[Callable[[], None]]:
        if self.server.stand_in is None:
            pytest.skip("nothing makes a real cluster look slowly while it answers at once")
        with _until_set(self.server.stand_in.looks_end) as go:
            yield go

    def said(self) -> Sequence[str]:
        log = self.server.stand_in.log if self.server.stand_in else []
        return [*log, *(about for _, about in self.server.jobs())]

    # -- the bucket -----------------------------------------------------------------

    def objects(self) -> Mapping[str, bytes]:
        client = self._minio.client()
        found = {}
        for one in client.list_objects(self._bucket, recursive=True):
            with contextlib.closing(client.get_object(self._bucket, one.object_name)) as answer:
                found[one.object_name] = answer.read()
        return found

    def data_of(self, collection: Collection) -> Sequence[str]:
        return [
            key
            for key in self.objects()
            if key.startswith(collection.folder) and key.endswith(".sst") and "/data/" in key
        ]

    def write(self, key: str, body: bytes) -> None:
        self._minio.client().put_object(self._bucket, key, io.BytesIO(body), len(body))

    def remove(self, key: str) -> None:
        self._minio.client().remove_object(self._bucket, key)

    def secrets(self) -> Sequence[str]:
        return [self._minio.secret_key]


@contextlib.contextmanager
def _until_set(event: threading.Event) -> Iterator[Callable[[], None]]:
    event.clear()
    try:
        yield event.set
    finally:
        event.set()
