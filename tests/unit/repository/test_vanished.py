"""Backups that are not there any more although nobody pruned them."""

from __future__ import annotations

from runner.repository.catalogue import Catalogue
from runner.repository.layout import BackupId
from tests.unit.repository.samples import (
    LAYOUT,
    START,
    RecordingStorage,
    a_manifest,
    an_id,
    commit,
    keys,
)


def _another_job(storage: RecordingStorage) -> Catalogue:
    return Catalogue(storage, LAYOUT)


def _delete_by_hand(storage: RecordingStorage, backup_id: BackupId) -> None:
    storage.delete([key for key in keys(storage) if backup_id in key])


def test_a_backup_that_somebody_deleted_is_missed_once(
    catalogue: Catalogue, storage: RecordingStorage
) -> None:
    commit(catalogue, storage, 1, 2, 3)
    catalogue.list(update_index=True)
    _delete_by_hand(storage, an_id(2))

    next_job, after_that = _another_job(storage), _another_job(storage)
    next_job.list(update_index=True)
    after_that.list(update_index=True)

    assert next_job.vanished == {an_id(2)}
    assert after_that.vanished == set()


def test_a_job_that_lists_often_remembers_what_it_missed(
    catalogue: Catalogue, storage: RecordingStorage
) -> None:
    commit(catalogue, storage, 1, 2)
    catalogue.list(update_index=True)
    _delete_by_hand(storage, an_id(1))

    next_job = _another_job(storage)
    next_job.list(update_index=True)
    next_job.list(update_index=True)

    assert next_job.vanished == {an_id(1)}


def test_what_a_job_removes_has_not_vanished(
    catalogue: Catalogue, storage: RecordingStorage
) -> None:
    commit(catalogue, storage, 1, 2)
    catalogue.list(update_index=True)
    catalogue.remove(an_id(1))

    catalogue.list(update_index=True)

    assert catalogue.vanished == set()


def test_what_a_job_that_was_cut_off_removed_has_not_vanished(
    catalogue: Catalogue, storage: RecordingStorage
) -> None:
    commit(catalogue, storage, 1, 2)
    catalogue.list(update_index=True)
    catalogue.store_time(going=[an_id(1)])
    catalogue.remove(an_id(1))

    next_job = _another_job(storage)
    next_job.list(update_index=True)

    assert next_job.vanished == set()


def test_who_writes_no_index_leaves_it_to_others_to_miss_the_same(
    catalogue: Catalogue, storage: RecordingStorage
) -> None:
    commit(catalogue, storage, 1, 2)
    catalogue.list(update_index=True)
    _delete_by_hand(storage, an_id(1))

    reader, writer = _another_job(storage), _another_job(storage)
    reader.list()
    writer.list(update_index=True)

    assert reader.vanished == writer.vanished == {an_id(1)}


def test_a_backup_that_is_committed_and_indexed_meanwhile_has_not_vanished(
    storage: RecordingStorage,
) -> None:
    """Between the listing and the reading of the index."""

    class Meanwhile(Catalogue):
        def _read_index(self, count: int) -> dict:  # type: ignore[type-arg]
            other = _another_job(storage)
            if count == 1:
                other.commit(a_manifest(2, started_at=START))
                other.list(update_index=True)
            return super()._read_index(count)

    commit(_another_job(storage), storage, 1)
    job = Meanwhile(storage, LAYOUT)

    job.list(update_index=True)

    assert job.vanished == set()


def test_without_an_index_nothing_is_missed(
    catalogue: Catalogue, storage: RecordingStorage
) -> None:
    commit(catalogue, storage, 1, 2)
    catalogue.list(update_index=True)
    _delete_by_hand(storage, an_id(1))
    storage.delete([LAYOUT.index])

    next_job = _another_job(storage)
    next_job.list(update_index=True)

    assert next_job.vanished == set()
