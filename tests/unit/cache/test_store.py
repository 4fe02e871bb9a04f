"""Stores: projections, indexes, what counts as a change."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import pytest
from attrs import field, frozen
from hypothesis import given, settings, strategies as st

from controller.api.errors import FormatError
from controller.api.keys import ObjectKey
from controller.cache.mutation import MutationDetector
from controller.cache.store import Change, Store


@frozen
class Backup:
    """What these tests need of an object: its class."""

    name: str
    storage_class: str


def project(object_raw: Mapping[str, Any]) -> Backup:
    return Backup(object_raw["metadata"]["name"], object_raw.get("class", ""))


def project_words(object_raw: Mapping[str, Any]) -> Backup:
    return Backup(object_raw["metadata"]["name"], object_raw["class"].lower())


def a_raw(name: str, storage_class: str = "gold", **more: object) -> dict[str, Any]:
    return {"metadata": {"namespace": "db", "name": name}, "class": storage_class, **more}


def key(name: str) -> ObjectKey:
    return ObjectKey("db", name)


@pytest.fixture
def store() -> Store[Backup]:
    return Store(project, indexers={"class": lambda backup: [backup.storage_class]})


def test_a_new_object_is_found_by_key_and_by_index(store: Store[Backup]) -> None:
    change = store.put(a_raw("shop"))

    assert change == Change(key("shop"), None, Backup("shop", "gold"))
    assert store.get(key("shop")) == Backup("shop", "gold")
    assert store.by_index("class", "gold") == (Backup("shop", "gold"),)
    assert store.index_keys("class", "gold") == (key("shop"),)


def test_a_changed_object_leaves_the_index_value_that_went_away(store: Store[Backup]) -> None:
    store.put(a_raw("shop", "gold"))

    change = store.put(a_raw("shop", "silver"))

    assert change == Change(key("shop"), Backup("shop", "gold"), Backup("shop", "silver"))
    assert store.index_keys("class", "gold") == ()
    assert store.index_keys("class", "silver") == (key("shop"),)


def test_what_the_projection_does_not_see_is_no_change(store: Store[Backup]) -> None:
    store.put(a_raw("shop", status="old"))
    value = store.get(key("shop"))

    change = store.put(a_raw("shop", status="new"))

    assert change is None
    assert store.get(key("shop")) is value


def test_a_removed_object_is_gone_from_everywhere(store: Store[Backup]) -> None:
    store.put(a_raw("shop"))

    change = store.remove(a_raw("shop"))

    assert change == Change(key("shop"), Backup("shop", "gold"), None)
    assert store.get(key("shop")) is None
    assert store.by_index("class", "gold") == ()
    assert (len(store), store.keys(), store.values()) == (0, (), ())


def test_removing_what_is_not_there_changes_nothing(store: Store[Backup]) -> None:
    assert store.remove(a_raw("shop")) is None


def test_replace_tells_what_came_changed_and_vanished(store: Store[Backup]) -> None:
    for name in ("same", "changed", "vanished"):
        store.put(a_raw(name))

    changes = store.replace([a_raw("same"), a_raw("changed", "silver"), a_raw("new")])

    assert changes == (
        Change(key("changed"), Backup("changed", "gold"), Backup("changed", "silver")),
        Change(key("new"), None, Backup("new", "gold")),
        Change(key("vanished"), Backup("vanished", "gold"), None),
    )
    assert set(store.keys()) == {key("same"), key("changed"), key("new")}
    assert set(store.index_keys("class", "gold")) == {key("same"), key("new")}


def test_an_object_that_cannot_be_projected_is_left_out_and_counted() -> None:
    bad = a_raw("shop") | {"class": []}
    store = Store(project_words, indexers={"class": lambda backup: [backup.storage_class]})
    store.put(a_raw("shop"))

    gone = store.put(bad)
    again = store.put(bad)
    listed = store.replace([bad, a_raw("till")])

    assert gone == Change(key("shop"), Backup("shop", "gold"), None)
    assert again is None
    assert listed == (Change(key("till"), None, Backup("till", "gold")),)
    assert store.unreadable_count() == 1
    assert store.put(a_raw("shop")) == Change(key("shop"), None, Backup("shop", "gold"))
    assert store.unreadable_count() == 0


def test_an_unreadable_object_that_is_gone_does_not_count() -> None:
    store = Store(project_words)
    bad = a_raw("shop") | {"class": []}
    store.put(bad)

    assert store.remove(bad) is None

    assert store.unreadable_count() == 0


def test_an_object_may_have_any_number_of_index_values() -> None:
    store = Store(
        lambda raw: tuple(raw["secrets"]), indexers={"secret": lambda names: (*names, *names)}
    )

    store.put({"metadata": {"name": "class"}, "secrets": ["a", "b"]})
    store.put({"metadata": {"name": "none"}, "secrets": []})
    both = store.index_keys("secret", "a"), store.index_keys("secret", "b")
    store.put({"metadata": {"name": "class"}, "secrets": ["b"]})

    assert both == ((ObjectKey("", "class"),),) * 2
    assert store.index_keys("secret", "a") == ()
    assert store.index_keys("secret", "b") == (ObjectKey("", "class"),)


def test_an_index_that_does_not_exist_is_a_defect(store: Store[Backup]) -> None:
    with pytest.raises(KeyError):
        store.by_index("no such", "gold")


def test_what_has_no_name_is_refused(store: Store[Backup]) -> None:
    with pytest.raises(FormatError):
        store.put({"metadata": {}})


def test_a_reader_sees_a_replacement_whole_or_not_at_all() -> None:
    store = Store(project, indexers={"class": lambda backup: [backup.storage_class]})
    golden = [a_raw(f"n{i}", "gold") for i in range(50)]
    silver = [a_raw(f"n{i}", "silver") for i in range(50)]
    store.replace(golden)
    stop, torn = threading.Event(), list[int]()

    def read() -> None:
        while not stop.is_set():
            found = len(store.by_index("class", "gold"))
            if found not in {0, 50}:
                torn.append(found)

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(100):
        store.replace(silver)
        store.replace(golden)
    stop.set()
    reader.join(10)

    assert not torn


OBJECTS = st.dictionaries(st.sampled_from("abcdef"), st.sampled_from(["gold", "silver", "tin"]))


@settings(deadline=None)
@given(before=OBJECTS, after=OBJECTS, puts=OBJECTS, removed=st.sets(st.sampled_from("abcdef")))
def test_indexes_and_changes_agree_with_the_objects(
    before: dict[str, str], after: dict[str, str], puts: dict[str, str], removed: set[str]
) -> None:
    store = Store(project, indexers={"class": lambda backup: [backup.storage_class]})
    seen: dict[ObjectKey, Backup] = {}
    changes = [*store.replace(a_raw(*item) for item in before.items())]
    changes += store.replace(a_raw(*item) for item in after.items())
    changes += filter(None, (store.put(a_raw(*item)) for item in puts.items()))
    changes += filter(None, (store.remove(a_raw(name)) for name in sorted(removed)))

    for change in changes:
        assert seen.get(change.key) == change.old != change.new
        if change.new is None:
            del seen[change.key]
        else:
            seen[change.key] = change.new

    expected = {n: c for n, c in {**after, **puts}.items() if n not in removed}
    assert seen == {key(n): Backup(n, c) for n, c in expected.items()}
    assert dict(zip(store.keys(), store.values(), strict=True)) == seen
    for storage_class in ("gold", "silver", "tin"):
        assert set(store.index_keys("class", storage_class)) == {
            key(n) for n, c in expected.items() if c == storage_class
        }


def test_the_detector_finds_who_writes_to_a_cached_value() -> None:
    detector = MutationDetector()
    store = Store(lambda raw: {"labels": dict(raw["labels"])}, detector=detector)
    store.put({"metadata": {"name": "a"}, "labels": {"team": "shop"}})
    detector.check()

    (value,) = store.values()
    value["labels"]["team"] = "other"

    with pytest.raises(AssertionError, match="'team': 'shop'"):
        detector.check()


def test_the_detector_looks_into_what_is_not_compared() -> None:
    @frozen
    class Seen:
        name: str
        labels: dict[str, str] = field(eq=False)

    detector = MutationDetector()
    store = Store(lambda raw: (Seen("a", dict(raw["labels"])),), detector=detector)
    store.put({"metadata": {"name": "a"}, "labels": {"team": "shop"}})

    ((seen,),) = store.values()
    seen.labels["team"] = "other"

    with pytest.raises(AssertionError):
        detector.check()


def test_the_detector_also_looks_at_values_that_were_replaced() -> None:
    detector = MutationDetector()
    store = Store(lambda raw: [raw["size"]], detector=detector)
    store.replace([{"metadata": {"name": "a"}, "size": 1}])
    (value,) = store.values()

    store.put({"metadata": {"name": "a"}, "size": 2})
    value.append(3)

    with pytest.raises(AssertionError):
        detector.check()
