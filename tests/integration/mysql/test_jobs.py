"""Whole jobs of the command line against both families, into encrypted places."""

from __future__ import annotations

import os
import signal

from tests.integration.jobs.commands import eventually
from tests.integration.jobs.world import World
from tests.integration.mysql.conftest import configure, left_behind, schemas
from tests.integration.mysql.test_backup_faults import fill_large
from tests.servers.mysql import MysqlServer
from tests.servers.mysql_samples import fill, fingerprint


def test_back_up_lose_and_bring_back(world: World, mysql_server: MysqlServer) -> None:
    fill(mysql_server, world.database)
    before = fingerprint(mysql_server, world.database)

    world.cli("doctor").must(0)
    backup_id = world.back_up()
    mysql_server.run(f"DROP DATABASE `{world.database}`")
    done = world.cli("restore", "--name", backup_id, "--yes").must(0, world.database)

    assert fingerprint(mysql_server, world.database) == before
    assert world.backups(world.places[0]) == world.backups(world.places[1]) == [backup_id]
    world.cli("verify", "--all").must(0)
    world.cli("show", backup_id).must(0, f"{mysql_server.family}", "--binary-mode")
    for said in (done.out, done.err):
        assert mysql_server.password not in said
    refused = world.cli("restore", "--name", backup_id, "--yes")
    refused.must(78, "--replace")
    world.cli("restore", "--name", backup_id, "--replace", "--yes").must(
        0, f"{world.database}_before_"
    )
    assert fingerprint(mysql_server, world.database) == before


def test_what_a_backup_lacks_ends_it_with_the_grant(
    world: World, mysql_server: MysqlServer
) -> None:
    fill(mysql_server, world.database)
    mysql_server.run(
        "CREATE USER weak@'%' IDENTIFIED BY 'pw'",
        f"GRANT SELECT ON `{world.database}`.* TO weak@'%'",
    )
    configure(world, mysql_server, user={"value": "weak"}, **{"pass": {"value": "pw"}})
    try:
        done = world.cli("backup-now")
        done.must(78, "GRANT SHOW VIEW, TRIGGER, EVENT ON")
        world.cli("doctor").must(78, "GRANT SHOW VIEW, TRIGGER, EVENT ON")
    finally:
        mysql_server.run("DROP USER weak@'%'")

    assert world.backups() == []


def test_a_runner_that_is_killed_in_a_restore_leaves_what_the_next_one_takes_back(
    world: World, mysql_server: MysqlServer
) -> None:
    fill_large(mysql_server, world.database)
    before = fingerprint(mysql_server, world.database)
    backup_id = world.back_up()

    with world.started("restore", "--name", backup_id, "--replace", "--yes") as process:
        eventually(lambda: left_behind(mysql_server) != [], say=lambda: "nothing was begun")
        process.kill()
        process.wait()
    eventually(lambda: world.processes() == [], say=lambda: str(world.processes()))

    assert fingerprint(mysql_server, world.database) == before
    done = world.cli("restore", "--name", backup_id, "--replace", "--yes").must(0)
    assert fingerprint(mysql_server, world.database) == before
    assert "_before_" in done.out
    assert len(schemas(mysql_server, f"{world.database}_before_")) == 1


def test_a_runner_that_is_killed_in_a_swap_is_told_by_a_dry_run_and_taken_back_by_a_refused_one(
    world: World, mysql_server: MysqlServer
) -> None:
    """A transaction of the application's holds the swap up, and then the runner is killed."""
    fill(mysql_server, world.database)
    before = fingerprint(mysql_server, world.database)
    backup_id = world.back_up()
    restore = ("restore", "--name", backup_id, "--yes")

    with mysql_server.connect(world.database, autocommit=False) as holder:
        with holder.cursor() as cursor:
            cursor.execute("SELECT COUNT(*) FROM team")
        with world.started(*restore, "--replace") as process:
            eventually(
                lambda: any(name.endswith("_undo") for name in left_behind(mysql_server)),
                say=lambda: "no swap was begun",
            )
            eventually(
                lambda: schemas(mysql_server, f"{world.database}_before_"),
                say=lambda: "there is nothing to keep it in",
            )
            world.cli(*restore, "--dry-run", CONTROL_DIR=str(world.folder / "elsewhere")).must(
                69, "another restore into the database"
            )
            os.kill(world.find_process("runner.jobs.child"), signal.SIGKILL)
            process.wait()
    eventually(lambda: world.processes() == [], say=lambda: str(world.processes()))

    world.cli("backup-now").must(78, "restore again")
    left = left_behind(mysql_server)
    ended = "ended in the middle of its swap"
    world.cli(*restore, "--dry-run", "--replace").must(0, ended, "would go ahead")
    world.cli(*restore, "--dry-run").must(78, ended, "it has what it had", "--replace")
    assert left_behind(mysql_server) == left
    world.cli(*restore).must(78, "exists and is not empty")

    assert fingerprint(mysql_server, world.database) == before
    assert schemas(mysql_server, world.database) == [world.database]
    world.back_up()
