"""Fixtures: a world per test around servers that are shared by the session."""

from __future__ import annotations

import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.integration.jobs.cluster import ClusterWorld
from tests.integration.jobs.places import (
    Folder,
    GcsBucket,
    Place,
    minio_bucket,
    moto_bucket,
)
from tests.integration.jobs.world import World, base_environ
from tests.integration.kube import definitions
from tests.servers.kubernetes import KubernetesServer
from tests.servers.postgres import PostgresServer
from tests.servers.proxy import TcpProxy

#: Random bytes in the large database: they cannot be compressed, so moving them takes time.
_LARGE_BYTES = 12 * 1024**2
_ROW_BYTES = 4096
#: A day a year: what is backed up by the schedule is the new object, at once.
_SCHEDULE = {"suspend": False, "backupCron": "0 3 1 1 *"}

_SMALL = r"""
CREATE TABLE customer (id int PRIMARY KEY, name text NOT NULL);
CREATE TABLE sale (id bigserial PRIMARY KEY, customer int REFERENCES customer, note text);
CREATE TABLE "; \! touch x" ("a""b" int PRIMARY KEY, "c'd" text);
CREATE INDEX sale_note ON sale (note);
CREATE VIEW "v; DROP TABLE customer" AS SELECT count(*) FROM sale;
INSERT INTO customer SELECT i, 'customer ' || i FROM generate_series(1, 500) i;
INSERT INTO sale (customer, note) SELECT i % 500 + 1, md5(i::text) FROM generate_series(1, 5000) i;
INSERT INTO "; \! touch x" SELECT i, E'\\! touch y' FROM generate_series(1, 20) i;
"""


def _template(server: PostgresServer, *, size_bytes: int) -> str:
    name = f"jobs_template_{secrets.token_hex(3)}"
    with server.connect() as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE template0")
    with server.connect(name) as connection:
        connection.execute(_SMALL)
        if size_bytes:
            connection.execute("CREATE TABLE bulk (id int, data bytea)")
            connection.execute("ALTER TABLE bulk ALTER data SET STORAGE EXTERNAL")
            with connection.cursor().copy("COPY bulk FROM STDIN") as copy:
                for number in range(size_bytes // _ROW_BYTES):
                    copy.write_row((number, secrets.token_bytes(_ROW_BYTES)))
    return name


def _drop(server: PostgresServer, prefix: str) -> None:
    with server.connect() as connection:
        names = connection.execute(
            "SELECT datname FROM pg_database WHERE starts_with(datname, %s)", (prefix,)
        ).fetchall()
        for (name,) in names:
            quoted = name.replace('"', '""')
            connection.execute(f'ALTER DATABASE "{quoted}" ALLOW_CONNECTIONS true')
            connection.execute(f'DROP DATABASE "{quoted}" WITH (FORCE)')


@pytest.fixture(scope="session")
def small_template(postgres16: PostgresServer) -> Iterator[str]:
    """A database with a few tables, and names that break careless quoting."""
    name = _template(postgres16, size_bytes=0)
    yield name
    _drop(postgres16, name)


@pytest.fixture(scope="session")
def large_template(postgres16: PostgresServer) -> Iterator[str]:
    """The same with some megabytes that cannot be compressed."""
    name = _template(postgres16, size_bytes=_LARGE_BYTES)
    yield name
    _drop(postgres16, name)


MakeWorld = Callable[..., World]


@pytest.fixture
def make_world(postgres16: PostgresServer, request: pytest.FixtureRequest) -> Iterator[MakeWorld]:
    """Makes worlds; each is checked for leftovers, and removed, at the end.

    `places` are kinds (folder, s3, minio, gcs; a kind may come twice) or places.
    """
    made: list[World] = []

    def make(*places: str | Place, large: bool = False) -> World:
        # Short, and outside of pytest's own folder: a socket's path has 107 bytes at most.
        folder = Path(tempfile.mkdtemp(prefix="world-"))
        for name in ("tmp", "run"):
            (folder / name).mkdir(mode=0o700)
        template = request.getfixturevalue("large_template" if large else "small_template")
        database = f"jobs_{secrets.token_hex(4)}"
        with postgres16.connect() as connection:
            connection.execute(f"CREATE DATABASE {database} TEMPLATE {template}")
        world = World(
            folder=folder,
            server=postgres16,
            database=database,
            places=_places(request, folder, places or ("folder",)),
            environ=base_environ(folder, POSTGRES_BIN_DIRS=str(postgres16.bin_dir)),
        )
        made.append(world)
        world.configure()
        return world

    yield make
    try:
        for world in made:
            world.assert_nothing_left()
    finally:
        for world in made:
            for runner in world.runners:
                runner.kill()
            _drop(postgres16, world.database)
            shutil.rmtree(world.folder, ignore_errors=True)


MakeCluster = Callable[..., ClusterWorld]

#: A day a year: what is backed up by the schedule is the new object, at once.
_YEARLY = {"suspend": False, "backupCron": "0 3 1 1 *"}


@pytest.fixture
def make_cluster(
    make_world: MakeWorld, kubernetes_server: KubernetesServer, namespace: str
) -> Iterator[MakeCluster]:
    """Makes worlds in a cluster; arguments as of `make_world`, and fields of the spec."""
    definitions.install(kubernetes_server)
    made: list[ClusterWorld] = []

    def make(
        *places: str | Place, large: bool = False, may_report: bool = True, **configured: Any
    ) -> ClusterWorld:
        world = make_world(*places, large=large)
        world.configure(metadata={"namespace": namespace}, **(_YEARLY | configured))
        cluster = ClusterWorld(world=world, server=kubernetes_server, namespace=namespace)
        cluster.create(may_report=may_report)
        made.append(cluster)
        return cluster

    yield make
    for cluster in made:
        cluster.let_go()


def _places(
    request: pytest.FixtureRequest, folder: Path, places: Sequence[str | Place]
) -> list[Place]:
    made: list[Place] = []
    for wanted in places:
        if not isinstance(wanted, str):
            made.append(wanted)
            continue
        count = sum(one.name.startswith(wanted) for one in made)
        name = f"{wanted}-{count + 1}" if count else wanted
        if wanted == "folder":
            (folder / name).mkdir()
            made.append(Folder(name, folder / name))
        elif wanted == "s3":
            made.append(moto_bucket(request.getfixturevalue("moto_server"), name))
        elif wanted == "minio":
            made.append(minio_bucket(request.getfixturevalue("minio_server"), name))
        elif wanted == "gcs":
            server = request.getfixturevalue("gcs_server")
            made.append(GcsBucket(name, server, server.new_bucket()))
        else:
            raise ValueError(wanted)
    return made


@pytest.fixture
def slow_database(postgres16: PostgresServer) -> Iterator[TcpProxy]:
    """The way to the database, which can be slowed, cut and blocked."""
    with TcpProxy(postgres16.port) as proxy:
        yield proxy
