"""Objects that their own server would not make again, since something else was altered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.integration.mysql.conftest import a_backup, left_behind
from tests.servers.mysql import MysqlServer
from tests.servers.mysql_fixtures import on_newest
from tests.servers.mysql_samples import fingerprint

MakeSchema = Callable[..., str]

#: What is made after a table `t`, and the names of what no server makes again, with their kinds.
BROKEN = {
    "trigger": (
        [
            "CREATE TRIGGER fine BEFORE INSERT ON t FOR EACH ROW SET NEW.a = NEW.a + 1",
            "CREATE TRIGGER gone BEFORE DELETE ON t FOR EACH ROW SET @x = OLD.b",
            "ALTER TABLE t DROP COLUMN b",
        ],
        ["trigger `gone`"],
    ),
    "views": (
        [
            "CREATE VIEW v AS SELECT a FROM t",
            "CREATE VIEW w AS SELECT a FROM v WHERE a > 0 WITH CHECK OPTION",
            "CREATE VIEW x AS SELECT a FROM w",
            "CREATE VIEW y AS SELECT a FROM v",
            "CREATE OR REPLACE VIEW v AS SELECT DISTINCT a FROM t",
        ],
        ["view `w`", "view `x`"],
    ),
}


def insist_on_the_rest(
    server: MysqlServer, database: str, tmp_path: Path, broken: Sequence[str]
) -> None:
    """A copy has all but the broken; a restore with --replace, too, and says so twice."""
    before = fingerprint(server, database)
    backup = a_backup(server, database, tmp_path)
    for target in ({"database": f"{database}_copy"}, {"replace": True}):
        restored = backup.restore(tmp_path, **target)

        after = fingerprint(server, restored.database)
        lost = before.keys() - after.keys()
        assert {name.replace("`", "").split()[-1] for name in lost} == {
            one.split("`")[1] for one in broken
        }
        if "replace" in target:  # what names its own database in its text names the same
            assert {name: before[name] for name in after} == after
        told = [one for one in restored.warnings if "was broken when it was backed up" in one]
        assert [one.removeprefix("the ").partition(" was")[0] for one in told] == broken
        assert all("CREATE " in one for one in told)
    assert left_behind(server) == []


@pytest.mark.parametrize(("statements", "broken"), BROKEN.values(), ids=BROKEN)
def test_what_cannot_be_made_again_is_told_and_holds_nothing_up(
    mysql_server: MysqlServer,
    a_schema: MakeSchema,
    tmp_path: Path,
    statements: Sequence[str],
    broken: Sequence[str],
) -> None:
    database = a_schema(mysql_server)
    mysql_server.run(
        "CREATE TABLE t (a INT PRIMARY KEY, b INT)",
        "INSERT INTO t VALUES (1, 2)",
        *statements,
        database=database,
    )

    insist_on_the_rest(mysql_server, database, tmp_path, broken)


@on_newest("mysql")
def test_a_routine_whose_library_is_gone_holds_nothing_up(
    mysql_server: MysqlServer, a_schema: MakeSchema, tmp_path: Path
) -> None:
    if mysql_server.series < "9.2":
        pytest.skip("libraries came with 9.2")
    database = a_schema(mysql_server)
    mysql_server.run(
        "CREATE TABLE t (a INT PRIMARY KEY)",
        "CREATE LIBRARY lib LANGUAGE JAVASCRIPT AS $$ export function f(n) { return n } $$",
        "CREATE FUNCTION used() RETURNS INT DETERMINISTIC LANGUAGE JAVASCRIPT"
        " USING (lib) AS $$ return lib.f(1) $$",
        "CREATE VIEW shown AS SELECT used() AS a FROM t",
        "DROP LIBRARY lib",
        database=database,
    )

    insist_on_the_rest(mysql_server, database, tmp_path, ["function `used`", "view `shown`"])


def test_a_broken_view_of_a_database_with_a_dot_in_its_name_is_known_as_one(
    mysql_server: MysqlServer, a_schema: MakeSchema, tmp_path: Path
) -> None:
    database = a_schema(mysql_server, prefix="my.shop")
    mysql_server.run(
        "CREATE TABLE gone (a INT)",
        "CREATE TABLE t (a INT)",
        "CREATE VIEW `bro.ken` AS SELECT a FROM gone",
        "DROP TABLE gone",
        database=database,
    )

    backup = a_backup(mysql_server, database, tmp_path)
    restored = backup.restore(tmp_path, database=f"{database}_new")

    assert "broken view:bro.ken" in backup.facts.needs
    (warning,) = restored.warnings
    assert "the view `bro.ken` was broken" in warning
    assert restored.counts["tables"] == 1
