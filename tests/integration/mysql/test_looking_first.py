"""A dry run says what a restore would do about one that was killed, and changes nothing."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from controller.api.errors import BusyError, TargetExists
from engines.interface import Purpose, StreamEngine, TakesBack, Target
from engines.mysql_family import target as targets
from tests.integration.mysql.conftest import Backup, a_backup, fill_small, left_behind, schemas
from tests.integration.mysql.test_new_targets import die, stop_after
from tests.integration.mysql.test_swap import Killed
from tests.servers.mysql import MysqlServer
from tests.servers.mysql_samples import fingerprint
from tests.servers.postgres_engine import a_context

MakeSchema = Callable[..., str]
#: Of a swap, by their number: schemas, tables, code, and the end of the journal.
STATEMENTS = (1, 2, 4, 5, 7, 9, 11, 13, 15, 18, 22)


@pytest.fixture
def small(mysql_server: MysqlServer, a_schema: MakeSchema, tmp_path: Path) -> Backup:
    database = a_schema(mysql_server)
    fill_small(mysql_server, database, rows=20)
    return a_backup(mysql_server, database, tmp_path)


def look(backup: Backup, tmp_path: Path, **target: bool) -> tuple[list[str], str]:
    """What a dry run finds in the way, and what else it says."""
    said: list[str] = []
    problems = backup.engine.preflight(
        a_context(tmp_path, warn=said.append),
        purpose=Purpose.RESTORE,
        facts=backup.facts,
        target=Target(database=backup.database, **target),
    )
    return [one.message for one in problems], " ".join(said)


def everything(server: MysqlServer) -> dict[str, object]:
    names = [name for name in schemas(server, "") if name.startswith(("t_", "dbb_"))]
    return {name: server.run(f"SHOW FULL TABLES FROM `{name}`") for name in names}


@pytest.mark.parametrize("before", ["gone", "empty", "full"])
def test_what_it_says_is_what_a_restore_does_then(
    small: Backup, tmp_path: Path, before: str
) -> None:
    """Killed after this statement or that: whether it is refused is known without doing it."""
    server, database = small.server, small.database
    for number in STATEMENTS:
        if before != "full":
            server.run(f"DROP DATABASE IF EXISTS `{database}`")
        if before == "empty":
            server.run(f"CREATE DATABASE `{database}`")
        with pytest.MonkeyPatch.context() as patches:
            stopped = stop_after(number, patches)
            with contextlib.suppress(Killed):
                small.restore(tmp_path, replace=before == "full")
        if not stopped:
            break
        # At which number that is differs from server to server: the journal goes, then the mark.
        is_whole = stopped[0].startswith("DROP") and (
            "_undo" in stopped[0] or targets.mark_name(database) in stopped[0]
        )
        state = everything(server)

        problems, said = look(small, tmp_path)

        assert everything(server) == state
        assert is_whole or "ended" in said
        with pytest.MonkeyPatch.context() as patches:
            patches.setattr("engines.mysql_family.load.Load.run", die)
            if problems:
                assert "exists and is not empty" in problems[0]
                with pytest.raises(TargetExists):
                    small.restore(tmp_path)
            else:
                with pytest.raises(Killed):
                    small.restore(tmp_path)
        assert bool(problems) == (before == "full" or is_whole), stopped
        assert left_behind(server) == []
        for kept in schemas(server, f"{database}_before"):
            server.run(f"DROP DATABASE `{kept}`")
    assert number > 10


def test_what_was_begun_is_counted_and_named(small: Backup, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patches:
        stop_after(8, patches)
        with pytest.raises(Killed):
            small.restore(tmp_path, replace=True)
    (beside,) = (name for name in left_behind(small.server) if not name.endswith("_undo"))

    problems, said = look(small, tmp_path, replace=True)

    assert problems == []
    assert "ended in the middle of its swap" in said
    assert "after which it has what it had" in said
    assert beside in said


def test_taking_back_alone_leaves_the_database_as_it_was(small: Backup, tmp_path: Path) -> None:
    """What the runner does before it looks whether a restore may go ahead."""
    before = fingerprint(small.server, small.database)
    engine = small.engine
    assert isinstance(engine, StreamEngine)
    assert isinstance(engine, TakesBack)
    with pytest.MonkeyPatch.context() as patches:
        stop_after(10, patches)
        with pytest.raises(Killed):
            small.restore(tmp_path, replace=True)

    target = Target(database=small.database)
    assert list(engine.take_back(a_context(tmp_path), target=target)) == []

    assert fingerprint(small.server, small.database) == before
    assert schemas(small.server, small.database) == [small.database]
    assert left_behind(small.server) == []
    assert look(small, tmp_path, replace=True) == ([], "")


def test_one_that_is_alive_is_told_and_not_taken_for_a_killed_one(
    small: Backup, tmp_path: Path
) -> None:
    with (
        small.engine._server(a_context(tmp_path)) as server,  # type: ignore[attr-defined]
        targets.exclusive(server, small.database),
        pytest.raises(BusyError, match="another restore into the database"),
    ):
        look(small, tmp_path, replace=True)


def test_one_that_has_just_ended_is_not_taken_for_one_that_is_alive(
    small: Backup, tmp_path: Path
) -> None:
    """A server lets go of a session's lock a moment later; so it is with our own, too."""
    held = contextlib.ExitStack()
    server = held.enter_context(small.engine._server(a_context(tmp_path)))  # type: ignore[attr-defined]
    held.enter_context(targets.exclusive(server, small.database))
    ending = threading.Timer(0.5, held.close)
    ending.start()

    assert look(small, tmp_path, replace=True) == ([], "")
    ending.join()
