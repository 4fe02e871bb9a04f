"""Foreign keys point where they did: also those that point at no table, or out of the database."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from controller.api.errors import PreflightFailed
from engines.interface import Target
from tests.integration.mysql.conftest import Backup, a_backup, left_behind
from tests.servers.mysql import MysqlServer
from tests.servers.mysql_engine import an_engine
from tests.servers.mysql_fixtures import EVERY, on
from tests.servers.mysql_samples import fingerprint
from tests.servers.postgres_engine import a_context

MakeSchema = Callable[..., str]


@pytest.fixture
def other(mysql_server: MysqlServer, a_schema: MakeSchema) -> str:
    """A schema with the table `far`."""
    name = a_schema(mysql_server)
    mysql_server.run("CREATE TABLE far (a INT, b INT, PRIMARY KEY (a, b))", database=name)
    mysql_server.run("INSERT INTO far VALUES (1, 2)", database=name)
    return name


@pytest.fixture
def dangling(mysql_server: MysqlServer, a_schema: MakeSchema, other: str, tmp_path: Path) -> Backup:
    """A table with keys of every rule into nothing, into itself, a neighbour and another schema."""
    database = a_schema(mysql_server)
    mysql_server.run(
        "SET foreign_key_checks = 0",
        "CREATE TABLE near (id INT PRIMARY KEY)",
        "CREATE TABLE child (id INT PRIMARY KEY, p INT, q INT, r INT, KEY (p, q), KEY (r),"
        f" FOREIGN KEY (r) REFERENCES missing ({odd(mysql_server)})"
        " ON DELETE SET NULL ON UPDATE CASCADE,"
        f" CONSTRAINT away FOREIGN KEY (p, q) REFERENCES `{other}`.far (a, b),"
        " CONSTRAINT pair FOREIGN KEY (p, q) REFERENCES `no such` (a, b) ON DELETE CASCADE,"
        " CONSTRAINT beside FOREIGN KEY (r) REFERENCES near (id) ON DELETE RESTRICT,"
        " CONSTRAINT self FOREIGN KEY (r) REFERENCES child (id) ON DELETE NO ACTION)",
        "INSERT INTO near VALUES (1)",
        "INSERT INTO child VALUES (1, NULL, 2, NULL)",
        "CREATE TRIGGER told BEFORE INSERT ON child FOR EACH ROW SET @told = NEW.id",
        database=database,
    )
    return a_backup(mysql_server, database, tmp_path)


def doubles_backquotes(server: MysqlServer) -> bool:
    """In the names of keys and of columns that they point at, where it writes them down."""
    return server.family == "mysql" or server.series == "11.8"


def odd(server: MysqlServer) -> str:
    """The oddest column that a key may point at, quoted."""
    return "`the ``id`" if doubles_backquotes(server) else "`the id`"


def keys(server: MysqlServer, schema: str) -> set[tuple[str, str, str]]:
    """Where the keys of a schema point: name, schema, table."""
    return set(
        server.run(
            "SELECT CONSTRAINT_NAME, UNIQUE_CONSTRAINT_SCHEMA, REFERENCED_TABLE_NAME FROM"
            f" information_schema.REFERENTIAL_CONSTRAINTS WHERE CONSTRAINT_SCHEMA = '{schema}'"
        )
    )


def test_keys_at_no_table_come_back_as_they_were(dangling: Backup, tmp_path: Path) -> None:
    before = fingerprint(dangling.server, dangling.database)

    for replace in (True, False):
        if not replace:
            dangling.server.run(f"DROP DATABASE `{dangling.database}`")
        restored = dangling.restore(tmp_path, replace=replace)

        assert fingerprint(dangling.server, dangling.database) == before
        if restored.kept_as:
            assert fingerprint(dangling.server, restored.kept_as) == before
            assert restored.warnings == ()
    assert left_behind(dangling.server) == []


def test_under_another_name_they_point_into_that(
    dangling: Backup, other: str, tmp_path: Path
) -> None:
    name = f"{dangling.database}_look"

    dangling.restore(tmp_path, database=name)

    assert keys(dangling.server, name) == {
        ("child_ibfk_1", name, "missing"),
        ("away", other, "far"),
        ("pair", name, "no such"),
        ("beside", name, "near"),
        ("self", name, "child"),
    }
    # And act there, once there is what they point at.
    dangling.server.run(
        f"CREATE TABLE missing ({odd(dangling.server)} INT PRIMARY KEY)",
        "CREATE TABLE `no such` (a INT, b INT, PRIMARY KEY (a, b))",
        "INSERT INTO missing VALUES (1)",
        "INSERT INTO near VALUES (1) ON DUPLICATE KEY UPDATE id = id",
        "INSERT INTO child VALUES (2, NULL, NULL, 1)",
        f"UPDATE missing SET {odd(dangling.server)} = 1",
        database=name,
    )


def test_what_was_replaced_does_not_hold_on_to_the_table_that_it_missed(
    dangling: Backup, mysql_server: MysqlServer, tmp_path: Path
) -> None:
    """The backup has `missing`; the database that is replaced has none, and a key at it."""
    server, database = mysql_server, dangling.database
    server.run(f"CREATE TABLE missing ({odd(server)} INT PRIMARY KEY)", database=database)
    with_it = a_backup(server, database, tmp_path)
    server.run("SET foreign_key_checks = 0", "DROP TABLE missing", database=database)

    restored = with_it.restore(tmp_path, replace=True)

    assert restored.kept_as
    assert ("child_ibfk_1", restored.kept_as, "missing") in keys(server, restored.kept_as)
    assert ("child_ibfk_1", database, "missing") in keys(server, database)
    assert all(into != database for _, into, _ in keys(server, restored.kept_as))
    # Nothing that is kept keeps anybody from replacing it once more.
    with_it.restore(tmp_path, replace=True, label="again")


def test_a_key_into_the_database_that_it_is_restored_into_stays_there(
    dangling: Backup, other: str, tmp_path: Path
) -> None:
    """Its tables leave for the dated name, and a key at one of them would leave with it."""
    server = dangling.server
    facts, source = dangling.facts, dangling.source()
    server.run(f"DROP DATABASE `{dangling.database}`")  # or its key would be in the way

    restored = an_engine(server, other).restore_backup(
        source, facts, a_context(tmp_path), target=Target(database=other, replace=True)
    )

    assert restored.kept_as
    assert ("away", other, "far") in keys(server, other)
    assert server.run(f"SHOW TABLES FROM `{restored.kept_as}`") == [("far",)]


@on(EVERY)
@pytest.mark.parametrize(
    ("name", "column", "own"),
    [("o``dd\nname", "id", "p"), ("plain", "i``d", "p"), ("plain", "id", "i``d")],
)
def test_a_key_that_the_server_writes_down_wrong_is_refused_before_the_dump(
    mysql_server: MysqlServer,
    a_schema: MakeSchema,
    tmp_path: Path,
    name: str,
    column: str,
    own: str,
) -> None:
    database = a_schema(mysql_server)
    mysql_server.run(
        f"CREATE TABLE `par``ent` (`{column}` INT PRIMARY KEY)",
        f"CREATE TABLE `chi``ld` (id INT PRIMARY KEY, `{own}` INT, KEY `{name}` (`{own}`),"
        f" CONSTRAINT `{name}` FOREIGN KEY (`{own}`) REFERENCES `par``ent` (`{column}`))",
        database=database,
    )
    if doubles_backquotes(mysql_server):
        before = fingerprint(mysql_server, database)
        a_backup(mysql_server, database, tmp_path).restore(tmp_path, replace=True)
        assert fingerprint(mysql_server, database) == before
        return

    with pytest.raises(PreflightFailed, match=f"in `{name}` of `chi``ld`.* without one") as refused:
        a_backup(mysql_server, database, tmp_path)

    assert len(refused.value.problems) == 1
    mysql_server.run(
        f"ALTER TABLE `chi``ld` DROP FOREIGN KEY `{name}`, CHANGE `{own}` p INT",
        f"ALTER TABLE `par``ent` CHANGE `{column}` id INT",
        "ALTER TABLE `chi``ld` ADD CONSTRAINT named FOREIGN KEY (p) REFERENCES `par``ent` (id)",
        database=database,
    )
    a_backup(mysql_server, database, tmp_path).restore(tmp_path, replace=True)
