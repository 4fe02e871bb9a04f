"""Restored tables take the place of those that are there, or leave them as they were."""

from __future__ import annotations

import re
import secrets
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from controller.api.errors import (
    BackupError,
    DatabaseUnavailable,
    PreflightFailed,
    TargetExists,
)
from engines.interface import Progress, Restored, Target
from engines.mysql_family import progress, swap
from engines.mysql_family.connection import Session
from tests.fakes.streams import MemorySink
from tests.integration.mysql.conftest import Backup, a_backup, left_behind, schemas
from tests.integration.mysql.rights import routines
from tests.servers.mysql import MysqlServer
from tests.servers.mysql_samples import fill, fingerprint
from tests.servers.postgres_engine import a_context

AnySchema = Callable[..., str]


@pytest.fixture
def changed(mysql_server: MysqlServer, a_schema: AnySchema, tmp_path: Path) -> Backup:
    """A backup of one of everything, of a database that is another one since."""
    database = a_schema(mysql_server)
    fill(mysql_server, database)
    backup = a_backup(mysql_server, database, tmp_path)
    mysql_server.run(
        "DELETE FROM log",
        "DROP TRIGGER team_gone",
        "CREATE TRIGGER later AFTER INSERT ON log FOR EACH ROW SET @x = 1",
        "DROP VIEW a_chain",
        "CREATE TABLE a_chain (id INT PRIMARY KEY)",  # the backup has a view of that name
        "DROP TABLE no_key",
        "CREATE VIEW no_key AS SELECT 1 AS a, 2 AS b",  # and a table of this
        "DROP FUNCTION twice",
        "CREATE FUNCTION twice(i INT) RETURNS INT DETERMINISTIC RETURN i * 3",
        "CREATE PROCEDURE later() SELECT 1",
        "ALTER EVENT nightly COMMENT 'changed'",
        f"ALTER DATABASE `{database}` COLLATE utf8mb4_bin",
        database=database,
    )
    return backup


def test_what_is_there_is_kept_whole_under_a_dated_name(changed: Backup, tmp_path: Path) -> None:
    before = fingerprint(changed.server, changed.database)

    restored = changed.restore(tmp_path, replace=True)

    assert restored.kept_as is not None
    assert restored.kept_as.startswith(f"{changed.database}_before_20")
    kept = fingerprint(changed.server, restored.kept_as)
    asleep = [name for name in before if name.startswith("EVENT")]
    assert {k: v for k, v in kept.items() if k not in asleep} == {
        k: v for k, v in before.items() if k not in asleep
    }
    assert kept.keys() == before.keys()
    assert "DISABLE" in str(kept["EVENT nightly"])
    assert any("events" in warning for warning in restored.warnings)
    again = a_backup(changed.server, changed.database, tmp_path)
    assert again.sink.streams["objects"] == changed.sink.streams["objects"]
    assert again.facts.counts == changed.facts.counts
    assert left_behind(changed.server) == []


def test_replace_under_a_busy_pool_loses_no_row_of_a_trigger(
    changed: Backup, tmp_path: Path
) -> None:
    """Every row of `team` has its two of the triggers, whenever it was written."""
    server, stop, errors = changed.server, threading.Event(), set()
    server.run("DELETE FROM log", database=changed.database)

    def work(number: int) -> None:
        import pymysql

        with server.connect(changed.database) as connection, connection.cursor() as cursor:
            while not stop.is_set():
                number += 10
                try:
                    cursor.execute(f"INSERT INTO team (id) VALUES ({number})")
                except pymysql.MySQLError as error:
                    errors.add(error.args[0])

    pool = [threading.Thread(target=work, args=(1000 + start,)) for start in range(4)]
    for worker in pool:
        worker.start()
    try:
        restored = changed.restore(tmp_path, replace=True)
    finally:
        threading.Event().wait(0.3)
        stop.set()
        for worker in pool:
            worker.join()

    assert errors <= {1146}  # no such table, for a moment
    query = "SELECT (SELECT COUNT(*) FROM team WHERE id > 1000), (SELECT COUNT(*) FROM log)"
    ((teams, said),) = server.run(query, database=changed.database)
    assert teams > 0
    # 500 rows of the sample's were not made by it, and no entries were in the backup's log.
    assert said == 2 * teams
    assert restored.kept_as is not None


def test_an_open_transaction_ends_the_restore_and_everything_is_as_before(
    changed: Backup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(swap, "_LOCK_WAIT_S", 1)
    monkeypatch.setattr(swap, "_PATIENCE_S", 2.0)
    before = fingerprint(changed.server, changed.database)
    with changed.server.connect(changed.database, autocommit=False) as holder:
        with holder.cursor() as cursor:
            cursor.execute("SELECT COUNT(*) FROM team")
        with pytest.raises(DatabaseUnavailable, match="end them, with KILL"):
            changed.restore(tmp_path, replace=True)

    assert fingerprint(changed.server, changed.database) == before
    assert schemas(changed.server, changed.database) == [changed.database]
    assert left_behind(changed.server) == []


def test_a_swap_that_takes_long_shows_that_the_server_is_at_work(
    backup: Backup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "_PERIOD_S", 0.2)
    monkeypatch.setattr(swap, "_PATIENCE_S", 1.0)
    told: list[Progress] = []
    with backup.server.connect(backup.database, autocommit=False) as holder:
        with holder.cursor() as cursor:
            cursor.execute("SELECT COUNT(*) FROM b")
        with pytest.raises(DatabaseUnavailable):
            backup.engine.restore_backup(
                backup.source(),
                backup.facts,
                a_context(tmp_path, report=told.append),
                target=Target(database=backup.database, replace=True),
            )

    assert max(one.signs for one in told if one.stage == "swap") >= 3


class Killed(BaseException):
    """In place of a process that ends: nothing of ours runs any more."""


#: Beginnings of statements. At the last but one, a view has the name of a table that has left.
STEPS = [
    "CREATE DATABASE", "CREATE TABLE IF NOT EXISTS", "DROP TRIGGER", "RENAME TABLE",
    "CREATE DEFINER", "DROP FUNCTION", "DROP VIEW", "DROP EVENT", "CREATE .* EVENT",
    "CREATE .* EVENT `once`",
]  # fmt: skip


@pytest.mark.parametrize("is_killed", [False, True])
def test_a_swap_that_stops_anywhere_is_taken_back(
    changed: Backup, tmp_path: Path, is_killed: bool
) -> None:
    """At once after a failure; by the next restore when the runner was killed."""
    before = fingerprint(changed.server, changed.database)
    whole = a_backup(changed.server, changed.database, tmp_path)

    for step in STEPS:
        with pytest.MonkeyPatch.context() as patches:
            assert stop_at(step, changed, tmp_path, patches, is_killed=is_killed)
        if is_killed:
            assert left_behind(changed.server) != []
            if step != STEPS[0]:  # which is the journal's: the target is whole
                insist_on_no_backup(changed, tmp_path)
            with pytest.raises(TargetExists):
                changed.restore(tmp_path)  # takes back, then refuses

        assert fingerprint(changed.server, changed.database) == before, step
        assert left_behind(changed.server) == []
        again = a_backup(changed.server, changed.database, tmp_path)
        assert again.facts.counts == whole.facts.counts, step
        assert schemas(changed.server, changed.database) == [changed.database], step


def insist_on_no_backup(half: Backup, tmp_path: Path) -> None:
    """By an account that may back up that database, and sees nothing else."""
    user, server = f"u_{secrets.token_hex(4)}", half.server
    server.run(
        f"CREATE USER {user}@'%' IDENTIFIED BY 'pw'",
        f"GRANT SELECT, SHOW VIEW, TRIGGER, EVENT ON `{half.database}`.* TO {user}@'%'",
        routines(server, half.database, user),
        f"GRANT PROCESS ON *.* TO {user}@'%'",
    )
    try:
        with pytest.raises(PreflightFailed, match=r"restore again") as refused:
            a_backup(server, half.database, tmp_path, user=user, password="pw")
        assert [one.path for one in refused.value.problems] == ["database"]
    finally:
        server.run(f"DROP USER {user}@'%'")


def test_a_runner_that_is_killed_after_its_swap_has_restored(
    changed: Backup, tmp_path: Path
) -> None:
    """Nothing is taken back; that backups are kept away is over with the next restore."""
    with pytest.MonkeyPatch.context() as patches:
        assert stop_at("DROP DATABASE", changed, tmp_path, patches, is_killed=True)
    insist_on_no_backup(changed, tmp_path)

    with pytest.raises(TargetExists):
        changed.restore(tmp_path)

    again = a_backup(changed.server, changed.database, tmp_path)
    assert again.facts.counts == changed.facts.counts
    assert again.sink.streams["objects"] == changed.sink.streams["objects"]


def test_a_swap_that_begins_while_a_dump_runs_ends_the_backup(
    changed: Backup, tmp_path: Path
) -> None:
    """Another runner's: what the preflight has seen does not help."""
    sink, begun = MemorySink(), threading.Event()

    def begin(progress: Progress) -> None:
        if progress.stage == "dump" and not begun.is_set():
            begun.set()
            with pytest.MonkeyPatch.context() as patches:
                step = "CREATE TABLE IF NOT EXISTS"
                assert stop_at(step, changed, tmp_path, patches, is_killed=True)

    with pytest.raises(DatabaseUnavailable, match="restore again"):
        changed.engine.create_backup(sink, a_context(tmp_path, report=begin))

    assert begun.is_set()
    assert sink.streams == {}
    with pytest.raises(TargetExists):
        changed.restore(tmp_path)
    assert left_behind(changed.server) == []


def stop_at(
    step: str, changed: Backup, tmp_path: Path, patches: pytest.MonkeyPatch, *, is_killed: bool
) -> bool:
    """Run a restore that stops at the first statement of a swap that begins so.

    Returns: whether it did.
    """
    run, swap_run = Session.run, swap.Swap.run
    state = {"in swap": False, "stopped": False}

    def stopping(session: Session, *statements: str, what: str = "") -> None:
        run(session, *statements, what=what)
        if (
            state["in swap"]
            and not state["stopped"]
            and any(re.match(step, statement) for statement in statements)
        ):
            state["stopped"] = True  # it happened, and its answer was lost
            raise Killed if is_killed else BackupError("the server is on fire")

    def swapping(one: swap.Swap, kept: str | None) -> list[str]:
        state["in swap"] = True
        return swap_run(one, kept)

    patches.setattr(Session, "run", stopping)
    patches.setattr(swap.Swap, "run", swapping)
    if is_killed:
        patches.setattr(swap.Swap, "_take_back", lambda *_: None)
        patches.setattr("engines.mysql_family.restore.Restore._drop", lambda *_: None)
    with pytest.raises((BackupError, Killed)):
        changed.restore(tmp_path, replace=True)
    return state["stopped"]


def test_an_empty_database_of_that_name_is_used(
    changed: Backup, tmp_path: Path, a_schema: AnySchema
) -> None:
    empty = a_schema(changed.server)

    restored: Restored = changed.restore(tmp_path, database=empty)

    assert restored.kept_as is None
    assert schemas(changed.server, empty) == [empty]


def test_a_foreign_key_from_elsewhere_is_a_refusal_that_names_it(
    changed: Backup, tmp_path: Path, a_schema: AnySchema
) -> None:
    other = a_schema(changed.server)
    changed.server.run(
        f"CREATE TABLE far (id INT, CONSTRAINT reaches FOREIGN KEY (id) REFERENCES"
        f" `{changed.database}`.person (id))",
        database=other,
    )

    with pytest.raises(PreflightFailed, match=r"DROP FOREIGN KEY `reaches`;"):
        changed.restore(tmp_path, replace=True)

    changed.server.run("DROP TABLE far", database=other)
