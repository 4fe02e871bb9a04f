"""Fixtures: a world per test, on a server of its own or on the real one."""

from __future__ import annotations

import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engines.cockroach.engine import CockroachEngine
from tests.integration.cockroach.world import CockroachWorld
from tests.integration.jobs.places import Place, minio_bucket, moto_bucket
from tests.integration.jobs.world import base_environ
from tests.servers.cockroach.server import CockroachServer, a_location, an_engine
from tests.servers.moto import MotoServer
from tests.servers.proxy import TcpProxy

MakeWorld = Callable[..., CockroachWorld]


@pytest.fixture
def make_world(request: pytest.FixtureRequest) -> Iterator[MakeWorld]:
    """Makes worlds; each is checked for leftovers, and removed, at the end.

    `places` are kinds (s3, minio) or places.
    """
    made: list[CockroachWorld] = []

    def make(server: CockroachServer, *places: str | Place) -> CockroachWorld:
        folder = Path(tempfile.mkdtemp(prefix="world-"))
        for name in ("tmp", "run"):
            (folder / name).mkdir(mode=0o700)
        world = CockroachWorld(
            folder=folder,
            server=server,
            database=server.new_database(),
            places=[_place(request, one) for one in places or ("s3",)],
            environ=base_environ(folder),
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
            shutil.rmtree(world.folder, ignore_errors=True)


def _place(request: pytest.FixtureRequest, wanted: str | Place) -> Place:
    if not isinstance(wanted, str):
        return wanted
    name = f"{wanted}-{secrets.token_hex(2)}"
    if wanted == "s3":
        return moto_bucket(request.getfixturevalue("moto_server"), name)
    return minio_bucket(request.getfixturevalue("minio_server"), name)


@pytest.fixture
def world(cockroach: CockroachServer, make_world: MakeWorld) -> CockroachWorld:
    """One encrypted bucket of MinIO; on the newest stand-in, and on a real server."""
    made = make_world(cockroach, "minio")
    made.encrypt()
    return made


@pytest.fixture
def one(stand_in: CockroachServer, make_world: MakeWorld) -> CockroachWorld:
    """One encrypted bucket."""
    world = make_world(stand_in, "s3")
    world.encrypt()
    return world


@pytest.fixture
def two_places(stand_in: CockroachServer, make_world: MakeWorld) -> CockroachWorld:
    """Two encrypted buckets, of moto and of MinIO."""
    made = make_world(stand_in, "s3", "minio")
    made.encrypt()
    return made


@pytest.fixture
def way(stand_in: CockroachServer) -> Iterator[TcpProxy]:
    """Between an engine and the stand-in."""
    with TcpProxy(stand_in.port) as found:
        yield found


@pytest.fixture
def engine(stand_in: CockroachServer, moto_server: MotoServer, way: TcpProxy) -> CockroachEngine:
    """One that goes that way."""
    location = a_location(moto_server, moto_server.new_bucket())
    return an_engine(stand_in, stand_in.new_database(), location, port=way.port)
