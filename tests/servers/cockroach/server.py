"""A server to test against, whichever it is, and the engine that is bound to it."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator, Mapping
from typing import Any

from attrs import frozen

from controller.api.v1 import BackupLocation, CockroachSpec, StorageType
from engines.cockroach.engine import CockroachEngine
from engines.cockroach.versions import version_of
from engines.interface import InitOptions
from tests.builders import a_secret
from tests.servers.cockroach.standin import StandIn
from tests.servers.postgres_engine import reveal


@frozen(kw_only=True)
class CockroachServer:
    """A running server.

    Args:
        stand_in: what a test may do to it; None of a real one.
    """

    host: str
    port: int
    user: str = "root"
    password: str | None = None
    stand_in: StandIn | None = None

    def execute(self, statement: str, *arguments: str) -> list[tuple[Any, ...]]:
        """Run one statement, to arrange and to look."""
        import psycopg

        with psycopg.Connection.connect(
            host=self.host,
            port=self.port,
            user=self.user,
            password=self.password,
            dbname="system",
            autocommit=True,
            sslmode="prefer",
            gssencmode="disable",
            prepare_threshold=None,
        ) as connection:
            cursor = connection.execute(statement, arguments or None)
            return cursor.fetchall() if cursor.description else []

    @property
    def version(self) -> tuple[int, int]:
        ((said,),) = self.execute("SELECT version()")
        found = version_of(said)
        return found.year, found.release

    def new_database(self) -> str:
        """A database for one test, with a table `t` of two columns."""
        name = f"d_{secrets.token_hex(5)}"
        self.execute(f"CREATE DATABASE {name}")
        self.new_table(name, "t")
        return name

    def new_table(self, database: str, name: str) -> None:
        self.execute(f'CREATE TABLE {database}.public."{name}" (k STRING PRIMARY KEY, v STRING)')

    def put(self, database: str, key: str, value: str, *, table: str = "t") -> None:
        self.execute(f'UPSERT INTO {database}.public."{table}" VALUES (%s, %s)', key, value)

    def move(self, database: str, source: str, target: str, amount: int) -> None:
        """Two numbers change in one transaction, their sum does not."""
        self.execute(
            f"UPDATE {database}.public.t SET v = (v::INT + CASE k WHEN %s THEN -(%s::INT) "
            "ELSE %s::INT END)::STRING WHERE k IN (%s, %s)",
            *(source, str(amount), str(amount), source, target),
        )

    def jobs(self) -> list[tuple[str, str]]:
        """Status and description of every backup and restore, in the order of their begin."""
        found: list[tuple[str, str]] = self.execute(
            "SELECT status, description FROM [SHOW JOBS SELECT job_id FROM [SHOW JOBS]] "
            "WHERE job_type IN ('BACKUP', 'RESTORE') ORDER BY job_id"
        )
        return found

    def delete(self, database: str, key: str) -> None:
        self.execute(f"DELETE FROM {database}.public.t WHERE k = %s", key)

    def rows(self, database: str, *, table: str = "t") -> dict[str, str]:
        found = self.execute(f'SELECT k, v FROM "{database}".public."{table}" ORDER BY k')
        return dict(found)

    def now(self) -> Any:
        ((moment,),) = self.execute("SELECT clock_timestamp()")
        return moment

    def databases(self) -> set[str]:
        return {row[0] for row in self.execute("SHOW DATABASES")}

    def spec(self, database: str, **fields: Any) -> CockroachSpec:
        return CockroachSpec(
            **{"database": database, "host": self.host, "port": self.port, "user": self.user}
            | fields
        )


@contextlib.contextmanager
def standing_in(**options: Any) -> Iterator[CockroachServer]:
    """The stand-in; see `StandIn` for the options."""
    stand_in = StandIn(**options)
    try:
        yield CockroachServer(host="127.0.0.1", port=stand_in.port, stand_in=stand_in)
    finally:
        stand_in.close()


def a_location(server: Any, bucket: str, **fields: Any) -> BackupLocation:
    """A bucket of a test's S3 server."""
    return BackupLocation(
        **{
            "storage_type": StorageType.S3,
            "storage_endpoint": server.endpoint,
            "storage_bucket": bucket,
            "storage_access_key_id": a_secret(server.access_key),
            "storage_secret_access_key": a_secret(server.secret_key),
            "storage_location": "us-east-1",
        }
        | fields
    )


def an_engine(
    server: CockroachServer,
    database: str,
    *locations: BackupLocation,
    environ: Mapping[str, str] | None = None,
    **fields: Any,
) -> CockroachEngine:
    """The engine for a database of the server."""
    engine = CockroachEngine()
    engine.init(
        InitOptions(
            namespace="db",
            name="shop",
            spec=server.spec(database, **fields),
            resolve=reveal,
            environ=environ or {},
            locations=locations,
        )
    )
    return engine
