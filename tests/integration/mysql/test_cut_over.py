"""Tables that change their names during a dump, as tools do that alter a table online."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from controller.api.errors import DatabaseUnavailable
from tests.fakes.streams import MemorySink
from tests.integration.mysql.test_backup_faults import fill_large, paused_at
from tests.servers.mysql import MysqlServer
from tests.servers.mysql_engine import an_engine
from tests.servers.postgres_engine import a_context

MakeSchema = Callable[..., str]


@pytest.mark.parametrize(
    ("ghost", "rename"),
    [
        ("a_ghost", "RENAME TABLE zz_last TO zz_old, a_ghost TO zz_last"),
        ("zz_ghost", "RENAME TABLE zz_last TO zz_x, zz_ghost TO zz_last, zz_x TO zz_ghost"),
    ],
    ids=["read-before", "same-names"],
)
def test_a_copy_that_takes_a_table_s_place_is_no_part_of_the_instant(
    mysql_server: MysqlServer, a_schema: MakeSchema, tmp_path: Path, ghost: str, rename: str
) -> None:
    """The snapshot shows the copy as it was before it was filled, under the table's name."""
    if ghost == "a_ghost" and mysql_server.family == "mariadb":
        pytest.skip("its dump keeps tables that were read from being renamed until it ends")
    database = a_schema(mysql_server)
    fill_large(mysql_server, database)
    time.sleep(1)  # the servers tell the time of a table in whole seconds
    mysql_server.run(f"CREATE TABLE {ghost} LIKE zz_last", database=database)
    fill = f"INSERT INTO {ghost} SELECT * FROM zz_last"
    report = paused_at(1_000_000, lambda: mysql_server.run(fill, rename, database=database))
    sink = MemorySink()

    with pytest.raises(DatabaseUnavailable, match="altered while it was being dumped"):
        an_engine(mysql_server, database).create_backup(sink, a_context(tmp_path, report=report))

    assert sink.streams == {}
