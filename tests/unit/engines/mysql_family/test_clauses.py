"""What is taken out of a CREATE TABLE, so that it can be made when the rows are there."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, strategies as st

from engines.mysql_family import clauses
from engines.mysql_family.clauses import CreateTable
from engines.mysql_family.quoting import identifier, literal

_AFTER = ") ENGINE=InnoDB AUTO_INCREMENT=3 DEFAULT CHARSET=utf8mb4 COMMENT='KEY `a` (`b`)';"
_ID = "`id` int NOT NULL"


def a_table(*lines: str, after: str = _AFTER) -> bytes:
    return ("CREATE TABLE `t` (\n  " + ",\n  ".join(lines) + "\n" + after).encode()


def taken(*lines: str, but: Sequence[bytes] = ()) -> list[str]:
    """What may wait of these clauses; the rest is proven to be left."""
    table = CreateTable.parse(a_table(*lines))
    assert table is not None
    later = [*table.keys(but=but), *table.foreign_keys]
    found = [one.clause.decode() for one in later]
    assert table.without(later) == a_table(*(line for line in lines if line not in found))
    return found


def test_plain_keys_and_foreign_keys_wait_and_no_others() -> None:
    plain = ["KEY `b` (`b`)", "KEY `d` (`c`(10) DESC,`b`) USING BTREE COMMENT 'it''s, (so)'"]
    foreign = "CONSTRAINT `to` FOREIGN KEY (`b`) REFERENCES `p` (`id`) ON DELETE CASCADE"
    kept = ["PRIMARY KEY (`id`)", "UNIQUE KEY `u` (`b`)"]
    after = ["FULLTEXT KEY `f` (`c`)", "CONSTRAINT `c` CHECK (`b` > 0)"]

    assert taken(_ID, *kept, *plain, *after, foreign) == [*plain, foreign]


@pytest.mark.parametrize(
    "kept",
    ["KEY `e` ((`b` + 1))", "SPATIAL KEY `s` (`g`)", "VECTOR KEY `v` (`v`)"],
)
def test_keys_before_one_that_stays_stay_in_their_order(kept: str) -> None:
    assert taken(_ID, "KEY `b` (`b`)", kept, "KEY `c` (`c`)") == ["KEY `c` (`c`)"]


@pytest.mark.parametrize(
    ("keys", "wait"),
    [
        (["KEY `n` (`id`)"], []),
        (["KEY `n` (`id`,`b`)", "KEY `b` (`b`)"], ["KEY `b` (`b`)"]),
        (["PRIMARY KEY (`id`)", "KEY `n` (`id`,`b`)"], ["KEY `n` (`id`,`b`)"]),
        (["UNIQUE KEY `u` (`id`,`b`)", "KEY `n` (`id`)"], ["KEY `n` (`id`)"]),
        (["PRIMARY KEY (`b`,`id`)", "KEY `n` (`id`)"], []),
    ],
)
def test_a_column_that_counts_itself_has_its_key_from_the_first_row_on(
    keys: list[str], wait: list[str]
) -> None:
    assert taken("`id` int NOT NULL AUTO_INCREMENT", "`b` int", *keys) == wait


def test_what_is_pointed_at_keeps_its_keys_whatever_its_case() -> None:
    keys = ["KEY `a` (`b`)", "KEY `n` (`ID`,`b`)", "KEY `c` (`c`)"]

    assert taken(_ID, *keys, but=[b"`id`"]) == keys[2:]


def test_a_foreign_key_says_what_it_points_at() -> None:
    into = "REFERENCES `Par``ent` (`N`, `m`) ON DELETE CASCADE"
    lines = ["`n` int", f"CONSTRAINT `f` FOREIGN KEY (`n`, `id`) {into}"]
    table = CreateTable.parse(a_table(_ID, *lines))

    assert table is not None
    (found,) = table.foreign_keys
    assert (found.table, found.column) == (b"`par``ent`", b"`n`")


def test_a_comment_makes_no_column_count_itself() -> None:
    wait = ["KEY `n` (`id`)"]

    assert taken("`id` int NOT NULL COMMENT 'no AUTO_INCREMENT `'", *wait) == wait


@pytest.mark.parametrize(
    "statement",
    [
        a_table(_ID, "KEY `b` (`b`)", after=") ENGINE=Aria COMMENT=' ENGINE=InnoDB';"),
        a_table(_ID, 'KEY "b" (`b`)'),
        a_table(_ID, "KEY `b` (`b`)").replace(b") ENGINE", b"; ENGINE"),
        a_table(_ID, "KEY `b` (`b`) -- and so on"),
        a_table(_ID, "/* KEY `x` (`y`),\n*/ KEY `b` (`b`)"),
        a_table(_ID, "KEY `b` (`b`)", "INDEX `c` (`c`)"),
        b"CREATE TABLE `t` LIKE `other`;",
    ],
)
def test_what_is_not_understood_is_left_as_it_is(statement: bytes) -> None:
    assert CreateTable.parse(statement) is None


_names = st.text(st.sampled_from("`'\\\"\n ,();#-a/*é𝄞"), min_size=1, max_size=8).map(identifier)
_texts = st.text(st.sampled_from("`'\\\"\n ,();#-a/*é𝄞"), max_size=12).map(
    lambda text: literal(text).replace("\\'", "''")
)


@given(_names, _names, _texts, _texts, st.data())
def test_no_name_and_no_text_is_taken_for_anything_else(
    name: str, column: str, text: str, more: str, data: st.DataObject
) -> None:
    lines = [
        f"{column} varchar(9) NOT NULL DEFAULT {text} COMMENT {more}",
        f"UNIQUE KEY {name} ({column})",
        f"KEY {name} ({column}(3)) COMMENT {text}",
        f"CONSTRAINT {name} CHECK ({column} <> {text})",
        f"CONSTRAINT {name} FOREIGN KEY ({column}) REFERENCES {name} ({column})",
    ]
    statement = a_table(*lines, after=f") ENGINE=InnoDB COMMENT={more};")
    cut = data.draw(st.integers(0, len(statement) - 1))

    assert taken(*lines) == [lines[2], lines[4]]
    assert clauses.end(statement + b"\n`", 0) == len(statement)
    assert clauses.end(statement[:cut], 0) is None
