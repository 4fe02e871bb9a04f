"""Which tables come without their keys, and which foreign keys wait for that."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given, strategies as st

from engines.mysql_family.indexes import Later, Postponed, Without
from tests.fakes.streams import MemoryReader

_SMALL, _LARGE = 1000, (1 << 20) + 1000
_KEY, _FOREIGN = "KEY `b` (`b`)", "CONSTRAINT `f{}` FOREIGN KEY (`b`) REFERENCES `{}` (`{}`)"


def a_table(name: str, *keys: str, rows: int = _SMALL) -> tuple[bytes, bytes]:
    lines = ",\n  ".join(["`id` int NOT NULL", "`b` int", "PRIMARY KEY (`id`)", *keys])
    statement = f"CREATE TABLE `{name}` (\n  {lines}\n) ENGINE=InnoDB;"
    return statement.encode(), f"\nINSERT INTO `{name}` VALUES ('{'x' * rows}');\n".encode()


def loaded(
    dump: bytes, size: int = 1 << 20, *, keeps_foreign_keys: bool = True
) -> tuple[bytes, Sequence[Later]]:
    postponed = Postponed(keeps_foreign_keys=keeps_foreign_keys)
    reader = Without(MemoryReader(dump, None), postponed)
    out = b"".join(iter(lambda: reader.read(size), b""))
    reader.close()
    return out, postponed.later


@given(st.lists(st.booleans(), max_size=3), st.integers(1 << 14, 3 << 20))
def test_only_a_table_of_many_rows_comes_without_its_keys(are_large: list[bool], size: int) -> None:
    sizes = [_LARGE if is_large else _SMALL for is_large in are_large]
    dumped = [a_table(str(number), _KEY, rows=rows) for number, rows in enumerate(sizes)]
    bare = [a_table(str(number), rows=rows) for number, rows in enumerate(sizes)]

    out, later = loaded(b"-- head\n" + b"".join(map(b"".join, dumped)), size)

    kept = [
        without if large else whole
        for large, without, whole in zip(are_large, bare, dumped, strict=True)
    ]
    assert out == b"-- head\n" + b"".join(map(b"".join, kept))
    assert later == [
        Later(table=f"`{number}`", keys=[_KEY], foreign_keys=[])
        for number, is_large in enumerate(are_large)
        if is_large
    ]


def test_a_large_table_waits_for_its_foreign_keys_too() -> None:
    foreign = _FOREIGN.format(1, "t", "id")

    out, (waits,) = loaded(b"-- head\n" + b"".join(a_table("t", _KEY, foreign, rows=_LARGE)))

    assert out == b"-- head\n" + b"".join(a_table("t", rows=_LARGE))
    assert waits == Later(table="`t`", keys=[_KEY], foreign_keys=[foreign])


def test_a_small_table_waits_for_none_but_what_another_one_sorts_later() -> None:
    first = a_table("first", _KEY, rows=_LARGE)
    own, other = _FOREIGN.format(1, "first", "id"), _FOREIGN.format(2, "first", "B")

    out, later = loaded(b"-- head\n" + b"".join([*first, *a_table("second", _KEY, own, other)]))

    assert out.endswith(b"".join(a_table("second", _KEY, own)))
    assert later == [
        Later(table="`first`", keys=[_KEY], foreign_keys=[]),
        Later(table="`second`", keys=[], foreign_keys=[other]),
    ]


def test_what_a_table_before_points_at_stays() -> None:
    first = a_table("first", _KEY, _FOREIGN.format(1, "second", "b"))
    second = a_table("second", "KEY `a` (`id`,`b`)", _KEY, "KEY `z` (`id`)", rows=_LARGE)

    out, (waits,) = loaded(b"-- head\n" + b"".join([*first, *second]))

    bare = a_table("second", "KEY `a` (`id`,`b`)", _KEY, rows=_LARGE)
    assert out == b"-- head\n" + b"".join([*first, *bare])
    assert waits == Later(table="`second`", keys=["KEY `z` (`id`)"], foreign_keys=[])


def test_where_streams_are_loaded_together_all_foreign_keys_wait() -> None:
    dump = b"-- head\n" + b"".join(a_table("t", _KEY, _FOREIGN.format(1, "t", "id")))

    out, (waits,) = loaded(dump, keeps_foreign_keys=False)

    assert out == b"-- head\n" + b"".join(a_table("t", _KEY))
    assert waits == Later(table="`t`", keys=[], foreign_keys=[_FOREIGN.format(1, "t", "id")])


def test_a_statement_without_an_end_is_passed_on() -> None:
    dump = b"-- head\nCREATE TABLE `t` (\n  `a" + b"x" * (1 << 23)

    assert loaded(dump) == (dump, [])
