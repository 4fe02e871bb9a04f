from __future__ import annotations

from datetime import timedelta

import orjson
import pytest
from attrs import evolve

from controller.api.errors import (
    AccessDenied,
    FormatError,
    ObjectExists,
    ObjectNotFound,
    StorageUnavailable,
)
from runner.records import to_json
from runner.repository.catalogue import MAX_INDEX_ENTRY_BYTES, MAX_RECORD_BYTES, Catalogue
from runner.repository.index import Index, IndexEntry
from runner.repository.layout import BackupId, Layout
from runner.repository.manifest import Manifest, Owner, encode_manifest
from runner.retention.policy import BirthLabel
from runner.storage.base import Storage
from runner.storage.memory import MemoryStorage
from tests.unit.repository.samples import (
    LAYOUT,
    START,
    RecordingStorage,
    a_manifest,
    an_id,
    commit,
    facts_of,
    keys,
    put_data,
)

OTHER = Layout(prefix="p", namespace="db", name="billing")
DAY = timedelta(days=1)


def _ids(catalogue: Catalogue, *, update_index: bool = False) -> list[BackupId]:
    return [backup.id for backup in catalogue.list(update_index=update_index).backups]


# -- commit -----------------------------------------------------------------------


def test_a_committed_backup_is_listed_and_read(catalogue: Catalogue) -> None:
    catalogue.commit(a_manifest(1))

    (listed,) = catalogue.list().backups
    assert (listed.id, listed.plain_bytes, listed.stored_bytes) == (an_id(1), 1000, 300)
    assert catalogue.manifest(an_id(1)) == a_manifest(1)


def test_a_commit_never_replaces_a_backup(catalogue: Catalogue) -> None:
    catalogue.commit(a_manifest(1))

    with pytest.raises(ObjectExists):
        catalogue.commit(a_manifest(1, runner_version="another"))
    assert catalogue.manifest(an_id(1)).runner_version == "1.0.0"


def test_data_without_a_manifest_is_no_backup(
    catalogue: Catalogue, storage: RecordingStorage
) -> None:
    put_data(catalogue, storage, 1)

    assert _ids(catalogue) == []
    with pytest.raises(ObjectNotFound, match="no backup"):
        catalogue.manifest(an_id(1))


# -- list -------------------------------------------------------------------------


def test_a_listing_is_in_the_order_of_the_starts_not_of_the_ids(catalogue: Catalogue) -> None:
    catalogue.commit(a_manifest(1, started_at=START + 3 * DAY))
    catalogue.commit(a_manifest(2, started_at=START + DAY))
    catalogue.commit(a_manifest(3, started_at=START + 2 * DAY))

    assert _ids(catalogue) == [an_id(2), an_id(3), an_id(1)]


def test_other_things_below_the_folder_are_no_backups(
    catalogue: Catalogue, storage: RecordingStorage
) -> None:
    commit(catalogue, storage, 1)
    for key in ("README", f"old/{an_id(2)}.json", f"{an_id(2)}.json.bak", "x.json"):
        storage.put(LAYOUT.manifests + key, encode_manifest(a_manifest(2)))

    listing = catalogue.list()

    assert [backup.id for backup in listing.backups] == [an_id(1)]
    assert listing.unreadable == ()


def test_a_fresh_index_spares_reading_any_manifest(
    catalogue: Catalogue, storage: RecordingStorage
) -> None:
    commit(catalogue, storage, *range(20))
    without = catalogue.list(update_index=True)
    storage.calls.clear()

    with_index = catalogue.list(update_index=True)

    assert with_index == without
    assert storage.keys("open_stream") == [LAYOUT.index]
    assert storage.keys("put") == []


def test_an_index_that_lags_costs_the_new_manifests_only(
    catalogue: Catalogue, storage: RecordingStorage
) -> None:
    commit(catalogue, storage, *range(5))
    catalogue.list(update_index=True)
    commit(catalogue, storage, 5)
    catalogue.remove(an_id(0))
    storage.calls.clear()

    assert _ids(catalogue, update_index=True) == [an_id(number) for number in range(1, 6)]
    assert storage.keys("open_stream") == [LAYOUT.index, LAYOUT.manifest(an_id(5))]

    storage.calls.clear()
    assert _ids(catalogue, update_index=True) == [an_id(number) for number in range(1, 6)]
    assert storage.keys("open_stream") == [LAYOUT.index]


def test_a_look_that_is_cut_off_spares_the_next_one_what_it_read() -> None:
    """Or a store that is slow without an index would never get one."""
    storage = RecordingStorage(MemoryStorage())
    catalogue = Catalogue(storage, LAYOUT)
    numbers = range(600)
    for number in numbers:
        catalogue.commit(a_manifest(number))
    storage.failing[LAYOUT.manifest(an_id(599))] = StorageUnavailable("too slow")
    with pytest.raises(StorageUnavailable):
        catalogue.list(update_index=True)
    storage.failing.clear()
    storage.calls.clear()

    assert _ids(catalogue, update_index=True) == [an_id(number) for number in numbers]
    assert len(storage.keys("open_stream")) <= 1 + 100, "the index, and what it does not have"


def test_who_only_reads_writes_no_index(catalogue: Catalogue, storage: RecordingStorage) -> None:
    commit(catalogue, storage, 1)

    catalogue.list()

    assert LAYOUT.index not in keys(storage)


def _lying_entry(storage: Storage, manifest: Manifest, **lies: object) -> IndexEntry:
    info = evolve(storage.stat(LAYOUT.manifest(an_id(1))), **lies)  # type: ignore[arg-type]
    return IndexEntry.of(info, manifest)


@pytest.mark.parametrize("lie", [{"etag": "another"}, {"size_bytes": 1}])
def test_an_entry_of_another_object_is_not_believed(
    catalogue: Catalogue, storage: RecordingStorage, lie: dict[str, object]
) -> None:
    commit(catalogue, storage, 1)
    entry = _lying_entry(
        storage, a_manifest(1, facts=evolve(a_manifest().facts, engine="x")), **lie
    )
    storage.put(LAYOUT.index, Index.encode({an_id(1): entry}))

    (listed,) = catalogue.list(update_index=True).backups
    assert listed.engine == "postgres"
    assert Index.decode(catalogue.read_small(LAYOUT.index))[an_id(1)].summary == listed


def test_the_index_makes_no_backup_that_is_not_there(
    catalogue: Catalogue, storage: RecordingStorage
) -> None:
    commit(catalogue, storage, 1)
    entries = {an_id(number): _lying_entry(storage, a_manifest(number)) for number in (1, 2, 3)}
    storage.put(LAYOUT.index, Index.encode(entries))

    assert _ids(catalogue) == [an_id(1)]


@pytest.mark.parametrize("raw", [b"", b"garbage", b'{"version": 99, "entries": {}}', b"[" * 5000])
def test_a_damaged_index_costs_time_and_nothing_else(
    catalogue: Catalogue, storage: RecordingStorage, raw: bytes
) -> None:
    commit(catalogue, storage, 1, 2)
    storage.put(LAYOUT.index, raw)

    assert _ids(catalogue, update_index=True) == [an_id(1), an_id(2)]
    assert len(Index.decode(catalogue.read_small(LAYOUT.index))) == 2


def test_an_index_that_cannot_be_read_or_written_stops_no_listing(
    catalogue: Catalogue, storage: RecordingStorage
) -> None:
    commit(catalogue, storage, 1)
    storage.failing[LAYOUT.index] = AccessDenied("read only")

    assert _ids(catalogue, update_index=True) == [an_id(1)]


def test_a_listing_that_fails_is_no_empty_listing(
    catalogue: Catalogue, storage: RecordingStorage
) -> None:
    commit(catalogue, storage, 1)
    storage.failing[LAYOUT.manifests] = StorageUnavailable("down")

    with pytest.raises(StorageUnavailable):
        catalogue.list()


def test_a_manifest_that_cannot_be_fetched_now_is_no_missing_backup(
    catalogue: Catalogue, storage: RecordingStorage
) -> None:
    commit(catalogue, storage, 1, 2)
    storage.failing[LAYOUT.manifest(an_id(1))] = StorageUnavailable("down")

    with pytest.raises(StorageUnavailable):
        catalogue.list()


def test_a_backup_that_is_pruned_during_the_listing_is_left_out(
    catalogue: Catalogue, storage: RecordingStorage
) -> None:
    commit(catalogue, storage, 1, 2)
    storage.failing[LAYOUT.manifest(an_id(1))] = ObjectNotFound("gone by now")

    listing = catalogue.list()

    assert [backup.id for backup in listing.backups] == [an_id(2)]
    assert listing.unreadable == ()


# -- what cannot be read ------------------------------------------------------------


def test_a_manifest_that_was_copied_from_another_owner_is_reported_and_kept(
    catalogue: Catalogue, storage: RecordingStorage
) -> None:
    foreign = a_manifest(1, owner=Owner(namespace=OTHER.namespace, name=OTHER.name))
    storage.put(LAYOUT.manifest(an_id(1)), encode_manifest(foreign))

    listing = catalogue.list(update_index=True)

    assert listing.backups == ()
    assert [one.id for one in listing.unreadable] == [an_id(1)]
    assert "belongs to db/billing" in listing.unreadable[0].problem
    assert LAYOUT.manifest(an_id(1)) in keys(storage)


def test_a_manifest_under_another_id_is_reported(
    catalogue: Catalogue, storage: RecordingStorage
) -> None:
    storage.put(LAYOUT.manifest(an_id(2)), encode_manifest(a_manifest(1)))

    assert [one.id for one in catalogue.list().unreadable] == [an_id(2)]
    with pytest.raises(FormatError, match=str(an_id(1))):
        catalogue.manifest(an_id(2))


def test_one_unreadable_manifest_hides_no_other_and_stays_reported(
    catalogue: Catalogue, storage: RecordingStorage
) -> None:
    commit(catalogue, storage, 1, 3)
    newer = orjson.dumps({"formatVersion": 3})
    storage.put(LAYOUT.manifest(an_id(2)), newer)

    for _ in range(2):  # the second time with the index
        listing = catalogue.list(update_index=True)
        assert [backup.id for backup in listing.backups] == [an_id(1), an_id(3)]
        assert [one.id for one in listing.unreadable] == [an_id(2)]
        assert "newer runner" in listing.unreadable[0].problem


def test_a_manifest_that_does_not_end_is_not_read_to_its_end(
    catalogue: Catalogue, storage: RecordingStorage
) -> None:
    storage.put(LAYOUT.manifest(an_id(1)), b" " * (1024**2 + 1))

    assert "larger than" in catalogue.list().unreadable[0].problem


def test_an_index_larger_than_its_backups_need_is_not_read(
    catalogue: Catalogue, storage: RecordingStorage
) -> None:
    """Taken apart, JSON needs up to thirty times its size."""
    commit(catalogue, storage, 1, 2)
    assert len(_ids(catalogue, update_index=True)) == 2
    index = catalogue.read_small(LAYOUT.index)
    padded = index + b" " * (MAX_RECORD_BYTES + 2 * MAX_INDEX_ENTRY_BYTES - len(index))

    for raw, fetched in ((padded, 0), (padded + b" ", 2)):
        storage.put(LAYOUT.index, raw)
        storage.calls.clear()
        assert len(_ids(catalogue)) == 2
        assert len([key for key in storage.keys("open_stream") if "_manifests" in key]) == fetched


def test_the_largest_index_of_ours_is_within_what_is_read(
    catalogue: Catalogue, storage: RecordingStorage
) -> None:
    labels = tuple(
        BirthLabel(f"%Y-%m-%d-{number:02d}", f"2026-11-23-{number:02d}", timedelta(days=36500))
        for number in range(32)
    )
    for number in range(100):
        catalogue.commit(a_manifest(number, labels=labels))
    _ids(catalogue, update_index=True)
    storage.calls.clear()

    assert len(_ids(catalogue)) == 100
    assert [key for key in storage.keys("open_stream") if "_manifests" in key] == []


def test_a_manifest_that_no_reader_would_take_is_not_written(catalogue: Catalogue) -> None:
    needs = {f"role:{number:08d}": "x" * 100 for number in range(10_000)}

    with pytest.raises(FormatError, match="would be larger"):
        catalogue.commit(a_manifest(1, facts=facts_of("dump", needs=needs)))
    assert _ids(catalogue) == []


# -- small records ------------------------------------------------------------------


def test_a_small_record_is_read_up_to_its_limit(catalogue: Catalogue) -> None:
    catalogue.write_small(LAYOUT.state, b"x" * 100)

    assert catalogue.read_small(LAYOUT.state, limit_bytes=100) == b"x" * 100
    with pytest.raises(FormatError, match="larger than 99 bytes"):
        catalogue.read_small(LAYOUT.state, limit_bytes=99)


def test_what_is_not_there_is_not_found(catalogue: Catalogue) -> None:
    with pytest.raises(ObjectNotFound):
        catalogue.read_small(LAYOUT.state)


def test_a_manifest_of_an_object_is_written_for_a_person(
    catalogue: Catalogue, storage: RecordingStorage
) -> None:
    catalogue.commit(a_manifest(1))

    raw = catalogue.read_small(LAYOUT.manifest(an_id(1)))
    assert raw == to_json(a_manifest(1), indent=True) + b"\n"
