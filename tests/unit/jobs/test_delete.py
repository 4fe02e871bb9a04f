"""Deleting everything of one owner, in real folders, through the job itself."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from controller.api.errors import BackupError
from runner.jobs.delete import run_delete
from runner.jobs.environment import JobFailure
from runner.jobs.request import JobRequest
from runner.outcome import JobKind, JobOutcome
from runner.repository.layout import Layout
from tests.unit.jobs.environment import CLUSTER, OWNER, Surroundings
from tests.unit.repository.samples import a_manifest, an_id, put_data

#: Others whose folders lie beside ours, and one whose prefix is nested in it.
NEIGHBOURS = (
    Layout(namespace="db", name="shop2"),
    Layout(namespace="db2", name="shop"),
    Layout(prefix="db/shop", namespace="db", name="shop"),
)


@pytest.fixture
def world(tmp_path: Path) -> Surroundings:
    """Three backups in each of two locations, and what there is beside backups."""
    world = Surroundings(tmp_path, now=datetime.now(UTC))
    for name in world.folders:
        catalogue, storage = world.catalogue(name), world.storage(name)
        catalogue.claim(CLUSTER)
        for number in range(3):
            put_data(catalogue, storage, number)
            catalogue.commit(a_manifest(number))
        put_data(catalogue, storage, 7)  # of a job that never committed
        catalogue.list(update_index=True)
        catalogue.write_small(OWNER.state, b"{}")
    return world


def _keys(world: Surroundings, name: str, prefix: str = "") -> list[str]:
    return [info.key for info in world.storage(name).list(prefix)]


def _delete(world: Surroundings) -> JobOutcome:
    return run_delete(world.job(JobRequest(kind=JobKind.DELETE, scheduled=True)))


def _fails(world: Surroundings) -> tuple[BackupError, Mapping[str, Any]]:
    with pytest.raises(JobFailure) as raised:
        _delete(world)
    return raised.value.error, {fate.name: fate for fate in raised.value.outcome.fates}


def test_nothing_of_the_owner_is_left_and_everything_of_others(world: Surroundings) -> None:
    before: dict[str, list[str]] = {}
    for name in world.folders:
        storage = world.storage(name)
        for neighbour in NEIGHBOURS:
            for key in (neighbour.manifest(an_id()), neighbour.owner):
                storage.put(key, b"theirs")
                before.setdefault(name, []).append(key)
    # One is nested below our folder: that is told, and left alone like the others.
    error, fates = _fails(world)

    assert error.reason == "DataRetained"
    assert "2 objects of no known form" in fates["one"].message
    for name in world.folders:
        assert _keys(world, name) == sorted([*before[name], OWNER.owner])


def test_an_empty_folder_is_deleted_and_so_is_one_that_was_never_written(
    world: Surroundings,
) -> None:
    outcome = _delete(world)

    assert outcome.success
    assert [fate.message for fate in outcome.fates] == ["deleted 3 backups"] * 2
    again = _delete(world)
    assert [(fate.ok, fate.message) for fate in again.fates] == [(True, "holds nothing")] * 2
    assert [_keys(world, name) for name in world.folders] == [[], []]
    assert [list(path.iterdir()) for path in world.folders.values()] == [[], []]


def test_another_clusters_backups_stay_and_the_other_location_is_emptied(
    world: Surroundings,
) -> None:
    world.catalogue("one").adopt("another-cluster")
    before = _keys(world, "one")

    error, fates = _fails(world)

    assert error.reason == "DataRetained"
    assert "one: cluster another-cluster writes backups" in str(error)
    assert fates["one"].reason == "ForeignOwner"
    assert fates["two"].ok
    assert (_keys(world, "one"), _keys(world, "two")) == (before, [])


def test_where_nobody_can_tell_the_owner_nothing_is_deleted(world: Surroundings) -> None:
    world.catalogue("one").write_small(OWNER.owner, b"{")
    before = _keys(world, "one")

    error, _ = _fails(world)

    assert error.reason == "DataRetained"
    assert f"{OWNER.owner} cannot be read" in str(error)
    assert _keys(world, "one") == before


def test_a_backup_that_cannot_be_read_stays_whole_and_the_folder_stays_claimed(
    world: Surroundings,
) -> None:
    newer = OWNER.manifest(an_id(1))
    world.catalogue("one").write_small(newer, b'{"formatVersion": 3}')
    kept = sorted([newer, OWNER.owner, *_keys(world, "one", OWNER.backup_data(an_id(1)))])
    assert len(kept) > 2

    error, fates = _fails(world)

    assert error.reason == "DataRetained"
    assert f"1 backup that this version cannot read: {an_id(1)}" in fates["one"].message
    assert _keys(world, "one") == kept
    assert _keys(world, "two") == []


def test_a_location_that_cannot_be_used_is_for_another_try_whatever_else_stays(
    world: Surroundings,
) -> None:
    world.catalogue("two").adopt("another-cluster")
    world.folders["one"].rename(world.folders["one"].with_name("away"))

    error, fates = _fails(world)

    assert error.reason == "ObjectNotFound"
    assert "mount the volume" in fates["one"].message
    assert fates["two"].reason == "ForeignOwner"


def test_what_has_no_owner_is_claimed_before_it_is_deleted(world: Surroundings) -> None:
    world.storage("one").delete([OWNER.owner])

    assert _delete(world).success

    assert _keys(world, "one") == []


def test_unfinished_uploads_of_the_owner_are_aborted_and_no_others(world: Surroundings) -> None:
    storage, folder = world.storage("one"), world.folders["one"]
    with contextlib.ExitStack() as stack:
        for layout in (OWNER, NEIGHBOURS[0]):
            upload = storage.create_upload(layout.data_object(an_id(9), "dump.0000"))
            stack.callback(upload.abort)
            upload.put_part(1, b"x")

        assert _delete(world).success

        left = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
        assert [path.parts[:2] for path in left] == [("db", "shop2")]


class _SetLater(threading.Event):
    """Somebody ends the job between two looks."""

    def __init__(self, looks: int) -> None:
        super().__init__()
        self._looks = looks

    def is_set(self) -> bool:
        self._looks -= 1
        return self._looks < 0


def test_a_job_that_is_cancelled_leaves_no_half_backup_and_the_next_one_goes_on(
    world: Surroundings,
) -> None:
    for number in range(10, 130):
        world.catalogue("one").commit(a_manifest(number))
    job = world.job(JobRequest(kind=JobKind.DELETE, location="one"))

    with pytest.raises(JobFailure) as raised:
        run_delete(evolve(job, context=evolve(job.context, cancelled=_SetLater(looks=1))))

    assert raised.value.error.reason == "Cancelled"
    assert OWNER.owner in _keys(world, "one")
    left = world.catalogue("one").list().backups
    assert len(left) == 23, "one batch of manifests is gone"
    assert len(_keys(world, "one", OWNER.data)) >= 4, "and no data before the last of them"
    assert _delete(world).success
    assert _keys(world, "one") == []


def test_how_far_it_is_is_told(world: Surroundings) -> None:
    _delete(world)

    told = [one for one in world.told("progress") if one["stage"].startswith("delete ")]

    assert {one["stage"] for one in told} == {"delete one", "delete two"}
    assert all(one["total"] > 3 for one in told)
