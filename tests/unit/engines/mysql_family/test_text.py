"""What is seen in the text of a dump while it goes by."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from controller.api.errors import FormatError
from engines.mysql_family.quoting import identifier
from engines.mysql_family.text import Text, unchecked


def test_a_tool_has_begun_when_it_has_told_of_a_table() -> None:
    text = Text()
    for said in (b"-- MySQL dump 10.13\n--\n", b"-- Server version 9.7\n\n/*!50503 SET x */;\n"):
        text.feed(said)
        assert not text.has_begun
    text.feed(b"\n--\n-- Table str")
    assert not text.has_begun
    text.feed(b"ucture for table `t`\n")
    assert text.has_begun


_NAMES = st.text(st.sampled_from("ab`\n (é日"), min_size=1, max_size=64)
_LINES = st.one_of(
    st.tuples(st.sampled_from(["TABLE", "SEQUENCE"]), _NAMES),
    st.sampled_from([(None, "(1,'x')"), (None, "INSERT INTO `a` VALUES (1)")]),
)


@given(st.lists(_LINES), st.data())
def test_what_a_dump_makes_is_seen_however_it_is_cut(
    lines: list[tuple[str | None, str]], data: st.DataObject
) -> None:
    said = [f"CREATE {kind} {identifier(name)} (" if kind else name for kind, name in lines]
    whole = ("\n" + "\n".join(said) + "\n-- Dump completed on 2026\n").encode()
    text = Text()

    while whole:
        size = data.draw(st.integers(1, 40))
        text.feed(whole[:size])
        whole = whole[size:]

    assert text.tables == [name for kind, name in lines if kind == "TABLE"]
    assert text.sequences == [name for kind, name in lines if kind == "SEQUENCE"]
    assert text.is_complete
    assert text.leaves == ""


@given(rows=st.integers(0, 60), size=st.integers(200, 2000))
def test_what_a_dump_makes_is_seen_among_many_rows_and_ends(rows: int, size: int) -> None:
    """More of both in a chunk than are looked for one by one."""
    names = ["a", "b", "c"]
    insert = "INSERT INTO `x` VALUES\n" + "(1,';;'),\n" * rows + "(2,'');\n"
    whole = "".join(
        f"\nCREATE TABLE `{name}` (\n  `n` int\n);\n{insert}" for name in names
    ).encode()
    text = Text()

    for at in range(0, len(whole), size):
        text.feed(whole[at : at + size])

    assert text.tables == names
    if len(insert) > 2 * size:
        assert len(insert) - 2 <= text.statement_bytes <= len(insert)
    assert text.statement_bytes <= len(insert) + 2 or rows < 3


@given(st.integers(1, 60), st.integers(0, 40))
def test_a_statement_that_leaves_the_schema_is_seen_however_the_dump_is_cut(
    size: int, rows: int
) -> None:
    lines = b"(1,'x'),\n" * rows
    whole = b"-- a dump\nINSERT INTO `a` VALUES\n" + lines + b"(1);\nuse `mysql`;\n" + lines
    text = Text()

    for at in range(0, len(whole), size):
        text.feed(whole[at : at + size])

    assert text.leaves == "use"


@given(lengths=st.lists(st.integers(1, 40), min_size=1, max_size=8), size=st.integers(1, 60))
def test_the_longest_statement_is_known_however_a_dump_is_cut(
    lengths: list[int], size: int
) -> None:
    """To the byte where it is longer than a chunk; no shorter ones are taken for long."""
    dump = b"-- MySQL dump\n;\n" + b"".join(b"x" * length + b";\n" for length in lengths)
    text = Text()

    for at in range(0, len(dump), size):
        text.feed(dump[at : at + size])

    longest = max(13, *lengths)
    if longest > size:
        assert longest <= text.statement_bytes <= longest + 2
    assert text.statement_bytes <= longest + 2


def test_a_head_that_is_not_known_is_no_backup() -> None:
    """Else a tool that writes it otherwise would have values lost without a word."""
    with pytest.raises(FormatError, match="SQL_MODE"):
        unchecked(
            b"-- MySQL dump 11.0\n--\n/*!40101 SET SQL_MODE=TRADITIONAL */;\n", is_mariadb=False
        )
