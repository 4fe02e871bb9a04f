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


def rows(server: MysqlServer, database: str) -> dict[str, object]:
    """Without definitions, which each series writes in its own way; but all of their names."""
    return {
        name: found if name.startswith("rows of ") else None
        for name, found in fingerprint(server, database).items()
    }


def test_a_newer_server_takes_an_older_one_s_backup_whole(
    pair: Pair, a_schema: AnySchema, tmp_path: Path
) -> None:
    database = a_schema(pair.older)
    fill(pair.older, database)
    backup = a_backup(pair.older, database, tmp_path)
    new = a_schema(pair.newer)

    restored = evolve(backup, engine=an_engine(pair.newer, new)).restore(tmp_path, database=new)

    # A kind of object that the older server does not know is there with none.
    assert restored.counts == {**dict.fromkeys(restored.counts, 0), **backup.facts.counts}
    assert rows(pair.newer, new) == rows(pair.older, database)


VERSIONED = (
    "CREATE TABLE plain (id INT AUTO_INCREMENT PRIMARY KEY, v INT) WITH SYSTEM VERSIONING",
    "SET SESSION sql_mode = 'NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES'",
    "INSERT INTO plain VALUES (0, 1), (5, 2), (6, 3)",
    "UPDATE plain SET v = 20 WHERE id = 5",
    "DELETE FROM plain WHERE id = 6",
    """CREATE TABLE told (id INT PRIMARY KEY, since TIMESTAMP(6) GENERATED ALWAYS AS ROW START,
        `un``til` TIMESTAMP(6) GENERATED ALWAYS AS ROW END INVISIBLE, plain INT,
        on_day DATE CHECK (on_day > '2020-01-01'), twice INT AS (id * 2) STORED,
        half INT AS (id / 2) VIRTUAL, hidden INT INVISIBLE DEFAULT 3, last TIMESTAMP(6) NULL,
        PERIOD FOR SYSTEM_TIME (since, `un``til`), KEY half (half),
        FOREIGN KEY (plain) REFERENCES plain (id)) WITH SYSTEM VERSIONING""",
    "SET check_constraint_checks = 0",
    """INSERT INTO told (id, plain, on_day, last) VALUES
        (1, 0, '2026-02-31', '2038-01-19 03:14:07.999999'), (2, 5, '1999-01-01', NULL)""",
    "UPDATE told SET hidden = 4 WHERE id = 1",
    """CREATE TABLE parted (id INT PRIMARY KEY, v INT) WITH SYSTEM VERSIONING
        PARTITION BY SYSTEM_TIME (PARTITION old HISTORY, PARTITION now CURRENT)""",
    "INSERT INTO parted VALUES (1, 1)",
    "UPDATE parted SET v = 2",
    "CREATE TABLE gone (id INT PRIMARY KEY) WITH SYSTEM VERSIONING",
    "INSERT INTO gone VALUES (1)",
    "DELETE FROM gone",
)
#: What is asked of each on both servers. An end that never comes is another one there.
ASKED = (
    "SELECT * FROM plain",
    """SELECT *, row_start, IF(row_end > '2037-01-01', NULL, row_end)
        FROM plain FOR SYSTEM_TIME ALL ORDER BY id, row_start""",
    "SELECT * FROM told",
    """SELECT *, hidden, IF(`un``til` > '2037-01-01', NULL, `un``til`)
        FROM told FOR SYSTEM_TIME ALL ORDER BY id, since""",
    "SELECT * FROM parted",
    "SELECT COUNT(*) FROM parted PARTITION (old)",
    "SELECT COUNT(*) FROM parted PARTITION (now)",
    "SELECT * FROM gone",
    "SELECT COUNT(*) FROM gone FOR SYSTEM_TIME ALL",
)


@pytest.mark.parametrize(
    "pair",
    [("mariadb", "10.11", "11.8"), ("mariadb", "11.4", "11.8")],
    indirect=True,
    ids="{0[0]}{0[1]}and{0[2]}".format,
)
def test_rows_that_are_valid_stay_so_where_the_last_instant_is_a_later_one(
    pair: Pair, a_schema: AnySchema, tmp_path: Path
) -> None:
    """MariaDB 11.5 and later know times up to 2106, and earlier ones up to 2038."""
    database = a_schema(pair.older)
    pair.older.run("SET time_zone = '+00:00'", *VERSIONED, database=database)
    backup = a_backup(pair.older, database, tmp_path)
    new = a_schema(pair.newer)
    pair.newer.run(
        f"CREATE USER {new}@'%' IDENTIFIED BY 'pw'",
        rf"GRANT ALL ON `dbb\_restore\_%`.* TO {new}@'%'",
        f"GRANT ALL ON `{new}`.* TO {new}@'%'",
    )
    engine = an_engine(pair.newer, new, user=new, password="pw")

    try:
        evolve(backup, engine=engine).restore(tmp_path, database=new)
    finally:
        pair.newer.run(f"DROP USER {new}@'%'")

    for query in ASKED:
        found = pair.newer.run("SET time_zone = '+00:00'", query, database=new)
        assert found == pair.older.run("SET time_zone = '+00:00'", query, database=database)
    assert pair.newer.run("SELECT id FROM plain", database=new) == [(0,), (5,)]
    pair.newer.run("INSERT INTO plain (v) VALUES (9)", "UPDATE parted SET v = 3", database=new)
    assert pair.newer.run("SELECT MAX(id) FROM plain", database=new) == [(7,)]


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
