"""What every engine of streams keeps to, on each version. A new one adds a `Bench` and is covered.

What an engine keeps to whose database stores by itself is in test_store_contract.py.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from attrs import evolve, frozen

from controller.api.errors import (
    BackupError,
    ChecksumMismatch,
    DependencyMissing,
    InvalidSpec,
    StorageUnavailable,
    TargetExists,
)
from controller.api.secrets import Secret, SecretValue
from engines import registry
from engines.interface import InitOptions, Purpose, StreamEngine, Target
from tests.fakes.streams import MemorySink, MemorySource
from tests.servers import mysql_engine, mysql_samples, postgres, series
from tests.servers.mysql import MysqlServer
from tests.servers.mysql_fixtures import skip_unless_covered
from tests.servers.postgres import PostgresServer
from tests.servers.postgres_engine import a_context, an_engine
from tests.servers.postgres_samples import fill, fingerprint

PARALLEL = pytest.mark.parametrize("parallel", [1, 3])


@frozen(kw_only=True)
class Bench:
    """An engine on a real server, with data in `database`.

    Args:
        fresh_name: a name that is free. fingerprint: of a database by name.
        lose: drops a database by name.
    """

    engine: StreamEngine
    database: str
    fresh_name: str
    fingerprint: Callable[[str], object]
    lose: Callable[[str], None]
    exists: Callable[[str], bool]


def _postgres(request: pytest.FixtureRequest, version: int) -> Bench:
    server: PostgresServer = request.getfixturevalue(f"postgres{version}")
    database = request.getfixturevalue("a_database")(server)
    fill(server, database)

    def lose(name: str) -> None:
        with server.connect() as connection:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')

    def exists(name: str) -> bool:
        with server.connect() as connection:
            query = "SELECT EXISTS (SELECT FROM pg_database WHERE datname = %s)"
            return bool(connection.execute(query, (name,)).fetchone()[0])

    return Bench(
        engine=an_engine(server, database),
        database=database,
        fresh_name=f"{database}_fresh",
        fingerprint=lambda name: fingerprint(server, name),
        lose=lose,
        exists=exists,
    )


def _mysql_family(family: str) -> Callable[[pytest.FixtureRequest, str], Bench]:
    def make(request: pytest.FixtureRequest, version: str) -> Bench:
        skip_unless_covered(family, version)
        server: MysqlServer = request.getfixturevalue("server_of")(family, version)
        database = request.getfixturevalue("a_schema")(server)
        mysql_samples.fill(server, database)
        return Bench(
            engine=mysql_engine.an_engine(server, database),
            database=database,
            fresh_name=f"{database}_fresh",
            fingerprint=lambda name: mysql_samples.fingerprint(server, name),
            lose=lambda name: server.run(f"DROP DATABASE `{name}`"),
            exists=lambda name: (name,) in server.run("SHOW DATABASES"),
        )

    return make


#: How to make a bench, and the versions of the server that the engine is run on.
BENCHES = {
    "mariadb": (_mysql_family("mariadb"), series.SUPPORTED["mariadb"]),
    "mysql": (_mysql_family("mysql"), series.SUPPORTED["mysql"]),
    "postgres": (_postgres, postgres.MAJORS),
}


@pytest.fixture(
    params=[(name, v) for name, (_, versions) in BENCHES.items() for v in versions],
    ids="{0[0]}{0[1]}".format,
)
def bench(request: pytest.FixtureRequest) -> Bench:
    name, version = request.param
    make, _ = BENCHES[name]
    return make(request, version)


@PARALLEL
def test_what_was_backed_up_comes_back_under_another_name_and_its_own(
    bench: Bench, tmp_path: Path, parallel: int
) -> None:
    before = bench.fingerprint(bench.database)
    sink = MemorySink()

    facts = bench.engine.create_backup(sink, a_context(tmp_path), parallel=parallel)
    source = MemorySource(sink.streams)
    for name in (bench.fresh_name, bench.database):
        if name == bench.database:
            bench.lose(name)
        restored = bench.engine.restore_backup(
            source, facts, a_context(tmp_path), target=Target(database=name, parallel=parallel)
        )
        assert restored.counts == facts.counts

    assert bench.fingerprint(bench.fresh_name) == before
    assert bench.fingerprint(bench.database) == before


def test_facts_tell_what_a_restore_needs(bench: Bench, tmp_path: Path) -> None:
    sink = MemorySink()

    facts = bench.engine.create_backup(sink, a_context(tmp_path))

    assert facts.engine in registry.names()
    assert set(facts.streams) == set(sink.streams)
    assert facts.coverage.start == facts.coverage.end
    assert facts.coverage.start.utcoffset().total_seconds() == 0
    assert facts.coverage.lineage
    assert facts.counts
    assert bench.engine.by_hand(facts)


@pytest.mark.parametrize("fail_at", [0, 1, 50_000])
def test_a_sink_that_fails_at_a_byte_is_the_error(
    bench: Bench, tmp_path: Path, fail_at: int
) -> None:
    sink = MemorySink(fail_at=fail_at, error=StorageUnavailable("gone"))

    with pytest.raises(StorageUnavailable, match="gone"):
        bench.engine.create_backup(sink, a_context(tmp_path))


@PARALLEL
def test_a_source_that_fails_before_its_end_restores_nothing(
    bench: Bench, tmp_path: Path, parallel: int
) -> None:
    sink = MemorySink()
    facts = bench.engine.create_backup(sink, a_context(tmp_path), parallel=parallel)

    for name in facts.streams:
        source = MemorySource(sink.streams, {name: ChecksumMismatch("wrong")})
        target = Target(database=bench.fresh_name, parallel=parallel)
        with pytest.raises(ChecksumMismatch):
            bench.engine.restore_backup(source, facts, a_context(tmp_path), target=target)
        assert not bench.exists(bench.fresh_name)


def test_data_is_never_overwritten_unasked(bench: Bench, tmp_path: Path) -> None:
    sink = MemorySink()
    facts = bench.engine.create_backup(sink, a_context(tmp_path))
    target = Target(database=bench.database)

    problems = bench.engine.preflight(
        a_context(tmp_path), purpose=Purpose.RESTORE, facts=facts, target=target
    )

    assert problems
    with pytest.raises(TargetExists):
        bench.engine.restore_backup(
            MemorySource(sink.streams), facts, a_context(tmp_path), target=target
        )


def test_a_hostile_archive_is_a_clear_error(bench: Bench, tmp_path: Path) -> None:
    sink = MemorySink()
    facts = bench.engine.create_backup(sink, a_context(tmp_path))
    hostile = MemorySource(dict.fromkeys(facts.streams, b"\x00../../etc\xff" * 1000))

    assert bench.engine.verify_streams(hostile, facts, a_context(tmp_path))
    with pytest.raises(BackupError):
        bench.engine.restore_backup(
            hostile, facts, a_context(tmp_path), target=Target(database=bench.fresh_name)
        )
    assert not bench.exists(bench.fresh_name)
    for other in (evolve(facts, engine="other"), evolve(facts, engine_version="999")):
        with pytest.raises(BackupError):
            bench.engine.verify_streams(hostile, other, a_context(tmp_path))


@pytest.mark.parametrize("name", registry.names())
def test_init_refuses_a_section_that_is_not_its_own_and_does_no_io(name: str) -> None:
    def refuse(_value: SecretValue) -> Secret:
        raise DependencyMissing("the controller reads no tenant's secrets")

    with pytest.raises(InvalidSpec):
        registry.get(name).init(
            InitOptions(namespace="n", name="x", spec=object(), resolve=refuse, environ={})
        )
