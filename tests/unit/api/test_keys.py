"""Keys name objects."""

from __future__ import annotations

import pytest

from controller.api.errors import FormatError
from controller.api.keys import ObjectKey


def test_a_key_is_read_from_an_objects_metadata() -> None:
    key = ObjectKey.of({"metadata": {"namespace": "db", "name": "shop", "uid": "u"}})

    assert key == ObjectKey("db", "shop")
    assert str(key) == "db/shop"


def test_a_key_of_a_cluster_wide_kind_has_no_namespace() -> None:
    key = ObjectKey.of({"metadata": {"name": "gold"}})

    assert key == ObjectKey("", "gold")
    assert str(key) == "gold"


def test_namespace_and_name_are_never_confused() -> None:
    keys = {ObjectKey("a-b", "c"), ObjectKey("a", "b-c"), ObjectKey("a", "b-c")}

    assert len(keys) == 2


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"metadata": None},
        {"metadata": {}},
        {"metadata": {"name": ""}},
        {"metadata": {"name": 7}},
        {"metadata": {"name": "a", "namespace": ["b"]}},
    ],
)
def test_what_is_no_object_has_no_key(wrong: dict[str, object]) -> None:
    with pytest.raises(FormatError):
        ObjectKey.of(wrong)
