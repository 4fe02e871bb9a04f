from __future__ import annotations

import re

import pytest
from hypothesis import given, strategies as st

from controller.api.names import CHILD_SECRET, child_name, instance_label, label_value
from tests.strategies import dns_labels, dns_names

LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
LABEL_VALUE = re.compile(r"[A-Za-z0-9]([-._A-Za-z0-9]{0,61}[A-Za-z0-9])?")

# Few letters and many joints: where ambiguous joins would meet.
_tight_labels = st.from_regex(r"\A[ab](-[ab]){0,2}\Z")
_keys = st.tuples(_tight_labels | dns_labels, _tight_labels | dns_names)


@given(_keys, st.sampled_from(["", "config", "pull"]))
def test_child_names_are_dns_labels(key: tuple[str, str], role: str) -> None:
    assert LABEL.fullmatch(child_name(*key, role))


@given(_keys, _keys)
def test_names_of_different_objects_differ(one: tuple[str, str], other: tuple[str, str]) -> None:
    assert (one == other) == (child_name(*one) == child_name(*other))
    assert (one == other) == (instance_label(*one) == instance_label(*other))


def test_a_hyphen_does_not_move_between_namespace_and_name() -> None:
    assert child_name("a-b", "c") != child_name("a", "b-c")
    assert child_name("a", "b", "c") != child_name("c", "a", "b")
    assert instance_label("a-b", "c") != instance_label("a", "b-c")


@given(_keys)
def test_roles_of_one_object_differ(key: tuple[str, str]) -> None:
    assert len({child_name(*key, role) for role in ("", "config", "pull")}) == 3


@given(_keys)
def test_children_that_are_secrets_are_known_by_their_names(key: tuple[str, str]) -> None:
    known = {
        role
        for role in ("", "config", "pull")
        if re.fullmatch(CHILD_SECRET, child_name(*key, role))
    }

    assert known == {"config", "pull"}


@pytest.mark.parametrize(
    "name", ["backup-config-s3", "backup-pull-registry.example.com", "backup-config-credentials"]
)
def test_a_name_that_a_person_gives_is_no_child_s(name: str) -> None:
    assert not re.fullmatch(CHILD_SECRET, name)


@given(dns_names, dns_names)
def test_label_values_are_valid_and_differ_for_different_names(one: str, other: str) -> None:
    assert LABEL_VALUE.fullmatch(label_value(one))
    assert (one == other) == (label_value(one) == label_value(other))


@given(st.integers(1, 190))
def test_long_names_that_differ_at_the_end_keep_apart(length: int) -> None:
    stem = "n" * length

    assert label_value(stem + "a") != label_value(stem + "b")
    assert child_name("x", stem + "a") != child_name("x", stem + "b")


@given(_keys)
def test_instance_labels_are_valid(key: tuple[str, str]) -> None:
    assert LABEL_VALUE.fullmatch(instance_label(*key))


def test_names_stay_what_they_are() -> None:
    assert child_name("db", "shop") == "backup-db-shop-cepr72l5pyoznzin"
    assert label_value("shop") == "shop"
    assert instance_label("db", "shop") == "db_shop"
