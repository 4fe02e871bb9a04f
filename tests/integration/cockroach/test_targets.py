"""Names that a restore finds taken, empty, or with something in them that no cluster renames."""

from __future__ import annotations

import pytest

from tests.integration.cockroach.world import CockroachWorld
from tests.servers.cockroach.jobs import Fate


@pytest.fixture
def world(one: CockroachWorld) -> CockroachWorld:
    one.put("a", "1")
    return one


def add_a_view(world: CockroachWorld) -> None:
    place = f"{world.database}.public"
    world.server.execute(f"CREATE VIEW {place}.seen AS SELECT k FROM {place}.t")


def test_what_has_views_is_not_replaced_and_the_cure_is_named(world: CockroachWorld) -> None:
    add_a_view(world)
    world.back_up()
    jobs = len(world.stand_in.jobs.all())

    world.cli("restore", "--at", "now", "--replace", "--yes").must(78, "has views", "--database")

    assert len(world.stand_in.jobs.all()) == jobs
    world.cli("restore", "--at", "now", "--database", "copy").must(0)
    assert world.server.rows("copy") == {"a": "1"}
    # The cure, to its end.
    world.server.execute(f"DROP DATABASE IF EXISTS {world.database} CASCADE")
    world.cli("restore", "--at", "now").must(0)
    assert world.server.rows(world.database) == {"a": "1"}


def test_a_backup_with_views_replaces_nothing_and_what_was_there_stays(
    world: CockroachWorld,
) -> None:
    """Of what is in a backup the cluster tells only once it has restored it."""
    add_a_view(world)
    world.back_up()
    world.stand_in.databases[world.database].views.clear()
    world.put("a", "2")

    world.cli("restore", "--at", "now", "--replace", "--yes").must(78, "depends on", "--database")

    assert world.server.rows(world.database) == {"a": "2"}
    assert not [name for name in world.server.databases() if "_before_" in name]
    world.assert_nothing_left()


def test_an_empty_target_that_has_a_type_is_kept(world: CockroachWorld) -> None:
    world.back_up()
    world.server.execute("CREATE DATABASE shell")
    world.server.execute("CREATE TYPE shell.public.mood AS ENUM ('good')")

    world.cli("restore", "--at", "now", "--database", "shell").must(0, "former database kept as")

    assert world.server.rows("shell") == {"a": "1"}
    (kept,) = [name for name in world.server.databases() if name.startswith("shell_before_")]
    assert world.stand_in.databases[kept].types == {"mood"}


def test_an_empty_target_has_its_name_again_after_a_restore_that_failed(
    world: CockroachWorld,
) -> None:
    world.back_up()
    world.server.execute("CREATE DATABASE shell")
    world.stand_in.jobs.fates["RESTORE"] = [Fate("failed", "no space left")]

    world.cli("restore", "--at", "now", "--database", "shell").must(75, "no space left")

    assert "shell" in world.server.databases()
    assert not [name for name in world.server.databases() if "_before_" in name]


def test_a_restore_that_somebody_else_runs_is_not_ended(world: CockroachWorld) -> None:
    world.back_up()
    world.stand_in.jobs.go.clear()
    theirs = world.stand_in.jobs.start(
        "RESTORE",
        "RESTORE DATABASE shop FROM 's3://another-bucket/x' WITH new_db_name = 'copy'",
        "root",
        lambda _number, _gate: None,
    )

    world.cli("restore", "--at", "now", "--database", "copy").must(78, f"CANCEL JOB {theirs.id}")

    world.stand_in.jobs.go.set()
    assert theirs.ended.wait(60)
    assert theirs.status == "succeeded"
