"""What takes a half-made swap back may fail or die itself, and is tried again."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

from controller.api.errors import AccessDenied, BackupError, TargetExists
from engines.interface import Progress, Target
from engines.mysql_family import journal
from engines.mysql_family.connection import Session
from tests.integration.mysql.conftest import Backup, a_backup, fill_small, left_behind, schemas
from tests.integration.mysql.test_swap import Killed, insist_on_no_backup, stop_at
from tests.servers.mysql import MysqlServer
from tests.servers.mysql_engine import an_engine
from tests.servers.mysql_fixtures import on_newest
from tests.servers.mysql_samples import fingerprint
from tests.servers.postgres_engine import a_context

AnySchema = Callable[..., str]
AnAccount = Callable[..., str]
#: Where a swap has everything behind it but one event.
LAST_STEP = "CREATE .* EVENT"


@pytest.fixture
def changed(mysql_server: MysqlServer, a_schema: AnySchema, tmp_path: Path) -> Backup:
    """A backup of a small database in which every kind of object is another one since."""
    database = a_schema(mysql_server)
    fill_small(mysql_server, database, rows=20)
    mysql_server.run(
        "CREATE VIEW turned AS SELECT 1 AS un",
        f"ALTER DATABASE `{database}` COLLATE utf8mb4_unicode_ci",
        database=database,
    )
    backup = a_backup(mysql_server, database, tmp_path)
    mysql_server.run(
        "INSERT INTO b (a_id) VALUES (3)",
        "CREATE TRIGGER again AFTER INSERT ON b FOR EACH ROW FOLLOWS logged SET @again = NEW.id",
        "DROP VIEW turned",
        "CREATE TABLE turned (id INT PRIMARY KEY)",  # the backup has a view of that name
        "DROP VIEW shown",
        "CREATE OR REPLACE VIEW shown AS SELECT id FROM turned",
        "DROP FUNCTION unit",
        "CREATE FUNCTION unit() RETURNS INT DETERMINISTIC RETURN 2",
        "CREATE PROCEDURE later() SELECT 1",
        "ALTER EVENT tidy COMMENT 'changed'",
        f"ALTER DATABASE `{database}` COLLATE utf8mb4_bin",
        database=database,
    )
    return backup


@pytest.mark.parametrize("is_killed", [False, True])
def test_taking_back_that_stops_anywhere_goes_on_where_it_was(
    changed: Backup, tmp_path: Path, is_killed: bool
) -> None:
    """Instead of each statement, and after it: by the next restore everything is as before."""
    before = fingerprint(changed.server, changed.database)

    for number in itertools.count(1):
        with pytest.MonkeyPatch.context() as patches:
            stopped = stop_the_undo_at(number, patches, is_killed=is_killed)
            stop_at(LAST_STEP, changed, tmp_path, patches, is_killed=False)
        if not stopped:
            break
        assert left_behind(changed.server) != []
        insist_on_no_backup(changed, tmp_path)
        with pytest.raises(TargetExists):
            changed.restore(tmp_path)  # takes back, then refuses

        assert fingerprint(changed.server, changed.database) == before, stopped
        assert left_behind(changed.server) == []
        assert schemas(changed.server, changed.database) == [changed.database], stopped

    assert number > 10
    assert fingerprint(changed.server, changed.database) == before


def stop_the_undo_at(number: int, patches: pytest.MonkeyPatch, *, is_killed: bool) -> list[str]:
    """From now on, the undo stops at the statement of that number, which is returned then."""
    run, undo = Session.run, journal.undo
    stopped: list[str] = []
    numbers = itertools.count(1)
    state = {"in undo": False}

    def stopping(session: Session, *statements: str, what: str = "") -> None:
        (statement, *_) = statements or ("",)
        counts = state["in undo"] and not stopped and not statement.startswith(("USE", "SET"))
        stops = counts and next(numbers) == number
        if stops:
            stopped.append(statement)
            if not is_killed:
                raise BackupError("the server is on fire")
        run(session, *statements, what=what)
        if stops:
            raise Killed

    def undoing(session: Session, beside: str) -> list[str]:
        state["in undo"] = True
        try:
            return undo(session, beside)
        finally:
            state["in undo"] = False

    patches.setattr(Session, "run", stopping)
    patches.setattr(journal, "undo", undoing)
    if is_killed:
        patches.setattr("engines.mysql_family.restore.Restore._drop", lambda *_: None)
    return stopped


@on_newest("mysql")
def test_a_right_that_is_taken_away_in_the_middle_costs_no_table(
    mysql_server: MysqlServer, a_schema: AnySchema, an_account: AnAccount, tmp_path: Path
) -> None:
    """The swap may not drop a view of root's; the restore is tried again, twice."""
    database = a_schema(mysql_server)
    fill_small(mysql_server, database, rows=20)
    backup = a_backup(mysql_server, database, tmp_path)
    before = fingerprint(mysql_server, database)
    user = an_account()
    mysql_server.run(f"GRANT ALL ON *.* TO {user}@'%'")
    engine = an_engine(mysql_server, database, user=user, password="pw")

    def take_away(progress: Progress) -> None:
        if progress.stage == "objects":
            mysql_server.run(f"REVOKE SYSTEM_USER ON *.* FROM {user}@'%'")

    def restore(report: Callable[[Progress], None]) -> None:
        engine.restore_backup(
            backup.source(),
            backup.facts,
            a_context(tmp_path, report=report),
            target=Target(database=database, replace=True, owners=False),
        )

    for _attempt in range(2):
        mysql_server.run(f"GRANT SYSTEM_USER ON *.* TO {user}@'%'")
        with pytest.raises(AccessDenied, match="SYSTEM_USER") as refused:
            restore(take_away)
        # Root's trigger could be dropped, and not be made again.
        assert any("CREATE DEFINER" in note for note in refused.value.__notes__)
        after = fingerprint(mysql_server, database)
        assert before.keys() - after.keys() == {"TRIGGER logged", "order of logged"}
        assert all(after[name] == before[name] for name in after.keys() & before.keys())
        assert all("dbb_swap_" in name for name in after.keys() - before.keys())
        # Without the trigger, it would be no backup of this database.
        insist_on_no_backup(backup, tmp_path)
    mysql_server.run(f"GRANT SYSTEM_USER ON *.* TO {user}@'%'")
    with pytest.raises(TargetExists):
        backup.restore(tmp_path)

    assert fingerprint(mysql_server, database) == before
    assert schemas(mysql_server, database) == [database]
    assert left_behind(mysql_server) == []


def test_a_table_in_the_way_of_an_old_one_is_told_and_cured_by_hand(
    changed: Backup, tmp_path: Path
) -> None:
    """A migration that makes what it misses, after a runner was killed in the middle."""
    server, database = changed.server, changed.database
    before = fingerprint(server, database)
    with pytest.MonkeyPatch.context() as patches:
        assert stop_at("RENAME TABLE", changed, tmp_path, patches, is_killed=True)
    server.run("CREATE TABLE b (id INT PRIMARY KEY)", database=database)

    for _attempt in range(2):
        with pytest.raises(BackupError, match=r"by hand.*RENAME TABLE .*; DELETE FROM .*steps`"):
            changed.restore(tmp_path, replace=True)
    server.run("DROP TABLE b", database=database)
    with pytest.raises(TargetExists):
        changed.restore(tmp_path)

    assert fingerprint(server, database) == before
    assert left_behind(server) == []


def test_a_target_that_was_dropped_in_the_middle_is_restored_and_loses_nothing(
    changed: Backup, tmp_path: Path
) -> None:
    server, database = changed.server, changed.database
    with pytest.MonkeyPatch.context() as patches:
        assert stop_at("RENAME TABLE", changed, tmp_path, patches, is_killed=True)
    server.run(f"DROP DATABASE `{database}`")

    restored = changed.restore(tmp_path)

    (kept,) = schemas(server, f"{database}_before")
    assert any(f"`{kept}`.`b` TO" in warning for warning in restored.warnings)
    assert server.run("SELECT COUNT(*) FROM b", database=kept) == [(3,)]
    assert server.run("SELECT COUNT(*) FROM a", database=database) == [(20,)]
    assert left_behind(server) == []


def test_code_that_cannot_be_made_again_is_told_and_holds_up_no_restore(
    changed: Backup, tmp_path: Path
) -> None:
    """And nobody's work by hand since is undone; the next success ends it."""
    server, database = changed.server, changed.database
    with pytest.MonkeyPatch.context() as patches:
        assert stop_at("DROP PROCEDURE", changed, tmp_path, patches, is_killed=True)
    (schema,) = (name for name in left_behind(server) if name.endswith("_undo"))
    server.run(
        f"UPDATE `{schema}`.steps SET statements = '[\"NO SUCH STATEMENT\"]'"
        " WHERE makes LIKE '%later%'",
    )
    with pytest.raises(TargetExists):
        changed.restore(tmp_path)
    assert schema in left_behind(server)
    insist_on_no_backup(changed, tmp_path)
    assert schemas(server, f"{database}_before") == []
    server.run(
        "DROP FUNCTION unit",
        "CREATE FUNCTION unit() RETURNS INT DETERMINISTIC RETURN 5",
        database=database,
    )

    restored = changed.restore(tmp_path, replace=True)

    assert any("NO SUCH STATEMENT" in warning for warning in restored.warnings)
    assert server.run("SELECT unit()", database=restored.kept_as) == [(5,)]
    for name in (database, restored.kept_as):
        assert "dbb_" not in str(server.run(f"SHOW TABLES FROM `{name}`"))
    assert left_behind(server) == []
