"""Two series of one family: what may differ between server, tools and backup, and what may not."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
from attrs import evolve, frozen

from controller.api.errors import PreflightFailed
from engines.interface import Purpose
from tests.integration.mysql.conftest import a_backup, left_behind, schemas
from tests.servers import series
from tests.servers.mysql import MysqlServer
from tests.servers.mysql_engine import an_engine
from tests.servers.mysql_fixtures import ServerOf
from tests.servers.mysql_samples import fill, fingerprint
from tests.servers.postgres_engine import a_context

AnySchema = Callable[..., str]
TITLES = {"mariadb": "MariaDB", "mysql": "MySQL"}


@frozen
class Pair:
    """Two servers of one family."""

    older: MysqlServer
    newer: MysqlServer


@pytest.fixture(
    params=[
        (family, *pair)
        for family, known in series.SUPPORTED.items()
        for pair in itertools.combinations(known, 2)
    ],
    ids="{0[0]}{0[1]}and{0[2]}".format,
)
def pair(request: pytest.FixtureRequest, server_of: ServerOf) -> Pair:
    family, older, newer = request.param
    return Pair(server_of(family, older), server_of(family, newer))


def tools_of(server: MysqlServer) -> dict[str, str]:
    """An environment with no other tools."""
    return {"PATH": "", f"{server.family.upper()}_BIN_DIRS": str(server.bin_dir)}


def test_an_older_server_is_refused_with_the_image_that_fits(
    pair: Pair, a_schema: AnySchema, tmp_path: Path
) -> None:
    database = a_schema(pair.newer)
    fill(pair.newer, database)
    backup = a_backup(pair.newer, database, tmp_path)
    family, wanted = pair.newer.family, pair.newer.series
    theirs = evolve(backup, engine=an_engine(pair.older, database))

    with pytest.raises(
        PreflightFailed,
        match=rf"backup is of {TITLES[family]} {wanted}, the target is {pair.older.series}:"
        rf".* the runner image for {family} {wanted}",
    ):
        theirs.restore(tmp_path)

    assert schemas(pair.older, database) == left_behind(pair.older) == []


def test_newer_tools_do_for_an_older_server_and_its_own_can_load_what_they_wrote(
    pair: Pair, a_schema: AnySchema, tmp_path: Path
) -> None:
    server, database = pair.older, a_schema(pair.older)
    fill(server, database)
    before = fingerprint(server, database)
    backup = a_backup(server, database, tmp_path, environ=tools_of(pair.newer))
    (version,) = {*backup.facts.tool_versions.values()}
    assert version.startswith(pair.newer.series)

    for tools in (pair.newer, pair.older):
        engine = an_engine(server, database, environ=tools_of(tools))
        evolve(backup, engine=engine).restore(tmp_path, replace=True)

        assert fingerprint(server, database) == before


def test_older_tools_are_not_used_for_a_newer_server(
    pair: Pair, a_schema: AnySchema, tmp_path: Path
) -> None:
    server = pair.newer
    engine = an_engine(server, a_schema(server), environ=tools_of(pair.older))

    (problem,) = engine.preflight(a_context(tmp_path), purpose=Purpose.BACKUP)

    wanted = f"{TITLES[server.family]} {server.series} or newer here"
    assert f"{wanted} (found: {pair.older.series})" in problem.message
