"""Until a restore has filled its target, no backup takes that for the database.

A backup of a database with nothing in it is a good one, and green: of a target that a restore has
made a moment ago it would push out those that are worth something.
"""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from controller.api.errors import (
    BackupError,
    DatabaseUnavailable,
    ObjectNotFound,
    PreflightFailed,
)
from engines.interface import Progress, Target
from engines.mysql_family import swap
from engines.mysql_family.connection import Session
from engines.mysql_family.quoting import literal
from tests.integration.mysql.conftest import Backup, a_backup, fill_small, left_behind, schemas
from tests.integration.mysql.test_swap import Killed, insist_on_no_backup
from tests.servers.mysql import MysqlServer
from tests.servers.mysql_fixtures import on_newest
from tests.servers.mysql_samples import fingerprint
from tests.servers.postgres_engine import a_context

MakeSchema = Callable[..., str]


@pytest.fixture
def gone(mysql_server: MysqlServer, a_schema: MakeSchema, tmp_path: Path) -> Backup:
    """A backup of a small database that somebody has dropped since."""
    database = a_schema(mysql_server)
    fill_small(mysql_server, database, rows=20)
    backup = a_backup(mysql_server, database, tmp_path)
    mysql_server.run(f"DROP DATABASE `{database}`")
    return backup


def stop_after(number: int, patches: pytest.MonkeyPatch, *, is_killed: bool = True) -> list[str]:
    """A restore stops after the swap's statement of that number, which is returned then.

    Killed, it does nothing more; otherwise that is a failure, and it is killed in taking it back
    at the next statement that drops something.
    """
    run, begin = Session.run, swap.Swap.run
    stopped: list[str] = []
    numbers = itertools.count(1)
    state = {"in swap": False}

    def stopping(session: Session, *statements: str, what: str = "") -> None:
        for statement in statements:
            run(session, statement, what=what)
            if stopped and statement.startswith("DROP"):
                raise Killed
            counts = state["in swap"] and not stopped and not re.match("USE|SET", statement)
            if counts and next(numbers) == number:
                stopped.append(statement)
                raise Killed if is_killed else BackupError("the server is on fire")

    def swapping(one: swap.Swap, kept: str | None) -> list[str]:
        state["in swap"] = True
        return begin(one, kept)

    patches.setattr(Session, "run", stopping)
    patches.setattr(swap.Swap, "run", swapping)
    patches.setattr("engines.mysql_family.restore.Restore._drop", lambda *_: None)
    if is_killed:
        patches.setattr(swap.Swap, "_take_back", lambda *_: None)
    return stopped


def insist_on_no_empty_backup(backup: Backup, tmp_path: Path) -> None:
    """There is no such database, or it is refused; or the restore is whole, and so is a backup."""
    if backup.database not in schemas(backup.server, backup.database):
        with pytest.raises(ObjectNotFound):
            a_backup(backup.server, backup.database, tmp_path)
        return
    try:
        again = a_backup(backup.server, backup.database, tmp_path)
    except PreflightFailed:
        insist_on_no_backup(backup, tmp_path)
    else:
        assert again.facts.counts == backup.facts.counts


@pytest.mark.parametrize("is_killed", [True, False], ids=["killed", "failed-then-killed"])
def test_a_restore_that_dies_anywhere_leaves_no_database_that_would_be_backed_up_empty(
    gone: Backup, tmp_path: Path, is_killed: bool
) -> None:
    for number in itertools.count(1):
        with pytest.MonkeyPatch.context() as patches:
            stopped = stop_after(number, patches, is_killed=is_killed)
            with contextlib.suppress(BackupError, Killed):
                gone.restore(tmp_path)
        if not stopped:
            break
        insist_on_no_empty_backup(gone, tmp_path)

        # The next restore begins with nothing, whatever there was.
        with pytest.MonkeyPatch.context() as patches:
            patches.setattr("engines.mysql_family.load.Load.run", die)
            with pytest.raises((BackupError, Killed)):
                gone.restore(tmp_path)
        if stopped[0].startswith("DROP"):  # the journal: this one was whole
            assert gone.database in schemas(gone.server, gone.database)
        else:
            assert schemas(gone.server, gone.database) == [], stopped
        insist_on_no_empty_backup(gone, tmp_path)
        gone.server.run(f"DROP DATABASE IF EXISTS `{gone.database}`")

    assert number > 8
    gone.server.run(f"DROP DATABASE `{gone.database}`")
    gone.restore(tmp_path)
    assert a_backup(gone.server, gone.database, tmp_path).facts.counts == gone.facts.counts
    assert left_behind(gone.server) == []


def die(*_: object) -> None:
    raise Killed


def test_an_empty_database_is_not_backed_up_while_a_restore_fills_another_beside_it(
    gone: Backup, tmp_path: Path
) -> None:
    gone.server.run(f"CREATE DATABASE `{gone.database}` COLLATE utf8mb4_bin")
    met = []

    def look(progress: Progress) -> None:
        if progress.stage == "data" and not met:
            met.append(progress)
            insist_on_no_backup(gone, tmp_path)

    gone.engine.restore_backup(
        gone.source(),
        gone.facts,
        a_context(tmp_path, report=look),
        target=Target(database=gone.database),
    )

    assert met
    assert a_backup(gone.server, gone.database, tmp_path).facts.counts == gone.facts.counts


def test_an_empty_database_is_as_it_was_when_its_restore_fails_and_marked_when_it_is_killed(
    gone: Backup, tmp_path: Path
) -> None:
    gone.server.run(f"CREATE DATABASE `{gone.database}` COLLATE utf8mb4_bin")
    before = fingerprint(gone.server, gone.database)

    with pytest.MonkeyPatch.context() as patches:
        patches.setattr("engines.mysql_family.load.Load.run", die)
        with pytest.raises(Killed):
            gone.restore(tmp_path)
        assert fingerprint(gone.server, gone.database) == before
        assert a_backup(gone.server, gone.database, tmp_path).facts.counts["tables"] == 0

        patches.setattr("engines.mysql_family.restore.Restore._drop", lambda *_: None)
        with pytest.raises(Killed):
            gone.restore(tmp_path)
    insist_on_no_backup(gone, tmp_path)

    assert gone.restore(tmp_path).kept_as is None
    assert a_backup(gone.server, gone.database, tmp_path).facts.counts == gone.facts.counts
    assert left_behind(gone.server) == []


def test_a_table_that_somebody_made_in_a_half_made_target_is_not_dropped_with_it(
    gone: Backup, tmp_path: Path
) -> None:
    """An application that makes its tables when it finds none."""
    with pytest.MonkeyPatch.context() as patches:
        stop_after(6, patches)
        with pytest.raises(Killed):
            gone.restore(tmp_path)
    gone.server.run("CREATE TABLE theirs (id INT PRIMARY KEY)", database=gone.database)

    with pytest.raises(BackupError, match="exists and is not empty"):
        gone.restore(tmp_path)

    assert "theirs" in str(gone.server.run(f"SHOW TABLES FROM `{gone.database}`"))
    assert left_behind(gone.server) == []


def test_a_database_that_becomes_a_target_during_a_dump_ends_the_backup(
    gone: Backup, tmp_path: Path
) -> None:
    """It was empty when the backup began, and still is."""
    gone.server.run(f"CREATE DATABASE `{gone.database}`")
    begun = []

    def begin(progress: Progress) -> None:
        if progress.stage == "dump" and not begun:
            with pytest.MonkeyPatch.context() as patches:
                patches.setattr("engines.mysql_family.load.Load.run", die)
                patches.setattr("engines.mysql_family.restore.Restore._drop", lambda *_: None)
                with pytest.raises(Killed):
                    gone.restore(tmp_path)
            begun.append(progress)

    with pytest.raises(DatabaseUnavailable, match="restore again"):
        gone.engine.create_backup(gone.sink.__class__(), a_context(tmp_path, report=begin))

    assert begun


@on_newest("mariadb")
def test_a_target_that_is_made_has_the_comment_and_one_that_is_there_keeps_its_own(
    mysql_server: MysqlServer, a_schema: MakeSchema, tmp_path: Path
) -> None:
    database = a_schema(mysql_server)
    comment = r"the team's \"shop\" %s \n é"
    mysql_server.run(
        "CREATE TABLE t (a INT)",
        f"ALTER DATABASE COMMENT {literal(comment)}",
        database=database,
    )
    backup = a_backup(mysql_server, database, tmp_path)

    def found(schema: str) -> str:
        query = "SELECT SCHEMA_COMMENT FROM information_schema.SCHEMATA WHERE SCHEMA_NAME ="
        ((text,),) = mysql_server.run(f"{query} '{schema}'")
        return str(text)

    backup.restore(tmp_path, database=f"{database}_copy")
    assert found(f"{database}_copy") == found(database) == comment
    mysql_server.run(f"ALTER DATABASE `{database}` COMMENT 'later'")
    backup.restore(tmp_path, replace=True)
    assert found(database) == "later"
