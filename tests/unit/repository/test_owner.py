from __future__ import annotations

import threading

import pytest

from controller.api.errors import (
    ForeignOwner,
    FormatError,
)
from runner.repository.catalogue import Catalogue
from runner.storage.base import ObjectInfo
from runner.storage.memory import MemoryStorage
from tests.unit.repository.samples import LAYOUT, RecordingStorage, an_id, commit


def test_the_first_writer_owns_the_folder(catalogue: Catalogue) -> None:
    assert catalogue.owner() is None

    catalogue.claim("one")
    catalogue.claim("one")

    owner = catalogue.owner()
    assert owner is not None
    assert owner.cluster_id == "one"


def test_another_cluster_may_not_write_until_it_adopts(catalogue: Catalogue) -> None:
    catalogue.claim("one")

    with pytest.raises(ForeignOwner, match="runner adopt"):
        catalogue.claim("two")
    before = catalogue.adopt("two")

    assert before is not None
    assert before.cluster_id == "one"
    catalogue.claim("two")
    with pytest.raises(ForeignOwner):
        catalogue.claim("one")


def test_a_foreign_owner_keeps_nobody_from_reading(
    catalogue: Catalogue, storage: RecordingStorage
) -> None:
    catalogue.claim("one")
    commit(catalogue, storage, 1)

    assert [backup.id for backup in catalogue.list().backups] == [an_id(1)]
    assert catalogue.manifest(an_id(1)).id == an_id(1)


@pytest.mark.parametrize("raw", [b"", b"garbage", b"{}", b'{"clusterId": 7}', b"[]"])
def test_an_unreadable_owner_blocks_writing(
    catalogue: Catalogue, storage: RecordingStorage, raw: bytes
) -> None:
    storage.put(LAYOUT.owner, raw)

    with pytest.raises(FormatError, match="_owner"):
        catalogue.claim("one")


@pytest.mark.parametrize("raw", [b"garbage", b"{}"])
def test_a_person_can_adopt_what_nobody_can_read(
    catalogue: Catalogue, storage: RecordingStorage, raw: bytes
) -> None:
    storage.put(LAYOUT.owner, raw)

    assert catalogue.adopt("one") is None
    catalogue.claim("one")


class _LostRace(RecordingStorage):
    """Another cluster claims between the look and the write."""

    def put_new(self, key: str, data: bytes, /) -> ObjectInfo:
        self._inner.put_new(key, b'{"clusterId": "faster"}')
        return super().put_new(key, data)


def test_who_loses_the_race_for_a_folder_may_not_write() -> None:
    catalogue = Catalogue(_LostRace(MemoryStorage()), LAYOUT)

    with pytest.raises(ForeignOwner, match="faster"):
        catalogue.claim("slower")
    catalogue.claim("faster")


def test_of_many_that_claim_at_once_one_wins(storage: RecordingStorage) -> None:
    start = threading.Barrier(8)
    won: list[str] = []

    def claim(name: str) -> None:
        catalogue = Catalogue(storage, LAYOUT)
        start.wait()
        try:
            catalogue.claim(name)
        except ForeignOwner:
            return
        won.append(name)

    threads = [threading.Thread(target=claim, args=(f"c{n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    owner = Catalogue(storage, LAYOUT).owner()
    assert owner is not None
    assert won == [owner.cluster_id]


def test_an_owner_record_that_is_none_of_ours_is_not_read_to_its_end(
    catalogue: Catalogue, storage: RecordingStorage
) -> None:
    storage.put(LAYOUT.owner, b'{"clusterId": "one"}' + b" " * 64 * 1024)

    with pytest.raises(FormatError, match="larger than 65536 bytes"):
        catalogue.claim("one")
    assert catalogue.adopt("one") is None
    catalogue.claim("one")
