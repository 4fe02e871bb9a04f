"""MySQL's libraries of code, and the routines that name them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from controller.api.errors import TargetExists
from engines.mysql_family.swap import Swap
from tests.integration.mysql.conftest import a_backup, left_behind
from tests.servers.mysql import MysqlServer
from tests.servers.mysql_fixtures import on_newest

MakeSchema = Callable[..., str]

CODE = "LANGUAGE JAVASCRIPT AS $$ export function f(n) { return n } $$"
#: Nothing here runs one: that takes a component which no package of ours has.
FUNCTION = (
    "CREATE FUNCTION used() RETURNS INT DETERMINISTIC LANGUAGE JAVASCRIPT"
    " USING (lib, `o``dd` AS `{0}`) AS $$ return lib.f(1) $$"
)
PROCEDURE = (
    "CREATE PROCEDURE said() COMMENT 'USING (`{0}`.`lib`)' LANGUAGE JAVASCRIPT"
    " USING (`{0}`.lib) AS $$ lib.f('\n    LANGUAGE X\n    USING (`{0}`.`lib`)\n') $$"
)


@pytest.fixture
def library(mysql_server: MysqlServer, a_schema: MakeSchema) -> str:
    """A database with two libraries, and routines that use them."""
    if mysql_server.series < "9.2":
        pytest.skip("libraries came with 9.2")
    database = a_schema(mysql_server)
    mysql_server.run(
        f"CREATE LIBRARY lib COMMENT 'ours' {CODE}",
        f"CREATE LIBRARY `o``dd` {CODE}",
        FUNCTION.format(database),
        PROCEDURE.format(database),
        database=database,
    )
    return database


def shown(server: MysqlServer, database: str) -> dict[str, str]:
    """Statements of libraries and routines, by their names."""
    names = server.run(
        "SELECT 'LIBRARY', LIBRARY_NAME FROM information_schema.LIBRARIES"
        f" WHERE LIBRARY_SCHEMA = '{database}' UNION SELECT ROUTINE_TYPE, ROUTINE_NAME"
        f" FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = '{database}'"
    )
    quoted = [(kind, name.replace("`", "``")) for kind, name in names]
    return {
        name: server.run(f"SHOW CREATE {kind} `{name}`", database=database)[0][2]
        for kind, name in quoted
    }


def uses(server: MysqlServer, database: str) -> list[tuple[str, str, str]]:
    return sorted(
        server.run(
            "SELECT ROUTINE_NAME, LIBRARY_SCHEMA, LIBRARY_NAME FROM"
            f" information_schema.ROUTINE_LIBRARIES WHERE ROUTINE_SCHEMA = '{database}'"
        )
    )


@on_newest("mysql")
def test_libraries_come_back_when_their_database_is_gone(
    mysql_server: MysqlServer, library: str, tmp_path: Path
) -> None:
    before = shown(mysql_server, library)
    backup = a_backup(mysql_server, library, tmp_path)
    mysql_server.run(f"DROP DATABASE `{library}`")

    restored = backup.restore(tmp_path)

    assert shown(mysql_server, library) == before
    assert len(before) == 4
    assert restored.counts["libraries"] == backup.facts.counts["libraries"] == 2


@on_newest("mysql")
def test_a_copy_s_routines_use_the_copy_s_libraries(
    mysql_server: MysqlServer, library: str, tmp_path: Path
) -> None:
    copy = f"{library}_copy"

    a_backup(mysql_server, library, tmp_path).restore(tmp_path, database=copy)

    assert uses(mysql_server, copy) == [
        ("said", copy, "lib"),
        ("used", copy, "lib"),
        ("used", copy, "o`dd"),
    ]


@on_newest("mysql")
def test_what_is_replaced_keeps_its_own_libraries(
    mysql_server: MysqlServer, library: str, tmp_path: Path
) -> None:
    mysql_server.run("CREATE TABLE t (a INT)", database=library)
    before = shown(mysql_server, library)
    backup = a_backup(mysql_server, library, tmp_path)
    mysql_server.run(
        "DROP LIBRARY `o``dd`",
        f"CREATE LIBRARY later {CODE}",
        "ALTER LIBRARY lib COMMENT 'changed'",
        database=library,
    )

    restored = backup.restore(tmp_path, replace=True)

    assert shown(mysql_server, library) == before
    assert restored.kept_as is not None
    kept = shown(mysql_server, restored.kept_as)
    assert "changed" in kept["lib"]
    assert "later" in kept
    assert ("said", restored.kept_as, "lib") in uses(mysql_server, restored.kept_as)
    assert left_behind(mysql_server) == []


@on_newest("mysql")
def test_a_swap_that_is_taken_back_leaves_libraries_as_they_were(
    mysql_server: MysqlServer,
    library: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    backup = a_backup(mysql_server, library, tmp_path)
    mysql_server.run(f"CREATE LIBRARY later {CODE}", database=library)
    before = shown(mysql_server, library)

    def fail(*_: object) -> None:
        raise OSError("at the end")

    monkeypatch.setattr(Swap, "_make", fail)
    with pytest.raises(OSError, match="at the end"):
        backup.restore(tmp_path, replace=True)

    assert shown(mysql_server, library) == before
    assert left_behind(mysql_server) == []


@on_newest("mysql")
def test_a_database_with_libraries_alone_is_not_empty(
    mysql_server: MysqlServer, library: str, a_schema: MakeSchema, tmp_path: Path
) -> None:
    other = a_schema(mysql_server)
    mysql_server.run(f"CREATE LIBRARY own {CODE}", database=other)

    with pytest.raises(TargetExists):
        a_backup(mysql_server, library, tmp_path).restore(tmp_path, database=other)

    assert list(shown(mysql_server, other)) == ["own"]
