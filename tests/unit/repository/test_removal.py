from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import orjson
import pytest

from controller.api.errors import (
    AccessDenied,
    ObjectExists,
    StorageUnavailable,
)
from runner.repository.catalogue import Catalogue
from runner.repository.layout import BackupId, Layout
from runner.storage.base import ObjectInfo
from runner.storage.memory import MemoryStorage
from tests.unit.repository.samples import (
    LAYOUT,
    START,
    RecordingStorage,
    a_manifest,
    an_id,
    commit,
    keys,
    put_data,
)

OTHER = Layout(prefix="p", namespace="db", name="billing")
DAY = timedelta(days=1)


# -- deleting ---------------------------------------------------------------------


def test_a_removal_starts_with_the_manifest(
    catalogue: Catalogue, storage: RecordingStorage
) -> None:
    commit(catalogue, storage, 1, 2)
    kept = {key for key in keys(storage) if an_id(2) in key}

    catalogue.remove(an_id(1))

    deleted = storage.keys("delete")
    assert deleted[0] == LAYOUT.manifest(an_id(1))
    assert set(deleted[1:]) == {
        LAYOUT.data_object(an_id(1), name) for name in ("dump.0000", "key.age")
    }
    assert keys(storage) == kept


def test_a_removal_that_is_cut_short_leaves_no_backup_and_can_be_finished(
    catalogue: Catalogue, storage: RecordingStorage
) -> None:
    commit(catalogue, storage, 1)
    storage.failing[LAYOUT.data_object(an_id(1), "dump.0000")] = StorageUnavailable("down")

    with pytest.raises(StorageUnavailable):
        catalogue.remove(an_id(1))
    assert catalogue.list().backups == ()

    storage.failing.clear()
    assert _sweep(catalogue, datetime.now(UTC) + 2 * DAY) == [an_id(1)]
    assert keys(storage) == set()


def test_a_manifest_that_cannot_be_deleted_keeps_its_data(
    catalogue: Catalogue, storage: RecordingStorage
) -> None:
    commit(catalogue, storage, 1)
    before = keys(storage)
    storage.failing[LAYOUT.manifest(an_id(1))] = AccessDenied("object lock")

    with pytest.raises(AccessDenied):
        catalogue.remove(an_id(1))
    assert keys(storage) == before


def test_the_data_of_a_committed_backup_is_not_discarded(
    catalogue: Catalogue, storage: RecordingStorage
) -> None:
    commit(catalogue, storage, 1)
    before = keys(storage)

    with pytest.raises(ObjectExists, match="is committed"):
        catalogue.discard(an_id(1))
    assert keys(storage) == before


def test_nothing_is_discarded_while_nobody_knows_whether_it_is_committed(
    catalogue: Catalogue, storage: RecordingStorage
) -> None:
    commit(catalogue, storage, 1)
    before = keys(storage)
    storage.failing[LAYOUT.manifest(an_id(1))] = StorageUnavailable("down")

    with pytest.raises(StorageUnavailable):
        catalogue.discard(an_id(1))
    assert keys(storage) == before


def test_a_failed_backup_is_discarded_whole_and_alone(
    catalogue: Catalogue, storage: RecordingStorage
) -> None:
    commit(catalogue, storage, 1)
    before = keys(storage)
    put_data(catalogue, storage, 2)

    catalogue.discard(an_id(2))

    assert keys(storage) == before


# -- the orphan sweep -------------------------------------------------------------


def _sweep(catalogue: Catalogue, now: datetime) -> Sequence[BackupId]:
    return catalogue.sweep(catalogue.orphans(now, DAY))


def test_a_sweep_takes_old_data_without_a_manifest_and_nothing_else(
    catalogue: Catalogue, storage: RecordingStorage
) -> None:
    commit(catalogue, storage, 1)
    stranger = f"{LAYOUT.data}README"
    storage.put(stranger, b"mine")
    before = keys(storage)
    put_data(catalogue, storage, 2)
    now = datetime.now(UTC)

    assert _sweep(catalogue, now) == []
    assert _sweep(catalogue, now + DAY + timedelta(minutes=1)) == [an_id(2)]
    assert keys(storage) == before


def test_the_newest_object_counts_for_the_grace() -> None:
    now = START
    storage = MemoryStorage(now=lambda: now)
    catalogue = Catalogue(storage, LAYOUT)
    storage.put(LAYOUT.data_object(an_id(1), "dump.0000"), b"old")
    now = START + 2 * DAY
    storage.put(LAYOUT.data_object(an_id(1), "dump.0001"), b"a backup that is still under way")

    assert _sweep(catalogue, START + 2 * DAY + timedelta(hours=1)) == []
    assert _sweep(catalogue, START + 3 * DAY) == []
    assert _sweep(catalogue, START + 3 * DAY + timedelta.resolution) == [an_id(1)]


def test_a_backup_whose_manifest_cannot_be_read_keeps_its_data(
    catalogue: Catalogue, storage: RecordingStorage
) -> None:
    put_data(catalogue, storage, 1)
    storage.put(LAYOUT.manifest(an_id(1)), orjson.dumps({"formatVersion": 3}))

    assert _sweep(catalogue, datetime.now(UTC) + 10 * DAY) == []


class _CommitsWhenListed(RecordingStorage):
    """Another runner commits a backup between the listing of its data and its deletion."""

    def stat(self, key: str, /) -> ObjectInfo:
        if key == LAYOUT.manifest(an_id(1)):
            Catalogue(self._inner, LAYOUT).commit(a_manifest(1))
        return super().stat(key)


def test_a_backup_that_is_committed_during_the_sweep_stays_and_the_sweep_goes_on() -> None:
    storage = _CommitsWhenListed(MemoryStorage())
    catalogue = Catalogue(storage, LAYOUT)
    put_data(catalogue, storage, 1)
    put_data(catalogue, storage, 2)

    swept = _sweep(catalogue, datetime.now(UTC) + 2 * DAY)

    assert swept == [an_id(2)]
    assert LAYOUT.data_object(an_id(1), "dump.0000") in keys(storage)


def test_two_objects_of_one_bucket_do_not_touch_each_other(storage: RecordingStorage) -> None:
    mine, other = Catalogue(storage, LAYOUT), Catalogue(storage, OTHER)
    commit(mine, storage, 1)
    put_data(other, storage, 1)
    put_data(other, storage, 2)
    before = {key for key in keys(storage) if key.startswith(OTHER.root)}

    mine.remove(an_id(1))
    _sweep(mine, datetime.now(UTC) + 10 * DAY)

    assert keys(storage) == before
