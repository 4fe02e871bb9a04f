"""What an account may not do is named with the GRANT, one by one, and then it works."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from attrs import evolve

from controller.api.errors import PreflightFailed
from engines.interface import Purpose, Target
from engines.mysql_family import definitions
from tests.fakes.streams import MemorySink
from tests.integration.mysql.conftest import Backup, a_backup, fill_small, left_behind
from tests.servers.mysql import MysqlServer
from tests.servers.mysql_engine import an_engine
from tests.servers.mysql_samples import fill, fingerprint
from tests.servers.postgres_engine import a_context

DOCS = Path(__file__).parents[3] / "docs"
AnySchema = Callable[..., str]
AnAccount = Callable[..., str]


def cures(problems: object) -> list[str]:
    """The statements that the messages ask for."""
    text = "\n".join(str(problem) for problem in problems)  # type: ignore[attr-defined]
    return re.findall(r"(?:GRANT|SET GLOBAL|CREATE USER|ALTER TABLE) [^;]*;", text)


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
    """The GRANTs of the family's page below a heading, for this schema and account."""
    page = (DOCS / f"{server.family}.md").read_text()
    (block,) = re.search(rf"{heading}\n.*?```sql\n(.*?)```", page, re.DOTALL).groups()
    found = re.findall(r"^(GRANT [^;]*;)", block, re.MULTILINE)
    if server.family == "mariadb":
        old = "mysql.proc" if server.series != "10.11" else "SHOW CREATE ROUTINE"
        found = [one for one in found if old not in one]
    return [
        re.sub(r"'(backup|restore)'@", f"{user}@", one).replace("shop", database) for one in found
    ]


def test_the_rights_on_the_page_are_enough_to_restore_and_to_replace(
    mysql_server: MysqlServer, a_schema: AnySchema, an_account: AnAccount, tmp_path: Path
) -> None:
    database = a_schema(mysql_server)
    fill(mysql_server, database)
    before = fingerprint(mysql_server, database)
    backup = a_backup(mysql_server, database, tmp_path)
    user = an_account()
    for statement in granted(mysql_server, "### For restores", database, user):
        mysql_server.run(statement)
    engine = an_engine(mysql_server, database, user=user, password="pw")
    target = Target(database=database, replace=True, label="abc")
    problems = engine.preflight(
        a_context(tmp_path), purpose=Purpose.RESTORE, facts=backup.facts, target=target
    )
    # What the table says beside: the server's own setting, and that root is a system's account.
    assert "log_bin_trust_function_creators" in str(problems[0])
    mysql_server.run("SET GLOBAL log_bin_trust_function_creators = 1")
    if mysql_server.family == "mysql":
        mysql_server.run(f"GRANT SYSTEM_USER ON *.* TO {user}@'%'")
    try:
        restored = engine.restore_backup(
            backup.source(), backup.facts, a_context(tmp_path), target=target
        )
    finally:
        mysql_server.run("SET GLOBAL log_bin_trust_function_creators = 0")

    assert fingerprint(mysql_server, database) == before
    assert restored.kept_as is not None
    assert left_behind(mysql_server) == []


def test_each_right_that_a_restore_lacks_is_named_until_it_works(
    backup: Backup, an_account: AnAccount, tmp_path: Path
) -> None:
    user = an_account()
    engine = an_engine(backup.server, backup.database, user=user, password="pw")
    target = Target(database=backup.database, replace=True, label="abc")

    def problems() -> list[object]:
        return list(
            engine.preflight(
                a_context(tmp_path), purpose=Purpose.RESTORE, facts=backup.facts, target=target
            )
        )

    asked = []
    # Without a right the target is not even seen: what it needs is told when it is.
    for _round in range(4):
        found = cures(problems())
        asked += found
        for statement in found:
            backup.server.run(statement)
    backup.server.run("SET GLOBAL log_bin_trust_function_creators = 0")

    assert problems() == [] or "log_bin" in str(problems())
    assert any("dbb\\_restore\\_%" in one for one in asked)
    assert any("\\_before\\_%" in one for one in asked)
    assert any("DEFINER" in one or "SET USER" in one for one in asked)


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
