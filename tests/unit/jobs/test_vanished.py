"""What a look says of backups that are gone: nothing of those that a prune dropped."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from engines.interface import Progress
from runner.jobs.inspect import run_inspect
from runner.jobs.prune import prune_location, run_prune
from runner.jobs.request import JobRequest
from runner.outcome import JobKind
from tests.unit.jobs.environment import CLUSTER, OWNER, Surroundings
from tests.unit.repository.samples import a_manifest, an_id, put_data

DAY = timedelta(days=1)


@pytest.fixture
def world(tmp_path: Path) -> Surroundings:
    """Five backups, one a day, in both locations, which were looked at; the newest two stay."""
    now = datetime.now(UTC)
    world = Surroundings(tmp_path, now=now, retention={"keepLast": 2, "minimumKeep": 1})
    for name in world.folders:
        for number in range(5):
            catalogue = world.catalogue(name)
            put_data(catalogue, world.storage(name), number)
            catalogue.commit(a_manifest(number, started_at=now - (5 - number) * DAY))
    _look(world)
    return world


def _look(world: Surroundings) -> Mapping[str, int]:
    run_inspect(world.job(JobRequest(kind=JobKind.INSPECT)))
    return _vanished(world)


def _vanished(world: Surroundings) -> Mapping[str, int]:
    """By location, as the last look of any job told it."""
    inspection = world.told("inspection")[-1]["inspection"]
    return {state["name"]: state.get("vanishedBackups", 0) for state in inspection["states"]}


def test_of_all_that_is_gone_only_what_nobody_pruned_has_vanished(world: Surroundings) -> None:
    world.storage("two").delete([OWNER.manifest(an_id(1))])

    run_prune(world.job(JobRequest(kind=JobKind.PRUNE)))

    assert len(world.catalogue("one").list().backups) == 2
    assert _vanished(world) == {"one": 0, "two": 1}
    assert _look(world) == {"one": 0, "two": 0}


@pytest.mark.parametrize("dry_run", [False, True])
def test_a_prune_of_one_location_tells_it_and_leaves_it_to_the_next_look_to_count(
    world: Surroundings, *, dry_run: bool
) -> None:
    world.storage("two").delete([OWNER.manifest(an_id(number)) for number in (1, 4)])

    for name in ("one", "two"):
        run_prune(world.job(JobRequest(kind=JobKind.PRUNE, location=name, dry_run=dry_run)))

    (warning,) = world.told("warning")
    assert "location two: 2 of its backups are gone" in warning["message"]
    assert f"{an_id(1)}, {an_id(4)}" in warning["message"]
    assert _look(world) == {"one": 0, "two": 2}
    assert _look(world) == {"one": 0, "two": 0}


def test_of_what_another_cluster_writes_nothing_is_counted(world: Surroundings) -> None:
    """It would be at each look, since only who writes the index ends that."""
    world.storage("two").delete([OWNER.manifest(an_id(1))])
    world.catalogue("two").adopt("another")

    assert _look(world) == {"one": 0, "two": 0}


def test_a_prune_that_is_cut_off_looks_like_no_vanished_backup(world: Surroundings) -> None:
    job = world.job(JobRequest(kind=JobKind.PRUNE))
    tell = job.events.progress

    def die(progress: Progress) -> None:
        if progress.done == 1:
            raise KeyboardInterrupt
        tell(progress)

    job.events.progress = die  # type: ignore[method-assign]
    with job.locations() as locations, pytest.raises(KeyboardInterrupt):
        prune_location(job, locations.opened[0], CLUSTER)

    assert len(world.catalogue("one").list().backups) == 4
    assert _look(world) == {"one": 0, "two": 0}
