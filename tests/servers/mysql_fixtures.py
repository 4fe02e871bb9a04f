"""Fixtures: one server per family, series and run; one schema per test."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Iterable, Iterator

import pytest

from tests.servers import mysql, series
from tests.servers.mysql import MysqlServer
from tests.servers.provider import ServerMissing, skip_or_fail

_ID = "{0[0]}{0[1]}".format
ServerOf = Callable[[str, str], MysqlServer]
#: Family and series of all that this run covers; and of each family the newest.
EVERY = [(family, one) for family, found in series.covered().items() for one in found]
NEWEST = {family: found[-1] for family, found in series.covered().items() if found}


def newest(family: str) -> str:
    """The newest series of a family that this run covers; the test is skipped if it covers none."""
    if family not in NEWEST:
        pytest.skip(f"{series.VARIABLE} names no {family}")
    return NEWEST[family]


def skip_unless_covered(family: str, of_series: str) -> None:
    if (family, of_series) not in EVERY:
        command = series.how_to_test(family, of_series)
        pytest.skip(f"this run does not cover {family} {of_series}: {command}")


def on(servers: Iterable[tuple[str, str]]) -> pytest.MarkDecorator:
    """Run a test with the fixture `mysql_server` on each of these, by family and series."""
    return pytest.mark.parametrize("mysql_server", servers, indirect=True, ids=_ID)


def on_newest(family: str) -> pytest.MarkDecorator:
    """Run a test with the fixture `mysql_server` on what it is about."""
    return on([(family, "")])


@pytest.fixture(scope="session")
def server_of() -> Iterator[ServerOf]:
    """The server of a family and series, started once; the test of a missing one skips or fails."""
    started: dict[tuple[str, str], MysqlServer] = {}
    with contextlib.ExitStack() as stack:

        def start(family: str, of_series: str) -> MysqlServer:
            key = family, of_series
            if key not in started:
                try:
                    started[key] = stack.enter_context(mysql.running(*key))
                except ServerMissing as missing:
                    if key not in EVERY:  # the other one of a pair
                        pytest.skip(f"{missing}: {missing.how_to_get}")
                    skip_or_fail(missing)
            return started[key]

        yield start


@pytest.fixture(params=NEWEST.items(), ids=_ID)
def mysql_server(request: pytest.FixtureRequest, server_of: ServerOf) -> MysqlServer:
    """Each family in turn."""
    family, of_series = request.param
    return server_of(family, of_series or newest(family))


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
                server.run("SET foreign_key_checks = 0", f"DROP DATABASE `{found}`")
