"""Tables of other engines than InnoDB: refused by their name, or whole in a backup."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from controller.api.errors import PreflightFailed
from tests.integration.mysql.conftest import a_backup
from tests.servers.mysql import MysqlServer
from tests.servers.mysql_fixtures import on_newest

AnySchema = Callable[..., str]
#: What an engine needs to be told of a table, besides its name.
DEFINITIONS = {
    "CSV": "(id INT NOT NULL)",
    "FEDERATED": "(id INT) CONNECTION = 'mysql://u@127.0.0.1:1/other/t'",
    "MRG_MyISAM": "(id INT) UNION = (`{0}`.one, `{0}`.two)",
}
#: Without rows of their own, or with rows that a snapshot shows.
WHOLE = {"InnoDB", "BLACKHOLE", "ROCKSDB"}
#: Of the server's own use, or with names that stand for tables that nobody made.
NOT_TABLES = {"PERFORMANCE_SCHEMA", "SEQUENCE", "ndbcluster", "ndbinfo"}


def engines(server: MysqlServer) -> list[str]:
    return [
        "MRG_MyISAM" if name == "MRG_MYISAM" else name
        for name, support, *_ in server.run("SHOW ENGINES")
        if support in ("YES", "DEFAULT") and name not in NOT_TABLES
    ]


def test_each_engine_of_a_server_is_whole_in_a_backup_or_refused_by_its_name(
    mysql_server: MysqlServer, a_schema: AnySchema, tmp_path: Path
) -> None:
    found = engines(mysql_server)
    assert {"InnoDB", "CSV", "MyISAM", "MRG_MyISAM", "MEMORY"} <= set(found)

    beside = a_schema(mysql_server)
    for name in ("one", "two"):
        mysql_server.run(f"CREATE TABLE {name} (id INT) ENGINE = MyISAM", database=beside)

    for engine in found:
        database = a_schema(mysql_server)
        definition = DEFINITIONS.get(engine, "(id INT)").format(beside)
        mysql_server.run(f"CREATE TABLE other {definition} ENGINE = {engine}", database=database)
        if engine in WHOLE:
            mysql_server.run("INSERT INTO other VALUES (1)", database=database)
            rows = mysql_server.run("SELECT id FROM other", database=database)
            restored = a_backup(mysql_server, database, tmp_path).restore(tmp_path, replace=True)
            assert mysql_server.run(f"SELECT id FROM `{restored.database}`.other") == rows
            continue
        cure = "make it a view" if "CONNECTION" in definition or "UNION" in definition else "ALTER"
        with pytest.raises(PreflightFailed, match=rf"(?i)`other` \({engine}\).* {cure}"):
            a_backup(mysql_server, database, tmp_path)


@on_newest("mariadb")
def test_a_table_of_another_engine_is_seen_behind_its_partitions(
    mysql_server: MysqlServer, a_schema: AnySchema, tmp_path: Path
) -> None:
    """MySQL's have no partitions any more."""
    database = a_schema(mysql_server)
    mysql_server.run(
        "CREATE TABLE other (id INT) ENGINE = MyISAM PARTITION BY HASH (id) PARTITIONS 2",
        database=database,
    )

    with pytest.raises(PreflightFailed, match=r"`other` \(MyISAM\)") as refused:
        a_backup(mysql_server, database, tmp_path)

    (problem,) = refused.value.problems
    mysql_server.run(*re.findall(r"ALTER [^;]*;", problem.message))
    assert a_backup(mysql_server, database, tmp_path).facts.counts["partitions"] == 2


@on_newest("mariadb")
def test_a_sequence_is_whole_whatever_its_engine(
    mysql_server: MysqlServer, a_schema: AnySchema, tmp_path: Path
) -> None:
    """No transaction takes a number back, so there is no instant to keep."""
    database = a_schema(mysql_server)
    mysql_server.run(
        "CREATE SEQUENCE s START 10 INCREMENT 5 CACHE 0 ENGINE = Aria",
        "SELECT NEXTVAL(s)",
        database=database,
    )

    restored = a_backup(mysql_server, database, tmp_path).restore(tmp_path, replace=True)

    assert mysql_server.run(f"SELECT NEXTVAL(`{restored.database}`.s)") == [(15,)]


@pytest.mark.parametrize("kind", ["LONGTEXT", "LONGBLOB"])
def test_a_row_may_be_larger_than_the_server_s_packets(
    mysql_server: MysqlServer, a_schema: AnySchema, tmp_path: Path, kind: str
) -> None:
    size = 64 << 20
    database = a_schema(mysql_server)
    ((before,),) = mysql_server.run("SELECT @@GLOBAL.max_allowed_packet")
    mysql_server.run("SET GLOBAL max_allowed_packet = 1073741824")
    try:
        mysql_server.run(
            f"CREATE TABLE large (id INT PRIMARY KEY, t {kind})",
            f"INSERT INTO large VALUES (1, REPEAT('x', {size}))",
            database=database,
        )
        mysql_server.run("SET GLOBAL max_allowed_packet = 1048576")
        backup = a_backup(mysql_server, database, tmp_path)
        mysql_server.run("SET GLOBAL max_allowed_packet = 1073741824")
        restored = backup.restore(tmp_path, replace=True)
        whole = f"SELECT LENGTH(t), SHA2(t, 256) = SHA2(REPEAT('x', {size}), 256) FROM large"
        assert mysql_server.run(whole, database=restored.database) == [(size, 1)]
    finally:
        mysql_server.run(f"SET GLOBAL max_allowed_packet = {before}")
