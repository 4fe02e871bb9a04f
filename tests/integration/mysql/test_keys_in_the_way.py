"""Foreign keys of what is replaced that keep the restored tables from coming."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from controller.api.errors import TerminalError
from tests.integration.mysql.conftest import a_backup, left_behind, schemas
from tests.servers.mysql import MysqlServer
from tests.servers.mysql_samples import fingerprint

MakeSchema = Callable[..., str]


@pytest.mark.parametrize(
    ("kind", "column"),
    [("VARCHAR(20)", "id"), ("INT", "gone"), ("INT", "rank")],
    ids=["another type", "no column", "no index"],
)
def test_a_key_at_no_table_that_the_restored_one_does_not_fit_is_told_and_dropped_by_hand(
    mysql_server: MysqlServer, a_schema: MakeSchema, tmp_path: Path, kind: str, column: str
) -> None:
    """The backup has `team`; what is there now points at one of that name, which was another."""
    server, database = mysql_server, a_schema(mysql_server)
    server.run(
        "CREATE TABLE team (id INT PRIMARY KEY, `rank` INT)",
        "CREATE TABLE member (id INT PRIMARY KEY, team_id INT)",
        "INSERT INTO team VALUES (1, 2)",
        database=database,
    )
    backup = a_backup(server, database, tmp_path)
    server.run(
        "SET foreign_key_checks = 0",
        "DROP TABLE team, member",
        f"CREATE TABLE member (id INT PRIMARY KEY, team_id {kind},"
        f" CONSTRAINT of_team FOREIGN KEY (team_id) REFERENCES team (`{column}`))",
        "CREATE TRIGGER told BEFORE INSERT ON member FOR EACH ROW SET @told = NEW.id",
        "CREATE VIEW shown AS SELECT id FROM member",
        "INSERT INTO member VALUES (1, '7')",
        database=database,
    )
    before = fingerprint(server, database)

    with pytest.raises(TerminalError, match="points at no table") as told:
        backup.restore(tmp_path, replace=True)

    assert fingerprint(server, database) == before
    assert left_behind(server) == []
    assert schemas(server, database) == [database]
    assert a_backup(server, database, tmp_path)
    (cure,) = [one for one in str(told.value).split(": ") if one.startswith("ALTER TABLE")]
    server.run(cure)
    restored = backup.restore(tmp_path, replace=True)
    assert server.run("SELECT id FROM team", database=database) == [(1,)]
    assert server.run("SELECT id FROM member", database=restored.kept_as) == [(1,)]
