"""Which table goes into which stream, and which streams make a backup."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from engines.interface import StreamName
from engines.mysql_family import streams
from engines.mysql_family.catalogue import Table
from tests.unit.engines.mysql_family.samples import names


def a_table(name: str, kind: str = "BASE TABLE") -> Table:
    return Table(name=name, kind=kind, engine="InnoDB")


@given(
    st.dictionaries(names, st.integers(0, 1 << 40), max_size=40),
    st.sets(names, max_size=3),
    st.integers(1, 8),
)
def test_each_table_is_in_one_stream_and_names_that_look_alike_are_together(
    sizes: dict[str, int], sequences: set[str], parallel: int
) -> None:
    found = [a_table(name) for name in sizes]
    found += [a_table(name, "SEQUENCE") for name in sequences if name not in sizes]

    planned = streams.plan(found, sizes, parallel)

    everywhere = [table for share in planned.values() for table in share]
    assert sorted(everywhere, key=lambda t: t.name) == sorted(found, key=lambda t: t.name)
    assert streams.are_whole((*planned, streams.OBJECTS))
    assert len(planned.keys() - {streams.SEQUENCES}) <= parallel
    assert next(iter(planned)) == streams.SEQUENCES or streams.SEQUENCES not in planned
    place = {t.name.encode().lower(): name for name, share in planned.items() for t in share
             if t.kind != "SEQUENCE"}  # fmt: skip
    for name, share in planned.items():
        for table in share:
            assert table.kind == "SEQUENCE" or place[table.name.encode().lower()] == name


def test_streams_are_of_about_the_same_size() -> None:
    sizes = {f"t{number}": 1000 - number for number in range(100)}

    planned = streams.plan([a_table(name) for name in sizes], sizes, 4)

    filled = [sum(sizes[table.name] for table in share) for share in planned.values()]
    assert max(filled) - min(filled) < 1000
    assert list(planned) == ["dump-000", "dump-001", "dump-002", "dump-003"]


@pytest.mark.parametrize(
    ("found", "are_whole"),
    [
        (("dump", "objects"), True),
        (("dump-000", "dump-001", "objects"), True),
        (("sequences", "dump-000", "dump-001", "objects"), True),
        (("dump",), False),
        (("objects",), False),
        (("sequences", "objects"), False),
        (("dump", "dump-000", "objects"), False),
        (("dump-000", "objects"), False),
        (("dump-000", "other", "objects"), False),
    ],
)
def test_which_streams_make_a_backup(found: tuple[StreamName, ...], are_whole: bool) -> None:
    assert streams.are_whole(found) == are_whole
