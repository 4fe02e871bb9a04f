"""What an account may not do is named with the GRANT, one by one, and then it works."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from attrs import evolve

from controller.api.errors import PreflightFailed
from engines.interface import Purpose, Restored, Target
from engines.mysql_family import definitions
from tests.fakes.streams import MemorySink
from tests.integration.mysql.conftest import Backup, a_backup, fill_small, left_behind, schemas
from tests.servers.mysql import MysqlServer
from tests.servers.mysql_engine import an_engine
from tests.servers.mysql_fixtures import ONE_OF_EACH
from tests.servers.mysql_samples import fill, fingerprint
from tests.servers.postgres_engine import a_context

DOCS = Path(__file__).parents[3] / "docs"
#: Rights have changed from series to series.
EVERY = ("mariadb_10_11", *ONE_OF_EACH)
AnySchema = Callable[..., str]
AnAccount = Callable[..., str]


def cures(problems: object) -> list[str]:
    """The statements that the messages ask for."""
    text = "\n".join(str(problem) for problem in problems)  # type: ignore[attr-defined]
    return re.findall(r"(?:GRANT|SET GLOBAL|SET PERSIST|CREATE USER|ALTER TABLE) [^;]*;", text)


def apply(server: MysqlServer, statements: list[str]) -> None:
    for statement in statements:
        server.run(statement)


@pytest.fixture
def distrusting(mysql_server: MysqlServer) -> Iterator[MysqlServer]:
    """A server with a binary log and the setting of its first start, and so again afterwards."""
    ((log_bin, trusts),) = mysql_server.run("SELECT @@log_bin, @@log_bin_trust_function_creators")
    assert (log_bin, trusts) == (1, 0)
    yield mysql_server
    mysql_server.run("SET GLOBAL log_bin_trust_function_creators = 0")
    if mysql_server.family == "mysql":
        mysql_server.run("RESET PERSIST IF EXISTS log_bin_trust_function_creators")


@pytest.mark.parametrize("missing", ["SELECT", "SHOW VIEW", "TRIGGER", "EVENT", "routines"])
def test_each_right_that_a_backup_lacks_is_named_with_the_grant_that_cures_it(
    mysql_server: MysqlServer,
    a_schema: AnySchema,
    an_account: AnAccount,
    tmp_path: Path,
    missing: str,
) -> None:
    database = a_schema(mysql_server, prefix="we_ird%")
    fill_small(mysql_server, database)
    user = an_account()
    rights = {"SELECT", "SHOW VIEW", "TRIGGER", "EVENT"} - {missing}
    pattern = database.replace("_", r"\_").replace("%", r"\%")
    mysql_server.run(f"GRANT {', '.join(rights)} ON `{pattern}`.* TO {user}@'%'")
    if missing != "routines":
        mysql_server.run(routines(mysql_server, pattern, user))
    engine = an_engine(mysql_server, database, user=user, password="pw")

    problems = engine.preflight(a_context(tmp_path), purpose=Purpose.BACKUP)

    with pytest.raises(PreflightFailed):
        engine.create_backup(MemorySink(), a_context(tmp_path))
    (cure,) = cures(problems)
    mysql_server.run(cure)
    assert list(engine.preflight(a_context(tmp_path), purpose=Purpose.BACKUP)) == []
    again = a_backup(mysql_server, database, tmp_path, user=user, password="pw")
    assert again.facts.counts["triggers"] == again.facts.counts["views"] == 1
    assert again.facts.counts["routines"] == 1
    assert b"EVENT" in again.sink.streams["objects"]


def routines(server: MysqlServer, pattern: str, user: str) -> str:
    if server.family == "mysql":
        return f"GRANT SHOW_ROUTINE ON *.* TO {user}@'%'"
    if server.series == "10.11":
        return f"GRANT SELECT ON mysql.proc TO {user}@'%'"
    return f"GRANT SHOW CREATE ROUTINE ON `{pattern}`.* TO {user}@'%'"


def test_the_rights_on_the_page_are_enough_for_a_backup_of_everything(
    mysql_server: MysqlServer, a_schema: AnySchema, an_account: AnAccount, tmp_path: Path
) -> None:
    database = a_schema(mysql_server)
    fill(mysql_server, database)
    user = an_account()
    for statement in granted(mysql_server, "### For backups", database, user):
        mysql_server.run(statement)

    backup = a_backup(mysql_server, database, tmp_path, user=user, password="pw")

    assert backup.facts.position["gtid"]
    whole = a_backup(mysql_server, database, tmp_path)
    assert backup.facts.counts == whole.facts.counts
    # A view that it could not run itself counts as broken, and comes back all the same.
    assert definitions.decode(backup.sink.streams["objects"]) == [
        evolve(one, is_broken=one.name == "above")
        for one in definitions.decode(whole.sink.streams["objects"])
    ]
    before = fingerprint(mysql_server, database)
    restored = whole.engine.restore_backup(
        backup.source(),
        backup.facts,
        a_context(tmp_path),
        target=Target(database=database, replace=True),
    )
    assert fingerprint(mysql_server, database) == before
    assert not any("broken" in warning for warning in restored.warnings)


def test_rights_may_come_by_a_role(
    mysql_server: MysqlServer, a_schema: AnySchema, an_account: AnAccount, tmp_path: Path
) -> None:
    database = a_schema(mysql_server)
    fill_small(mysql_server, database)
    user, role = an_account(), f"role_{database}"
    mysql_server.run(f"CREATE ROLE {role}")
    try:
        for statement in granted(mysql_server, "### For backups", database, user):
            mysql_server.run(statement.replace(f"{user}@'%'", role))
        to = "TO" if mysql_server.family == "mysql" else "FOR"
        mysql_server.run(f"GRANT {role} TO {user}@'%'", f"SET DEFAULT ROLE {role} {to} {user}@'%'")

        backup = a_backup(mysql_server, database, tmp_path, user=user, password="pw")
    finally:
        mysql_server.run(f"DROP ROLE {role}")

    assert backup.facts.counts["routines"] == backup.facts.counts["triggers"] == 1


def granted(server: MysqlServer, heading: str, database: str, user: str) -> list[str]:
    """What the family's page says below a heading, for this schema and account."""
    page = (DOCS / f"{server.family}.md").read_text()
    (block,) = re.search(rf"{heading}\n.*?```sql\n(.*?)```", page, re.DOTALL).groups()
    found = re.findall(r"^((?:GRANT|SET) [^;]*;)", block, re.MULTILINE)
    if server.family == "mariadb":
        old = "mysql.proc" if server.series != "10.11" else "SHOW CREATE ROUTINE"
        found = [one for one in found if old not in one]
    return [
        re.sub(r"'(backup|restore)'@", f"{user}@", one).replace("shop", database) for one in found
    ]


@pytest.mark.parametrize("mysql_server", EVERY, indirect=True)
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
    engine = an_engine(server, database, user=user, password="pw")

    restored = engine.restore_backup(
        backup.source(),
        backup.facts,
        a_context(tmp_path),
        target=Target(database=database, replace=True),
    )

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
    distrusting: MysqlServer, a_schema: AnySchema, an_account: AnAccount, tmp_path: Path
) -> None:
    server, database = distrusting, a_schema(distrusting)
    fill_small(server, database, rows=20)
    backup = a_backup(server, database, tmp_path)
    lines = granted(server, "### For restores", database, "somebody")
    assert len(lines) > 3
    for line in lines:
        if line.startswith("SET"):
            server.run("SET GLOBAL log_bin_trust_function_creators = 0")
        user = an_account()
        others = [one.replace("somebody", user) for one in lines if one != line]
        server.run(*others)
        engine = an_engine(server, database, user=user, password="pw")
        target = Target(database=database, replace=True, label="abc")

        asked = []
        for _round in range(3):
            found = cures(
                engine.preflight(
                    a_context(tmp_path), purpose=Purpose.RESTORE, facts=backup.facts, target=target
                )
            )
            asked += found
            apply(server, found)

        assert asked != [], line
        assert found == [], line


def test_each_right_that_a_restore_lacks_is_named_until_it_works(
    distrusting: MysqlServer, a_schema: AnySchema, an_account: AnAccount, tmp_path: Path
) -> None:
    server, database = distrusting, a_schema(distrusting)
    fill_small(server, database, rows=20)
    backup = a_backup(server, database, tmp_path)
    before = fingerprint(server, database)
    user = an_account()
    engine = an_engine(server, database, user=user, password="pw")
    target = Target(database=database, replace=True, label="abc")

    asked = []
    # Without a right the target is not even seen: what it needs is told when it is.
    for _round in range(4):
        found = cures(
            engine.preflight(
                a_context(tmp_path), purpose=Purpose.RESTORE, facts=backup.facts, target=target
            )
        )
        asked += found
        apply(server, found)
    restored = engine.restore_backup(
        backup.source(), backup.facts, a_context(tmp_path), target=target
    )

    assert found == []
    assert any("dbb\\_restore\\_%" in one for one in asked)
    assert any("\\_before\\_%" in one for one in asked)
    assert any("DEFINER" in one or "SET USER" in one for one in asked)
    assert fingerprint(server, database) == before
    is_kept_whole(server, before, restored)


@pytest.mark.parametrize("mysql_server", EVERY, indirect=True)
def test_what_is_replaced_is_not_lost_for_want_of_a_right(
    distrusting: MysqlServer, a_schema: AnySchema, an_account: AnAccount, tmp_path: Path
) -> None:
    """Others' views and routines are made again where they are kept, with --no-owner too."""
    server, database = distrusting, a_schema(distrusting)
    fill_small(server, database, rows=20)
    backup = a_backup(server, database, tmp_path)
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
    engine = an_engine(server, database, user=user, password="pw")

    def restore(**target: object) -> Restored:
        return engine.restore_backup(
            backup.source(),
            backup.facts,
            a_context(tmp_path),
            target=Target(**{"database": database, "replace": True, "owners": False, **target}),
        )

    asked = []
    with pytest.raises(PreflightFailed, match=f"is kept, with .*GRANT {definer} ON") as refused:
        restore()
    asked += cures(refused.value.problems)
    assert fingerprint(server, database) == before
    assert schemas(server, database) == [database]
    restore(database=f"{database}_look")  # nothing is kept there, and all of it is ours
    server.run(*asked)
    if server.family == "mysql":
        with pytest.raises(PreflightFailed, match="GRANT SYSTEM_USER ON") as refused:
            restore()
        server.run(*cures(refused.value.problems))

    is_kept_whole(server, before, restore())


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
    engine = an_engine(server, database, user=user, password="pw")

    restored = engine.restore_backup(
        backup.source(),
        backup.facts,
        a_context(tmp_path),
        target=Target(database=database, replace=True),
    )

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


@pytest.mark.parametrize("mysql_server", ["mysql_9_7"], indirect=True)
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
        (unseen,) = engine.preflight(a_context(tmp_path), purpose=Purpose.BACKUP)
        server.run(*cures([unseen]))
        assert list(engine.preflight(a_context(tmp_path), purpose=Purpose.BACKUP)) == []
        backup = a_backup(server, database, tmp_path, user=user, password="pw")
        target = Target(database=database, replace=True)
        with pytest.raises(PreflightFailed, match="partial_revokes, which is ON") as refused:
            engine.restore_backup(backup.source(), backup.facts, a_context(tmp_path), target=target)
        server.run(*cures(refused.value.problems))

        restored = engine.restore_backup(
            backup.source(), backup.facts, a_context(tmp_path), target=target
        )
    finally:
        server.run("SET GLOBAL partial_revokes = OFF")

    assert fingerprint(server, database) == before
    is_kept_whole(server, before, restored)


def test_without_owners_nobody_else_has_to_exist(
    backup: Backup, an_account: AnAccount, tmp_path: Path
) -> None:
    user = an_account()
    backup.server.run(
        rf"GRANT ALL ON `dbb\_restore\_%`.* TO {user}@'%'",
        rf"GRANT ALL ON `{backup.database}%`.* TO {user}@'%'",
        "SET GLOBAL log_bin_trust_function_creators = 1",
    )
    engine = an_engine(backup.server, backup.database, user=user, password="pw")
    try:
        engine.restore_backup(
            backup.source(),
            backup.facts,
            a_context(tmp_path),
            target=Target(database=f"{backup.database}_new", owners=False),
        )
    finally:
        backup.server.run("SET GLOBAL log_bin_trust_function_creators = 0")

    rows = backup.server.run(
        "SELECT DISTINCT DEFINER FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA ="
        f" '{backup.database}_new'"
    )
    assert rows == [(f"{user}@%",)]


def test_a_definer_that_is_not_there_is_told_before_anything_is_touched(
    mysql_server: MysqlServer, a_schema: AnySchema, an_account: AnAccount, tmp_path: Path
) -> None:
    database = a_schema(mysql_server)
    fill_small(mysql_server, database)
    mysql_server.run(
        "CREATE USER IF NOT EXISTS gone@localhost IDENTIFIED BY 'x'",
        "CREATE DEFINER=gone@localhost VIEW theirs AS SELECT 1 AS un",
        "DROP USER gone@localhost",
        database=database,
    )
    backup = a_backup(mysql_server, database, tmp_path)

    with pytest.raises(PreflightFailed, match=r"`gone`@`localhost`.*CREATE USER.*--no-owner"):
        backup.restore(tmp_path, database=f"{database}_new")
    backup.restore(tmp_path, database=f"{database}_new", owners=False)

    assert mysql_server.run("SELECT un FROM theirs", database=f"{database}_new") == [(1,)]


@pytest.mark.parametrize("engine_name", ["MyISAM", "MEMORY"])
def test_tables_that_no_snapshot_shows_are_refused_with_the_cure(
    mysql_server: MysqlServer, a_schema: AnySchema, tmp_path: Path, engine_name: str
) -> None:
    database = a_schema(mysql_server)
    mysql_server.run(f"CREATE TABLE `odd``one` (id INT) ENGINE={engine_name}", database=database)
    engine = an_engine(mysql_server, database)

    with pytest.raises(PreflightFailed, match=f"odd``one` \\({engine_name}\\)") as refused:
        engine.create_backup(MemorySink(), a_context(tmp_path))

    (cure,) = cures(refused.value.problems)
    mysql_server.run(cure)
    assert list(engine.preflight(a_context(tmp_path), purpose=Purpose.BACKUP)) == []


def test_the_other_family_is_told_by_its_name(
    mariadb_11_8: MysqlServer, mysql_9_7: MysqlServer, a_schema: AnySchema, tmp_path: Path
) -> None:
    for family, server in (("mysql", mariadb_11_8), ("mariadb", mysql_9_7)):
        database = a_schema(server)
        engine = an_engine(evolve(server, family=family), database)

        (problem,) = engine.preflight(a_context(tmp_path), purpose=Purpose.BACKUP)

        assert f"use databaseType {server.family}" in problem.message
