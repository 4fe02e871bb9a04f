"""Tables come back with the storage engine that they had, or not at all."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from attrs import evolve

from controller.api.errors import PreflightFailed
from engines.interface import Purpose, Target
from tests.integration.mysql.conftest import Backup, a_backup, fill_small, left_behind, schemas
from tests.integration.mysql.test_server_settings import globally
from tests.servers import mysql
from tests.servers.fixtures import given
from tests.servers.mysql import MysqlServer
from tests.servers.mysql_engine import an_engine
from tests.servers.mysql_fixtures import newest, on_newest
from tests.servers.mysql_samples import fingerprint
from tests.servers.postgres_engine import a_context

MakeSchema = Callable[..., str]


@pytest.fixture
def swallowing(mysql_server: MysqlServer, a_schema: MakeSchema, tmp_path: Path) -> Iterator[Backup]:
    """A database with a table of the engine BLACKHOLE, which is a plugin of MariaDB's."""
    is_plugin = mysql_server.family == "mariadb"
    if is_plugin:
        if not mysql_server.has_plugins:
            pytest.skip(f"this {mysql_server.family} {mysql_server.series} comes without plugins")
        mysql_server.run("INSTALL SONAME 'ha_blackhole'")
    database = a_schema(mysql_server)
    fill_small(mysql_server, database, rows=20)
    mysql_server.run("CREATE TABLE swallow (id INT) ENGINE = BLACKHOLE", database=database)
    yield a_backup(mysql_server, database, tmp_path)
    if is_plugin:
        mysql_server.run(f"DROP DATABASE `{database}`", "UNINSTALL SONAME IF EXISTS 'ha_blackhole'")


def test_a_table_comes_back_with_its_engine(swallowing: Backup, tmp_path: Path) -> None:
    server, database = swallowing.server, swallowing.database
    before = fingerprint(server, database)
    server.run(f"DROP DATABASE `{database}`")

    with globally(server, "default_storage_engine", "MyISAM"):
        swallowing.restore(tmp_path)

    assert fingerprint(server, database) == before


@on_newest("mariadb")
def test_an_engine_that_is_gone_is_named_before_anything_is_replaced(
    swallowing: Backup, tmp_path: Path
) -> None:
    server, database = swallowing.server, swallowing.database
    server.run(f"DROP TABLE `{database}`.swallow", "UNINSTALL SONAME 'ha_blackhole'")
    before = fingerprint(server, database)

    with pytest.raises(PreflightFailed, match="BLACKHOLE of `swallow` in the backup is not here"):
        swallowing.restore(tmp_path, replace=True)

    assert fingerprint(server, database) == before
    assert left_behind(server) == []
    # By hand there is no preflight; the dump itself lets no other engine be taken.
    folder = tmp_path / "hand"
    folder.mkdir()
    server.run(f"DROP DATABASE `{database}`")
    with pytest.raises(subprocess.CalledProcessError):
        swallowing.restore_by_hand(folder)
    assert ("swallow",) not in server.run(f"SHOW TABLES FROM `{database}`")


@on_newest("mariadb")
def test_an_engine_that_is_enforced_is_named_with_the_statement(
    swallowing: Backup, tmp_path: Path
) -> None:
    name = f"{swallowing.database}_copy"

    with globally(swallowing.server, "enforce_storage_engine", "InnoDB"):
        problems = swallowing.engine.preflight(
            a_context(tmp_path),
            purpose=Purpose.RESTORE,
            facts=swallowing.facts,
            target=Target(database=name),
        )

    assert [one.path for one in problems] == ["server"]
    assert "BLACKHOLE of `swallow`" in problems[0].message
    assert "SET GLOBAL enforce_storage_engine = NULL;" in problems[0].message


@pytest.fixture(scope="module")
def without_blackhole() -> Iterator[MysqlServer]:
    options = {"disabled_storage_engines": "BLACKHOLE,MyISAM"}
    yield from given(mysql.running("mysql", newest("mysql"), options=options))


@on_newest("mysql")
def test_an_engine_that_is_disabled_is_named(
    swallowing: Backup, without_blackhole: MysqlServer, tmp_path: Path
) -> None:
    engine = an_engine(without_blackhole, "copy")

    with pytest.raises(PreflightFailed, match=r"BLACKHOLE of `swallow`.* disabled_storage_engines"):
        engine.restore_backup(
            swallowing.source(),
            swallowing.facts,
            a_context(tmp_path),
            target=Target(database="copy"),
        )

    assert schemas(without_blackhole, "copy") == []


def test_a_backup_that_names_no_table_is_refused_by_its_engine(
    backup: Backup, tmp_path: Path
) -> None:
    """As earlier releases made them."""
    facts = evolve(backup.facts, needs={**backup.facts.needs, "engine:ROCKSDB": ""})

    problems = backup.engine.preflight(
        a_context(tmp_path),
        purpose=Purpose.RESTORE,
        facts=facts,
        target=Target(database=f"{backup.database}_copy"),
    )

    assert [one.path for one in problems] == ["server"]
    assert "the storage engine ROCKSDB in the backup is not here" in problems[0].message
