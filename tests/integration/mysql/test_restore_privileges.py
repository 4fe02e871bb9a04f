"""What a restore's account may not do is named with the GRANT, one by one, and then it works."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from controller.api.errors import PreflightFailed
from engines.interface import Purpose, Restored
from tests.integration.mysql.conftest import Backup, a_backup, left_behind, schemas
from tests.integration.mysql.rights import cures, granted
from tests.servers.mysql import MysqlServer
from tests.servers.mysql_engine import an_engine
from tests.servers.mysql_fixtures import EVERY, on, on_newest
from tests.servers.mysql_samples import fill, fingerprint
from tests.servers.postgres_engine import a_context

AnySchema = Callable[..., str]
AnAccount = Callable[..., str]


@pytest.fixture
def distrusting(mysql_server: MysqlServer) -> Iterator[MysqlServer]:
    """A server with a binary log and the setting of its first start, and so again afterwards."""
    ((log_bin, trusts),) = mysql_server.run("SELECT @@log_bin, @@log_bin_trust_function_creators")
    assert (log_bin, trusts) == (1, 0)
    yield mysql_server
    mysql_server.run("SET GLOBAL log_bin_trust_function_creators = 0")
    if mysql_server.family == "mysql":
        mysql_server.run("RESET PERSIST IF EXISTS log_bin_trust_function_creators")


@on(EVERY)
def test_the_rights_on_the_page_are_enough_to_restore_and_to_replace(
    distrusting: MysqlServer, a_schema: AnySchema, an_account: AnAccount, tmp_path: Path
) -> None:
    """Of functions and triggers, root's too, on a server with a binary log."""
    server, database = distrusting, a_schema(distrusting)
    fill(server, database)
    before = fingerprint(server, database)
    backup = a_backup(server, database, tmp_path)
    user = an_account()
    server.run(*granted(server, "### For restores", database, user))

    restored = backup.by(user).restore(tmp_path, replace=True)

    assert fingerprint(server, database) == before
    assert restored.kept_as is not None
    is_kept_whole(server, before, restored)
    assert left_behind(server) == []


def is_kept_whole(server: MysqlServer, before: dict[str, object], restored: Restored) -> None:
    assert restored.kept_as is not None
    kept = fingerprint(server, restored.kept_as)
    assert kept.keys() == before.keys()
    assert {name for name in kept if kept[name] != before[name]} <= {
        name for name in kept if name.startswith("EVENT")
    }


def test_each_line_on_the_page_is_asked_for_by_who_restores_without_it(
    distrusting: MysqlServer, small: str, an_account: AnAccount, tmp_path: Path
) -> None:
    server = distrusting
    if server.family == "mariadb":
        server.run(
            "CREATE SEQUENCE numbers",
            "CREATE TABLE numbered (id INT DEFAULT NEXTVAL(numbers))",
            database=small,
        )
    backup = a_backup(server, small, tmp_path)
    lines = granted(server, "### For restores", small, "somebody")
    assert len(lines) > 3
    for line in lines:
        if line.startswith("SET"):
            server.run("SET GLOBAL log_bin_trust_function_creators = 0")
        user = an_account()
        others = [one.replace("somebody", user) for one in lines if one != line]
        server.run(*others)

        asked = []
        for _round in range(3):
            found = cures(backup.by(user).refused(tmp_path, replace=True, label="abc"))
            asked += found
            for cure in found:
                server.run(cure)

        assert asked != [], line
        assert found == [], line


@pytest.mark.usefixtures("distrusting")
def test_each_right_that_a_restore_lacks_is_named_until_it_works(
    backup: Backup, an_account: AnAccount, tmp_path: Path
) -> None:
    server = backup.server
    before = fingerprint(server, backup.database)
    theirs = backup.by(an_account())

    asked = []
    # Without a right the target is not even seen: what it needs is told when it is.
    for _round in range(4):
        found = cures(theirs.refused(tmp_path, replace=True, label="abc"))
        asked += found
        for cure in found:
            server.run(cure)
    restored = theirs.restore(tmp_path, replace=True, label="abc")

    assert found == []
    assert any("dbb\\_restore\\_%" in one for one in asked)
    assert any("\\_before\\_%" in one for one in asked)
    assert any("DEFINER" in one or "SET USER" in one for one in asked)
    assert fingerprint(server, backup.database) == before
    is_kept_whole(server, before, restored)


@pytest.mark.usefixtures("distrusting")
@on(EVERY)
def test_what_is_replaced_is_not_lost_for_want_of_a_right(
    backup: Backup, an_account: AnAccount, tmp_path: Path
) -> None:
    """Others' views and routines are made again where they are kept, with --no-owner too."""
    server, database = backup.server, backup.database
    before = fingerprint(server, database)
    user = an_account()
    definer = "SET_ANY_DEFINER" if server.family == "mysql" else "SET USER"
    server.run(
        *(
            one
            for one in granted(server, "### For restores", database, user)
            if definer not in one and "SYSTEM_USER" not in one
        )
    )
    theirs = backup.by(user)

    with pytest.raises(PreflightFailed, match=f"is kept, with .*GRANT {definer} ON") as refused:
        theirs.restore(tmp_path, replace=True, owners=False)
    assert fingerprint(server, database) == before
    assert schemas(server, database) == [database]
    # Nothing is kept there, and all of it is ours.
    theirs.restore(tmp_path, database=f"{database}_look", owners=False)
    server.run(*cures(refused.value.problems))
    if server.family == "mysql":
        with pytest.raises(PreflightFailed, match="GRANT SYSTEM_USER ON") as refused:
            theirs.restore(tmp_path, replace=True, owners=False)
        server.run(*cures(refused.value.problems))

    is_kept_whole(server, before, theirs.restore(tmp_path, replace=True, owners=False))


def test_procedures_need_no_trust_of_the_binary_log(
    distrusting: MysqlServer, a_schema: AnySchema, an_account: AnAccount, tmp_path: Path
) -> None:
    server, database = distrusting, a_schema(distrusting)
    server.run("CREATE TABLE a (id INT PRIMARY KEY)", database=database)
    server.run("CREATE PROCEDURE act() DELETE FROM a", database=database)
    if server.family == "mariadb":
        server.run(
            "SET SESSION sql_mode = 'ORACLE'",
            "CREATE PACKAGE tools AS FUNCTION one RETURN INT; END",
            "CREATE PACKAGE BODY tools AS FUNCTION one RETURN INT AS BEGIN RETURN 1; END; END",
            database=database,
        )
    backup = a_backup(server, database, tmp_path)
    before = fingerprint(server, database)
    user = an_account()
    server.run(
        *(
            one
            for one in granted(server, "### For restores", database, user)
            if not one.startswith("SET")
        )
    )

    restored = backup.by(user).restore(tmp_path, replace=True)

    assert fingerprint(server, database) == before
    is_kept_whole(server, before, restored)


def test_a_function_that_not_even_an_administrator_could_make_again_is_not_replaced(
    distrusting: MysqlServer, a_schema: AnySchema, tmp_path: Path
) -> None:
    """It was made while the server trusted its makers."""
    server, database = distrusting, a_schema(distrusting)
    server.run("CREATE TABLE a (id INT PRIMARY KEY)", database=database)
    backup = a_backup(server, database, tmp_path)
    server.run(
        "SET GLOBAL log_bin_trust_function_creators = 1",
        "CREATE FUNCTION plain() RETURNS INT RETURN 1",
        "SET GLOBAL log_bin_trust_function_creators = 0",
        database=database,
    )
    before = fingerprint(server, database)

    with pytest.raises(PreflightFailed, match="as `plain` are not, which are kept") as refused:
        backup.restore(tmp_path, replace=True)
    assert fingerprint(server, database) == before
    (cure,) = cures(refused.value.problems)
    server.run(cure)

    is_kept_whole(server, before, backup.restore(tmp_path, replace=True))


@on_newest("mysql")
def test_with_partial_revokes_a_pattern_is_no_right(
    distrusting: MysqlServer, a_schema: AnySchema, an_account: AnAccount, tmp_path: Path
) -> None:
    server, database = distrusting, a_schema(distrusting)
    fill(server, database)
    before = fingerprint(server, database)
    user = an_account()
    engine = an_engine(server, database, user=user, password="pw")
    server.run(
        "SET GLOBAL partial_revokes = ON",
        *granted(server, "### For restores", database, user),
        f"GRANT SELECT ON `{database}`.* TO {user}@'%'",
    )
    try:
        unseen = engine.preflight(a_context(tmp_path), purpose=Purpose.BACKUP)
        server.run(*cures(unseen))
        assert list(engine.preflight(a_context(tmp_path), purpose=Purpose.BACKUP)) == []
        backup = a_backup(server, database, tmp_path, user=user, password="pw")
        with pytest.raises(PreflightFailed, match="partial_revokes, which is ON") as refused:
            backup.restore(tmp_path, replace=True)
        server.run(*cures(refused.value.problems))

        restored = backup.restore(tmp_path, replace=True)
    finally:
        server.run("SET GLOBAL partial_revokes = OFF")

    assert fingerprint(server, database) == before
    is_kept_whole(server, before, restored)


def test_without_owners_nobody_else_has_to_exist(
    mysql_server: MysqlServer, small: str, an_account: AnAccount, tmp_path: Path
) -> None:
    """Not of code either whose definer stands in double quotes."""
    server, user, copy = mysql_server, an_account(), f"{small}_new"
    server.run(
        "SET sql_mode = 'ANSI_QUOTES'",
        'CREATE PROCEDURE "p"() SELECT 1',
        'CREATE FUNCTION "f"() RETURNS INT DETERMINISTIC RETURN 1',
        'CREATE TRIGGER "g" BEFORE INSERT ON "a" FOR EACH ROW SET @x = 1',
        'CREATE EVENT "e" ON SCHEDULE EVERY 1 DAY DO SELECT 1',
        'CREATE VIEW "v" AS SELECT 1 AS "one"',
        database=small,
    )
    if server.family == "mariadb":
        server.run(
            "SET sql_mode = 'ORACLE'",
            "CREATE PROCEDURE o AS BEGIN SELECT 1; END",
            "CREATE PACKAGE k AS FUNCTION one RETURN INT; END",
            "CREATE PACKAGE BODY k AS FUNCTION one RETURN INT AS BEGIN RETURN 1; END; END",
            database=small,
        )
    backup = a_backup(server, small, tmp_path)
    server.run(
        rf"GRANT ALL ON `dbb\_restore\_%`.* TO {user}@'%'",
        rf"GRANT ALL ON `{small}%`.* TO {user}@'%'",
        "SET GLOBAL log_bin_trust_function_creators = 1",
    )
    try:
        backup.by(user).restore(tmp_path, database=copy, owners=False)
    finally:
        server.run("SET GLOBAL log_bin_trust_function_creators = 0")

    of = {"ROUTINES": "ROUTINE", "VIEWS": "TABLE", "TRIGGERS": "TRIGGER", "EVENTS": "EVENT"}
    for source, prefix in of.items():
        definers = f"SELECT DEFINER FROM information_schema.{source} WHERE {prefix}_SCHEMA"
        found = server.run(f"{definers} = '{copy}'")
        assert found == [(f"{user}@%",)] * len(server.run(f"{definers} = '{small}'"))


def test_a_definer_that_is_not_there_is_told_before_anything_is_touched(
    mysql_server: MysqlServer, small: str, tmp_path: Path
) -> None:
    mysql_server.run(
        "CREATE USER IF NOT EXISTS gone@localhost IDENTIFIED BY 'x'",
        "CREATE DEFINER=gone@localhost VIEW theirs AS SELECT 1 AS un",
        "DROP USER gone@localhost",
        database=small,
    )
    backup = a_backup(mysql_server, small, tmp_path)

    with pytest.raises(PreflightFailed, match=r"`gone`@`localhost`.*CREATE USER.*--no-owner"):
        backup.restore(tmp_path, database=f"{small}_new")
    backup.restore(tmp_path, database=f"{small}_new", owners=False)

    assert mysql_server.run("SELECT un FROM theirs", database=f"{small}_new") == [(1,)]
