"""Tables in a folder of their own, which MariaDB loses when they are renamed into another schema.

What is lost is so from the server's next start on.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.api.errors import PreflightFailed
from tests.integration.mysql.conftest import a_backup, left_behind
from tests.servers import mysql
from tests.servers.mysql import MysqlServer
from tests.servers.mysql_fixtures import newest

#: By how the folder is named: options of a table.
FOLDERS = {
    "table": "DATA DIRECTORY = '{0}'",
    "partitions": "PARTITION BY HASH (a)"
    " (PARTITION p0 DATA DIRECTORY = '{0}', PARTITION p1 DATA DIRECTORY = '{0}')",
    "subpartitions": "PARTITION BY RANGE (a) SUBPARTITION BY HASH (a) (PARTITION p0"
    " VALUES LESS THAN (9) (SUBPARTITION s0 DATA DIRECTORY = '{0}', SUBPARTITION s1))",
}


@pytest.fixture
def folder() -> Iterator[Path]:
    """One that the server may write into, whoever runs it."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        Path(name).chmod(0o777)
        yield Path(name)


def rows_after_a_restart(server: MysqlServer, *databases: str) -> list[list[tuple[int]]]:
    """Of `t` in each, by a server that had no time to put anything off."""
    server.run("SET GLOBAL innodb_fast_shutdown = 0")
    server.process.stop()
    again = mysql.restarted(server)
    try:
        return [again.run("SELECT a FROM t ORDER BY a", database=one) for one in databases]
    finally:
        again.process.stop()


@pytest.mark.parametrize("options", FOLDERS.values(), ids=FOLDERS)
def test_tables_of_mariadb_with_a_folder_outlast_a_restore_and_a_restart(
    tmp_path: Path, folder: Path, options: str
) -> None:
    with mysql.running("mariadb", newest("mariadb")) as server:
        server.run("CREATE DATABASE shop")
        server.run(
            "CREATE TABLE plain (a INT PRIMARY KEY, said VARCHAR(99)) COMMENT 'DATA DIRECTORY'",
            f"CREATE TABLE t (a INT PRIMARY KEY) {options.format(folder)}",
            "INSERT INTO t VALUES (1)",
            database="shop",
        )
        backup = a_backup(server, "shop", tmp_path)
        server.run("INSERT INTO t VALUES (2)", database="shop")

        with pytest.raises(PreflightFailed, match="DATA DIRECTORY") as refused:
            backup.restore(tmp_path, replace=True)
        cure = re.search(r"(USE .*;) Or restore", str(refused.value))
        assert cure is not None
        server.run(*cure[1].strip(";").split(";"))
        replaced = backup.restore(tmp_path, replace=True)
        copied = backup.restore(tmp_path, database="copy")

        assert left_behind(server) == []
        for restored in (replaced, copied):
            (warning,) = restored.warnings
            assert warning.endswith("elsewhere: `t`")
        assert replaced.kept_as is not None
        found = rows_after_a_restart(server, "shop", "copy", replaced.kept_as)
        assert found == [[(1,)], [(1,)], [(1,), (2,)]]


def test_tables_of_mysql_with_a_folder_keep_it(tmp_path: Path, folder: Path) -> None:
    options = {"innodb_directories": str(folder)}
    with mysql.running("mysql", newest("mysql"), options=options) as server:
        server.run("CREATE DATABASE shop")
        server.run(
            f"CREATE TABLE t (a INT PRIMARY KEY) DATA DIRECTORY = '{folder}'",
            "INSERT INTO t VALUES (1)",
            database="shop",
        )
        backup = a_backup(server, "shop", tmp_path)
        server.run("INSERT INTO t VALUES (2)", database="shop")

        restored = backup.restore(tmp_path, replace=True)

        assert restored.warnings == ()
        assert restored.kept_as is not None
        ((_, statement),) = server.run("SHOW CREATE TABLE t", database="shop")
        assert str(folder) in statement
        found = rows_after_a_restart(server, "shop", restored.kept_as)
        assert found == [[(1,)], [(1,), (2,)]]
