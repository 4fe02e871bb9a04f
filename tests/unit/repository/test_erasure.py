"""What a deletion of everything takes, and what it never touches."""

from __future__ import annotations

from hypothesis import given, strategies as st

from runner.repository.erasure import holdings
from runner.repository.layout import BackupId
from tests.unit.repository.samples import LAYOUT, an_id

_IDS = [an_id(number) for number in range(4)]
_OURS = [
    LAYOUT.index,
    LAYOUT.state,
    LAYOUT.owner,
    *map(LAYOUT.manifest, _IDS),
    *map(LAYOUT.key_file, _IDS),
    *(LAYOUT.data_object(one, "dump.0000") for one in _IDS),
]
#: Nobody's: of another version, a person's, or of an object whose prefix is nested in ours.
_STRANGE = [
    f"{LAYOUT.root}{name}"
    for name in (
        "README",
        "_index.json.bak",
        "_manifests/newest.json",
        f"_manifests/{an_id()}.json.age",
        f"_manifests/old/{an_id()}.json",
        f"_data/{an_id()}",
        "_data/v2/dump.0000",
        f"_snapshots/{an_id()}/dump.0000",
        f"db/shop/_manifests/{an_id()}.json",
        "db/shop/_owner.json",
    )
]


@given(
    keys=st.sets(st.sampled_from(_OURS + _STRANGE)),
    kept=st.sets(st.sampled_from(_IDS)),
)
def test_every_key_is_in_one_sort_and_strangers_never_go(
    keys: set[str], kept: set[BackupId]
) -> None:
    found = holdings(LAYOUT, sorted(keys), kept=kept)

    going = [key for sort in found.in_order() for key in sort]
    assert sorted([*going, *found.kept, *found.strangers]) == sorted(keys - {LAYOUT.owner})
    assert set(found.strangers) == keys & set(_STRANGE)
    assert not any(one in key for one in kept for key in going)
    assert all(any(one in key for one in kept) for key in found.kept)


def test_manifests_go_first_and_records_last() -> None:
    order = [key for sort in holdings(LAYOUT, sorted(_OURS)).in_order() for key in sort]

    assert order[:4] == [LAYOUT.manifest(one) for one in _IDS]
    assert order[-2:] == [LAYOUT.index, LAYOUT.state]
    assert len(order) == len(_OURS) - 1, "all but the owner, which goes when nothing else is left"
