"""MySQL's general tablespaces, which are the server's and not in a backup."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from controller.api.errors import PreflightFailed, TerminalError
from engines.interface import Target
from tests.fakes.streams import MemorySink, MemorySource
from tests.integration.mysql.conftest import Backup, a_backup, left_behind
from tests.servers.mysql import MysqlServer
from tests.servers.mysql_engine import an_engine
from tests.servers.mysql_fixtures import on_newest
from tests.servers.postgres_engine import a_context

MakeSchema = Callable[..., str]


@pytest.fixture
def tablespace(mysql_server: MysqlServer) -> Iterator[str]:
    """Name of one, quoted; that is gone, or empty, when the test is over."""
    name = f"`o``dd-{secrets.token_hex(4)}`"
    mysql_server.run(f"CREATE TABLESPACE {name}")
    yield name
    names = mysql_server.run("SELECT NAME FROM information_schema.INNODB_TABLESPACES")
    if (name[1:-1].replace("``", "`"),) in names:
        mysql_server.run(f"DROP TABLESPACE {name}")


@pytest.fixture
def placed(mysql_server: MysqlServer, a_schema: MakeSchema, tablespace: str) -> Iterator[str]:
    """A database with a table in that tablespace, and others in the server's own."""
    database = a_schema(mysql_server)
    mysql_server.run(
        f"CREATE TABLE `a``b` (id INT PRIMARY KEY) TABLESPACE {tablespace}",
        "INSERT INTO `a``b` VALUES (1)",
        "CREATE TABLE plain (id INT PRIMARY KEY, said TEXT)",
        "INSERT INTO plain VALUES (1, '\n) /*!50100 TABLESPACE `no` */')",
        "CREATE TABLE own (id INT PRIMARY KEY) TABLESPACE innodb_system",
        database=database,
    )
    yield database
    for (name,) in mysql_server.run("SHOW DATABASES"):
        if name.startswith((database, "dbb_restore_")):  # before the tablespace
            mysql_server.run(f"DROP DATABASE `{name}`")
    mysql_server.run(f"CREATE DATABASE `{database}`")


def without_tablespace(server: MysqlServer, placed: str, tablespace: str) -> None:
    server.run(f"DROP DATABASE `{placed}`", f"DROP TABLESPACE {tablespace}")


@on_newest("mysql")
@pytest.mark.parametrize("parallel", [1, 3])
def test_a_tablespace_that_is_not_there_is_told_before_anything_is_done(
    mysql_server: MysqlServer, placed: str, tablespace: str, tmp_path: Path, parallel: int
) -> None:
    engine, sink = an_engine(mysql_server, placed), MemorySink()
    facts = engine.create_backup(sink, a_context(tmp_path), parallel=parallel)
    backup = Backup(server=mysql_server, database=placed, engine=engine, facts=facts, sink=sink)
    assert backup.refused(tmp_path, database=f"{placed}_copy") == []
    without_tablespace(mysql_server, placed, tablespace)

    (problem,) = backup.refused(tmp_path)
    with pytest.raises(PreflightFailed, match="is not here: CREATE TABLESPACE"):
        backup.restore(tmp_path)

    assert problem.message.startswith(f"the tablespace {tablespace} of `a``b` in the backup")
    mysql_server.run(problem.message.partition(": ")[2].rstrip(";"))
    engine.restore_backup(
        MemorySource(sink.streams), facts, a_context(tmp_path), target=Target(database=placed)
    )
    ((_, statement),) = mysql_server.run("SHOW CREATE TABLE `a``b`", database=placed)
    assert f"TABLESPACE {tablespace}" in statement


@on_newest("mysql")
def test_a_tablespace_that_may_not_be_looked_for_ends_the_load_with_the_cure(
    mysql_server: MysqlServer,
    placed: str,
    tablespace: str,
    an_account: Callable[..., str],
    tmp_path: Path,
) -> None:
    """As it does of a backup that does not tell of its tablespaces."""
    backup = a_backup(mysql_server, placed, tmp_path)
    without_tablespace(mysql_server, placed, tablespace)
    user = an_account()
    mysql_server.run(f"GRANT ALL ON `{placed}%`.* TO {user}", f"GRANT ALL ON `dbb%`.* TO {user}")

    with pytest.raises(TerminalError, match="CREATE TABLESPACE and its name"):
        backup.by(user).restore(tmp_path)

    assert left_behind(mysql_server) == []
    assert (placed,) not in mysql_server.run("SHOW DATABASES")
