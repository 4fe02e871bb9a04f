"""What chains there are and which one goes on, against a simple model."""

from __future__ import annotations

from datetime import datetime, timedelta
from random import Random

import pytest
from attrs import evolve
from hypothesis import given, strategies as st

from controller.api.errors import FormatError
from runner.repository.chain import MAX_AGE, MAX_INCREMENTALS, chains, to_extend
from runner.repository.index import Index, IndexEntry, Summary
from runner.repository.layout import BackupId
from runner.repository.manifest import EncryptionKind, Manifest, decode_manifest, encode_manifest
from runner.storage.base import ObjectInfo
from tests.unit.repository.samples import START, a_layer, a_manifest, an_id

MINUTE = timedelta(minutes=1)


def a_chain(first: int, length: int, home: str = "first") -> list[Summary]:
    manifests = [a_layer(first, number) for number in range(length)]
    return [Summary.of(evolve(one, layer=evolve(one.layer, home=home))) for one in manifests]


def ids(backups: list[Summary]) -> list[BackupId]:
    return [one.id for one in backups]


#: Lengths of chains one after the other, and which layers got lost.
_histories = st.lists(st.integers(1, 6), min_size=1, max_size=5).flatmap(
    lambda lengths: st.tuples(st.just(lengths), st.sets(st.integers(0, sum(lengths) - 1)))
)


@given(_histories, st.randoms())
def test_a_chain_is_what_can_be_restored(
    history: tuple[list[int], set[int]], order: Random
) -> None:
    lengths, lost = history
    backups, expected = [], []
    for length in lengths:
        first = len(backups)
        layers = a_chain(first, length)
        backups += layers
        whole = [one for n, one in enumerate(layers) if not lost & {*range(first, first + n + 1)}]
        if whole:
            expected.append(ids(whole))
    there = [one for n, one in enumerate(backups) if n not in lost]
    there += [Summary.of(a_manifest(500))]
    order.shuffle(there)

    assert [list(chain.ids) for chain in chains(there)] == expected


def test_a_number_that_two_backups_claim_is_a_gap() -> None:
    layers = a_chain(0, 3)
    rival = evolve(layers[1], id=an_id(77))

    (chain,) = chains([*layers, rival])

    assert chain.ids == (layers[0].id,)


# -- which one goes on -------------------------------------------------------------------


def go_on(backups: list[Summary], *, now: datetime | None = None, **held: list[BackupId]) -> object:
    found = to_extend(backups, dict(held), now=now or START + timedelta(hours=2))
    return found.id if found else None


def test_the_newest_chain_goes_on_at_its_home() -> None:
    old, new = a_chain(0, 3), a_chain(10, 2)

    assert go_on([*new, *old], first=ids([*old, *new])) == new[0].id


def test_without_a_backup_a_full_one_is_due() -> None:
    assert go_on([], first=[]) is None
    assert go_on([Summary.of(a_manifest(0))], first=[an_id(0)]) is None


def test_a_chain_whose_home_is_away_is_left() -> None:
    layers = a_chain(0, 3, home="first")

    assert go_on(layers, second=ids(layers)) is None


def test_an_older_chain_is_not_gone_on_with_because_its_home_is_there() -> None:
    old, new = a_chain(0, 3, home="second"), a_chain(10, 2, home="first")

    assert go_on([*old, *new], second=ids([*old, *new])) is None


def test_a_home_that_lacks_a_layer_is_left() -> None:
    layers = a_chain(0, 3)

    assert go_on(layers, first=ids(layers[:2]), second=ids(layers)) is None
    assert go_on([layers[0], layers[2]], first=ids([layers[0], layers[2]])) is None


@pytest.mark.parametrize(
    ("layers", "due"), [(MAX_INCREMENTALS, False), (MAX_INCREMENTALS + 1, True)]
)
def test_a_chain_has_so_many_incremental_backups_at_most(layers: int, due: bool) -> None:
    backups = a_chain(0, layers)

    assert (go_on(backups, first=ids(backups)) is None) is due


def test_a_chain_that_is_old_is_left() -> None:
    backups = a_chain(0, 2)

    assert go_on(backups, now=START + MAX_AGE - MINUTE, first=ids(backups)) == an_id(0)
    assert go_on(backups, now=START + MAX_AGE, first=ids(backups)) is None


# -- manifests and index -------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        {"format_version": 1},
        {"compression": "zstd"},
        {"id": an_id(9)},
        {"streams": a_manifest().streams, "facts": a_manifest().facts},
        {"encryption": evolve(a_layer(0, 0).encryption, kind=EncryptionKind.AGE)},
    ],
)
def test_a_layer_that_contradicts_itself_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(FormatError):
        decode_manifest(encode_manifest(evolve(a_layer(0, 0), **wrong)))


def test_a_layer_is_not_the_first_of_another_chain() -> None:
    layer = a_layer(0, 1).layer
    assert layer

    for one in (evolve(layer, number=0), evolve(layer, chain=an_id(1)), evolve(layer, number=-1)):
        with pytest.raises(FormatError, match="place in the chain"):
            evolve(a_layer(0, 1), layer=one).check()


def test_the_index_knows_the_layers() -> None:
    manifests: list[Manifest] = [a_layer(0, 0), a_layer(0, 1), a_manifest(7)]
    entries = {
        one.id: IndexEntry.of(ObjectInfo(key="k", size_bytes=1, etag="e", modified_at=START), one)
        for one in manifests
    }

    assert Index.decode(Index.encode(entries)) == entries
