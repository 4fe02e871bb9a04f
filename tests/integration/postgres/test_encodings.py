"""Databases whose texts have no form in UTF-8 come back byte for byte."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engines.interface import Target
from tests.fakes.streams import MemorySink, MemorySource
from tests.servers.postgres import PostgresServer
from tests.servers.postgres_engine import a_context, an_engine

MakeDatabase = Callable[[str], str]


@pytest.fixture
def a_database_in(postgres16: PostgresServer) -> Iterator[MakeDatabase]:
    made = []

    def make(encoding: str) -> str:
        name = f"t_{secrets.token_hex(4)}"
        with postgres16.connect() as connection:
            connection.execute(
                f"CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}' "
                "LC_COLLATE 'C' LC_CTYPE 'C'"
            )
        made.extend([name, f"{name}_new"])
        return name

    yield make
    with postgres16.connect() as connection:
        for name in made:
            connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@pytest.mark.parametrize("parallel", [1, 3])
@pytest.mark.parametrize(
    ("encoding", "data", "name"),
    [
        ("SQL_ASCII", r"\xe9", "Größe"),  # no UTF-8 at all
        ("WIN1252", r"\x8141", "Größe"),  # 0x81 is undefined there
        ("LATIN1", r"\xe9", "Größe"),
        ("EUC_JP", r"\xa1a1", "表"),
    ],
)
def test_every_byte_comes_back(
    postgres16: PostgresServer,
    a_database_in: MakeDatabase,
    tmp_path: Path,
    encoding: str,
    data: str,
    name: str,
    parallel: int,
) -> None:
    database = a_database_in(encoding)
    with postgres16.connect(database, client_encoding="UTF8") as connection:
        connection.execute(f'CREATE TABLE "{name}" (x text); CREATE TABLE plain (x text)')
        for table in (f'"{name}"', "plain"):
            connection.execute(
                f"INSERT INTO {table} SELECT convert_from('{data}'::bytea, '{encoding}') "
                "FROM generate_series(1, 5000)"
            )
        connection.execute(f"ALTER DATABASE {database} SET client_encoding = 'UTF8'")
    engine = an_engine(postgres16, database)
    sink = MemorySink()

    facts = engine.create_backup(sink, a_context(tmp_path), parallel=parallel)
    assert not engine.verify_streams(MemorySource(sink.streams), facts, a_context(tmp_path))
    engine.restore_backup(
        MemorySource(sink.streams),
        facts,
        a_context(tmp_path),
        target=Target(database=f"{database}_new", parallel=parallel),
    )

    assert facts.needs["encoding"] == encoding
    query = f"""
        SELECT current_setting('server_encoding'), md5(string_agg(encode(b, 'hex'), '')), count(*)
        FROM (SELECT convert_to(x, '{encoding}') b FROM "{name}"
              UNION ALL SELECT convert_to(x, '{encoding}') FROM plain) t
    """
    with (
        postgres16.connect(database, client_encoding="UTF8") as before,
        postgres16.connect(f"{database}_new", client_encoding="UTF8") as after,
    ):
        expected = before.execute(query).fetchone()
        assert expected[2] == 10_000
        assert after.execute(query).fetchone() == expected
