"""Fixtures: one server per family, series and run; one schema per test."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Iterator

import pytest

from tests.servers import mysql
from tests.servers.fixtures import given
from tests.servers.mysql import MysqlServer
from tests.servers.provider import ServerMissing


@pytest.fixture(scope="session")
def mariadb_10_11() -> Iterator[MysqlServer]:
    yield from given(mysql.running("mariadb", "10.11"))


@pytest.fixture(scope="session")
def mariadb_11_8() -> Iterator[MysqlServer]:
    yield from given(mysql.running("mariadb", "11.8"))


@pytest.fixture(scope="session")
def mysql_8_4() -> Iterator[MysqlServer]:
    """No Debian has it: not even where servers are required is it always to be had."""
    with contextlib.ExitStack() as stack:
        try:
            server = stack.enter_context(mysql.running("mysql", "8.4"))
        except ServerMissing as missing:
            pytest.skip(f"{missing}: name the folder of its programs in MYSQL_BIN_DIRS")
        yield server


@pytest.fixture(scope="session")
def mysql_9_7() -> Iterator[MysqlServer]:
    yield from given(mysql.running("mysql", "9.7"))


def fixture_of(family: str, series: str) -> str:
    return f"{family}_{series.replace('.', '_')}"


#: One of each family that is always there: what does not depend on the series.
ONE_OF_EACH = ("mariadb_11_8", "mysql_9_7")


@pytest.fixture(params=ONE_OF_EACH)
def mysql_server(request: pytest.FixtureRequest) -> MysqlServer:
    """Each family in turn."""
    server: MysqlServer = request.getfixturevalue(request.param)
    return server


@pytest.fixture
def a_schema() -> Iterator[Callable[..., str]]:
    """Makes empty schemas; they and what restores made of them go with the test."""
    made: list[tuple[MysqlServer, str]] = []

    def make(server: MysqlServer, *, prefix: str = "t") -> str:
        name = f"{prefix}_{secrets.token_hex(4)}"
        server.run(f"CREATE DATABASE `{name}` CHARACTER SET utf8mb4")
        made.append((server, name))
        return name

    yield make
    for server, name in made:
        for (found,) in server.run("SHOW DATABASES"):
            if found == name or found.startswith((f"{name}_", "dbb_restore_")):
                server.run(f"DROP DATABASE `{found}`")
