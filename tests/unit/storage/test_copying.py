"""Copies of objects: the same bytes, or nothing."""

from __future__ import annotations

from collections.abc import Generator

import pytest
from hypothesis import given, strategies as st

from controller.api.errors import ObjectNotFound, StorageUnavailable
from runner.storage.copying import copy_object
from runner.storage.memory import MemoryStorage

PART = MemoryStorage().properties.part_size_bytes


@given(
    st.sampled_from([0, 1, PART - 1, PART, PART + 1, 3 * PART, 3 * PART + 7]), st.binary(max_size=9)
)
def test_a_copy_has_the_same_bytes_whatever_its_size(size: int, pattern: bytes) -> None:
    data = ((pattern or b"x") * (size // len(pattern or b"x") + 1))[:size]
    source, target = MemoryStorage(), MemoryStorage()
    source.put("a", data)

    info = copy_object(source, "a", target, "b")

    assert b"".join(target.open_stream("b")) == data
    assert info.size_bytes == len(data)


def test_what_is_not_there_is_no_object() -> None:
    target = MemoryStorage()

    with pytest.raises(ObjectNotFound):
        copy_object(MemoryStorage(), "a", target, "b")

    assert list(target.list("")) == []


class _Breaking(MemoryStorage):
    """Loses the connection after the first part."""

    def open_stream(self, key: str, /, *, offset: int = 0) -> Generator[bytes, None, None]:
        yield b"x" * (PART + 1)
        raise StorageUnavailable("lost")


def test_a_source_that_breaks_off_leaves_nothing() -> None:
    target = MemoryStorage()

    with pytest.raises(StorageUnavailable):
        copy_object(_Breaking(), "a", target, "b")

    assert list(target.list("")) == []
    assert target.abort_stale_uploads("") == 0
