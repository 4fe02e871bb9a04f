"""Restores and backups of one server at the same time, as processes of their own."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.integration.jobs.commands import Done, eventually
from tests.integration.jobs.world import World
from tests.integration.mysql.conftest import left_behind, schemas
from tests.servers.mysql import MysqlServer
from tests.servers.mysql_engine import an_engine
from tests.servers.mysql_samples import fill, fingerprint
from tests.servers.postgres_engine import a_context


class Together:
    """A database that has changed since its backup, and commands that run side by side.

    Each is a runner's with a control folder of its own: what keeps the jobs of one runner apart is
    in there.
    """

    def __init__(self, world: World, server: MysqlServer) -> None:
        self.world, self.server = world, server
        fill(server, world.database)
        self.backed_up = fingerprint(server, world.database)
        self.backup_id = world.back_up()
        server.run(
            "DELETE FROM log",
            "DELETE FROM no_key",
            "CREATE TABLE since (id INT PRIMARY KEY)",
            "DROP TRIGGER team_gone",
            database=world.database,
        )
        self.changed = fingerprint(server, world.database)

    def restore(self, number: int, *argv: str) -> Done:
        return self.cli(number, "restore", "--name", self.backup_id, "--yes", *argv)

    def cli(self, number: int, *argv: str) -> Done:
        folder = self.world.folder / f"run-{number}"
        folder.mkdir(mode=0o700, exist_ok=True)
        return self.world.cli(*argv, CONTROL_DIR=str(folder), timeout_s=120)

    def kept(self) -> list[str]:
        return schemas(self.server, f"{self.world.database}_before_")


@pytest.fixture
def both(world: World, mysql_server: MysqlServer) -> Together:
    return Together(world, mysql_server)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool


def test_of_two_restores_of_one_target_one_wins_and_the_other_is_refused(
    both: Together, pool: ThreadPoolExecutor
) -> None:
    """Both may win where the second one begins late; nothing is lost in any case."""
    world, server = both.world, both.server

    done = list(pool.map(lambda number: both.restore(number, "--replace"), range(3)))

    won = [one for one in done if one.code == 0]
    assert won
    for one in done:
        if one.code != 0:
            one.must(69, f'another restore into the database "{world.database}" is running')
    assert fingerprint(server, world.database) == both.backed_up
    kept = both.kept()
    assert len(kept) == len(won)
    rows = [server.run(f"SHOW TABLES FROM `{name}` LIKE 'since'") for name in kept]
    assert sorted(map(len, rows)) == [0] * (len(won) - 1) + [1]
    assert left_behind(server) == []


def test_a_restore_that_comes_while_another_one_swaps_is_refused_and_changes_nothing(
    both: Together, pool: ThreadPoolExecutor
) -> None:
    world, server = both.world, both.server
    with server.connect(world.database, autocommit=False) as holder:
        with holder.cursor() as cursor:
            cursor.execute("SELECT COUNT(*) FROM team")
        first = pool.submit(both.restore, 0, "--replace")
        eventually(both.kept, say=lambda: "the swap was not begun")
        second = both.restore(1, "--replace")
    second.must(69, f'another restore into the database "{world.database}" is running')
    first.result().must(0)

    assert fingerprint(server, world.database) == both.backed_up
    (kept,) = both.kept()
    assert server.run(f"SHOW TABLES FROM `{kept}` LIKE 'since'") == [("since",)]
    assert left_behind(server) == []


def test_restores_of_one_backup_into_several_targets_do_not_meet(
    both: Together, pool: ThreadPoolExecutor
) -> None:
    """One of them replaces the database meanwhile that the backup is of."""
    world, server = both.world, both.server
    copies = [f"{world.database}_{name}" for name in ("a", "b")]

    into = [("--replace",), *(("--database", name) for name in copies)]
    for one in pool.map(lambda job: both.restore(job[0], *job[1]), enumerate(into)):
        one.must(0)

    assert fingerprint(server, world.database) == both.backed_up
    tables = server.run(f"SHOW TABLES FROM `{world.database}`")
    for name in copies:
        assert server.run(f"SHOW TABLES FROM `{name}`") == [(table,) for (table,) in tables]
        assert server.run(f"CHECKSUM TABLE `{name}`.person, `{name}`.parts, `{name}`.kinds") == [
            (f"{name}.{table.partition('.')[2]}", checksum)
            for table, checksum in server.run(
                "CHECKSUM TABLE person, parts, kinds", database=world.database
            )
        ]
    assert left_behind(server) == []


def test_a_backup_beside_a_restore_has_all_of_the_old_or_all_of_the_new_or_is_none(
    both: Together, pool: ThreadPoolExecutor
) -> None:
    world, server = both.world, both.server
    restoring = pool.submit(both.restore, 0, "--replace")
    backups: list[Done] = []
    while not restoring.done():
        backups += pool.map(lambda number: both.cli(number, "backup-now", "--json"), (1, 2))
    restoring.result().must(0)

    assert fingerprint(server, world.database) == both.backed_up
    ids = []
    for one in backups:
        if one.code:
            assert one.code in (75, 78), one.said
            assert "restore" in one.said or "altered while it was being dumped" in one.said
        else:
            ids.append(one.outcome()["backupId"])
    for backup_id in ids:
        world.cli("restore", "--name", backup_id, "--replace", "--yes").must(0)
        assert fingerprint(server, world.database) in (both.backed_up, both.changed)
    for name in both.kept():
        server.run(f"DROP DATABASE `{name}`")


def test_a_restore_s_session_outlasts_a_load_of_days(both: Together, tmp_path: Path) -> None:
    """It is silent while a client loads, and holds the lock that keeps other restores away."""
    engine = an_engine(both.server, both.world.database)
    with (
        engine._server(a_context(tmp_path)) as server,  # type: ignore[attr-defined]
        server.session() as session,
    ):
        assert session.one("SELECT @@wait_timeout") >= 7 * 86_400
