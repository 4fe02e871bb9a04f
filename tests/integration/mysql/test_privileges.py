"""What a backup's account may not do is named with the GRANT, one by one, and then it works."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from attrs import evolve

from controller.api.errors import PreflightFailed
from engines.interface import Purpose
from engines.mysql_family import definitions
from tests.fakes.streams import MemorySink
from tests.integration.mysql.conftest import a_backup, fill_small
from tests.integration.mysql.rights import cures, granted, routines
from tests.servers.mysql import MysqlServer
from tests.servers.mysql_engine import an_engine
from tests.servers.mysql_fixtures import ServerOf, newest
from tests.servers.mysql_samples import fill, fingerprint
from tests.servers.postgres_engine import a_context

AnySchema = Callable[..., str]
AnAccount = Callable[..., str]


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
    restored = evolve(backup, engine=whole.engine).restore(tmp_path, replace=True)
    assert fingerprint(mysql_server, database) == before
    assert not any("broken" in warning for warning in restored.warnings)


def test_rights_may_come_by_a_role(
    mysql_server: MysqlServer, small: str, an_account: AnAccount, tmp_path: Path
) -> None:
    user, role = an_account(), f"role_{small}"
    mysql_server.run(f"CREATE ROLE {role}")
    try:
        for statement in granted(mysql_server, "### For backups", small, user):
            mysql_server.run(statement.replace(f"{user}@'%'", role))
        to = "TO" if mysql_server.family == "mysql" else "FOR"
        mysql_server.run(f"GRANT {role} TO {user}@'%'", f"SET DEFAULT ROLE {role} {to} {user}@'%'")

        backup = a_backup(mysql_server, small, tmp_path, user=user, password="pw")
    finally:
        mysql_server.run(f"DROP ROLE {role}")

    assert backup.facts.counts["routines"] == backup.facts.counts["triggers"] == 1


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
    server_of: ServerOf, a_schema: AnySchema, tmp_path: Path
) -> None:
    for family, other in (("mysql", "mariadb"), ("mariadb", "mysql")):
        server = server_of(other, newest(other))
        database = a_schema(server)
        engine = an_engine(evolve(server, family=family), database)

        (problem,) = engine.preflight(a_context(tmp_path), purpose=Purpose.BACKUP)

        assert f"use databaseType {server.family}" in problem.message
