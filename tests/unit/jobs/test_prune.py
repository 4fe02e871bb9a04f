"""Pruning real folders, through the job itself."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from runner.jobs.environment import JobFailure
from runner.jobs.prune import run_prune
from runner.jobs.request import JobRequest
from runner.outcome import JobKind, JobOutcome
from tests.builders import a_location_manifest
from tests.unit.jobs.environment import OWNER, Surroundings
from tests.unit.repository.samples import an_id, put_data

NOW = datetime.now(UTC)
DAY = timedelta(days=1)


@pytest.fixture
def world(tmp_path: Path) -> Surroundings:
    """Five backups, one a day, in both locations; the newest two stay."""
    # Of this moment, not of the import: the folders' clock is compared with it.
    world = Surroundings(
        tmp_path, now=datetime.now(UTC), retention={"keepLast": 2, "minimumKeep": 1}
    )
    for name in world.folders:
        for number in range(5):
            world.store(name, number, NOW - (5 - number) * DAY)
    return world


def _prune(world: Surroundings, **fields: Any) -> JobOutcome:
    return run_prune(world.job(JobRequest(kind=JobKind.PRUNE, **fields)))


def _stored(world: Surroundings) -> dict[str, list[str]]:
    return {
        name: [backup.id for backup in world.catalogue(name).list().backups]
        for name in world.folders
    }


def _verdicts(report: Mapping[str, Any]) -> dict[str, str]:
    return {row["id"]: row["verdict"] for row in report["rows"]}


def _age_objects(world: Surroundings, by: timedelta) -> None:
    for folder in world.folders.values():
        for path in folder.rglob("*"):
            moment = path.stat().st_mtime - by.total_seconds()
            os.utime(path, (moment, moment))


ALL = [an_id(number) for number in range(5)]


def test_what_no_rule_wants_goes_in_every_location(world: Surroundings) -> None:
    outcome = _prune(world)

    assert outcome.success
    assert [fate.name for fate in outcome.fates] == ["one", "two"]
    assert _stored(world) == {"one": ALL[3:], "two": ALL[3:]}
    data = {info.key.split("/")[3] for info in world.storage("one").list(OWNER.data)}
    assert data == set(ALL[3:])


def test_every_backup_is_reported_with_its_reasons(world: Surroundings) -> None:
    _prune(world)

    first, second = world.told("report")
    assert [first["title"], second["title"]] == ["one", "two"]
    assert _verdicts(first) == dict.fromkeys(ALL[3:], "keep") | dict.fromkeys(ALL[:3], "dropped")
    assert [row["id"] for row in first["rows"]] == ALL[::-1]
    assert all(row["reasons"] for row in first["rows"])


@pytest.mark.parametrize("dry_run", [False, True])
def test_an_index_that_lies_makes_no_backup_go(world: Surroundings, *, dry_run: bool) -> None:
    """Its entry fits the manifest's object in all that a listing shows."""
    world.catalogue("one").list(update_index=True)
    index = orjson.loads(world.catalogue("one").read_small(OWNER.index))
    index["entries"][ALL[4]]["startedAt"] = "2001-01-01T00:00:00+00:00"
    index["entries"][ALL[0]]["startedAt"] = NOW.isoformat()
    world.storage("one").put(OWNER.index, orjson.dumps(index))

    _prune(world, dry_run=dry_run)

    lied_to, honest = world.told("report")
    assert _verdicts(lied_to) == _verdicts(honest)
    if not dry_run:
        assert _stored(world) == {"one": ALL[3:], "two": ALL[3:]}


def test_a_dry_run_says_the_same_and_changes_not_a_byte(world: Surroundings) -> None:
    def everything() -> dict[Path, int]:
        return {
            path: path.stat().st_mtime_ns
            for folder in world.folders.values()
            for path in folder.rglob("*")
        }

    before = everything()

    _prune(world, dry_run=True)

    assert everything() == before
    assert _verdicts(world.told("report")[0]) == dict.fromkeys(ALL[3:], "keep") | dict.fromkeys(
        ALL[:3], "would drop"
    )


def test_one_location_can_be_named(world: Surroundings) -> None:
    _prune(world, location="two")

    assert _stored(world) == {"one": ALL, "two": ALL[3:]}


def test_another_clusters_backups_are_not_pruned_and_the_others_are(world: Surroundings) -> None:
    world.catalogue("one").claim("another-cluster")

    with pytest.raises(JobFailure) as failure:
        _prune(world)

    assert failure.value.error.reason == "ForeignOwner"
    assert [(fate.name, fate.ok) for fate in failure.value.outcome.fates] == [
        ("one", False),
        ("two", True),
    ]
    assert _stored(world) == {"one": ALL, "two": ALL[3:]}


def test_without_a_cluster_id_nothing_is_pruned(world: Surroundings) -> None:
    (world.config_folder / "cluster").unlink()

    with pytest.raises(JobFailure) as failure:
        _prune(world)

    assert failure.value.error.reason == "InvalidSpec"
    assert _stored(world) == {"one": ALL, "two": ALL}


def test_an_unreadable_backup_is_named_stays_and_counts_for_nothing(world: Surroundings) -> None:
    world.storage("one").put(OWNER.manifest(an_id(9)), b'{"formatVersion": 3}')
    put_data(world.catalogue("one"), world.storage("one"), 9)
    _age_objects(world, 400 * DAY)

    _prune(world)

    keys = {info.key for info in world.storage("one").list(OWNER.root)}
    assert OWNER.manifest(an_id(9)) in keys
    assert OWNER.data_object(an_id(9), "dump.0000") in keys
    assert any(an_id(9) in event["message"] for event in world.told("warning"))
    assert _stored(world)["one"] == ALL[3:]


def test_what_interrupted_jobs_left_goes_after_the_grace(world: Surroundings) -> None:
    put_data(world.catalogue("one"), world.storage("one"), 7)
    orphan = OWNER.data_object(an_id(7), "dump.0000")

    _prune(world)
    assert orphan in {info.key for info in world.storage("one").list(OWNER.data)}

    _age_objects(world, timedelta(hours=49))  # the longest job, and a day
    _prune(world)
    assert orphan not in {info.key for info in world.storage("one").list(OWNER.data)}


def test_what_is_deleted_is_told_while_it_is(world: Surroundings) -> None:
    _prune(world)

    told = [event for event in world.told("progress") if event["stage"] == "prune one"]
    assert (told[0]["total"], told[0]["unit"]) == (3, "backups")
    assert told[0]["detail"] in ALL[:3]


def test_a_cancelled_prune_deletes_nothing_more(world: Surroundings) -> None:
    job = world.job(JobRequest(kind=JobKind.PRUNE))
    job.context.cancelled.set()

    with pytest.raises(JobFailure):
        run_prune(job)

    assert _stored(world) == {"one": ALL, "two": ALL}


def test_a_location_that_hangs_does_not_keep_another_from_being_pruned(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections, answers nothing
        places = [
            a_location_manifest(
                name="one",
                storageEndpoint=f"127.0.0.1:{silent.getsockname()[1]}",
                storageUseSSL=False,
            ),
            {"name": "two", "storageType": "filesystem", "path": str(tmp_path / "two")},
        ]
        world = Surroundings(
            tmp_path,
            now=datetime.now(UTC),
            storage={"backupLocations": places},
            retention={"keepLast": 2, "minimumKeep": 1},
            stallTimeout="15s",
        )
        for number in range(5):
            world.store("two", number, NOW - (5 - number) * DAY)
        job = world.job(JobRequest(kind=JobKind.PRUNE))

        with pytest.raises(JobFailure) as failure:
            run_prune(job)

    job.context.cancelled.set()  # or those who still ask would try again during other tests
    for thread in threading.enumerate():
        if thread.name == "ask-one":
            thread.join(30)
            assert not thread.is_alive()
    assert failure.value.error.reason == "StorageUnavailable"
    assert "no answer for 5 s" in str(failure.value.error)
    assert [backup.id for backup in world.catalogue("two").list().backups] == ALL[3:]


@pytest.mark.parametrize("hours", [-2, 2])
def test_by_a_clock_that_is_wrong_nothing_is_deleted(world: Surroundings, hours: int) -> None:
    """The store's clock says so: these folders have the machine's real one."""
    world.clock.advance(hours * 3600)

    with pytest.raises(JobFailure) as failure:
        _prune(world)

    assert failure.value.error.reason == "ClockWrong"
    assert "location one" in str(failure.value.error)
    assert _stored(world) == {"one": ALL, "two": ALL}


def test_by_a_clock_that_is_ahead_nobodys_upload_is_an_orphan(world: Surroundings) -> None:
    _prune(world)
    put_data(world.catalogue("one"), world.storage("one"), 7)
    world.clock.advance(49 * 3600)

    with pytest.raises(JobFailure, match="location one"):
        _prune(world)

    assert OWNER.data_object(an_id(7), "dump.0000") in {
        info.key for info in world.storage("one").list(OWNER.data)
    }


def test_a_clock_that_is_some_minutes_off_prunes(world: Surroundings) -> None:
    world.clock.advance(50 * 60)

    _prune(world)

    assert _stored(world) == {"one": ALL[3:], "two": ALL[3:]}
