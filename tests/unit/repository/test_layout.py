from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import assume, example, given, strategies as st

from controller.api.errors import FormatError
from runner.repository.layout import (
    STREAM_NAME,
    Layout,
    is_object_name,
    new_backup_id,
    object_name,
    parse_backup_id,
)
from tests.strategies import dns_labels, dns_names
from tests.unit.repository.samples import LAYOUT, an_id

ID = an_id()
prefixes = st.lists(dns_labels, max_size=3).map("/".join)
layouts = st.builds(Layout, prefix=prefixes, namespace=dns_labels, name=dns_names)


def _keys(layout: Layout) -> list[str]:
    return [
        layout.manifest(ID),
        layout.data_object(ID, "dump.0000"),
        layout.key_file(ID),
        layout.index,
        layout.state,
        layout.owner,
    ]


@given(layouts, layouts)
@example(
    Layout(prefix="a", namespace="b", name="c"), Layout(prefix="", namespace="a", name="b")
).via("one root below the other")
@example(
    Layout(prefix="", namespace="a-b", name="c"), Layout(prefix="", namespace="a", name="b-c")
).via("the same text when joined by a dash")
@example(
    Layout(prefix="", namespace="a", name="b.c"), Layout(prefix="", namespace="a", name="b")
).via("a dot")
def test_no_object_reads_or_deletes_what_is_anothers(one: Layout, other: Layout) -> None:
    assume(one.root != other.root)

    for key in _keys(other):
        assert one.backup_id_of_manifest(key) is None
        assert one.backup_id_of_data(key) is None
        assert key not in _keys(one)
        assert not key.startswith((one.manifests, one.data))


def test_two_objects_share_a_root_only_if_prefix_and_name_say_the_same() -> None:
    deep = Layout(prefix="a/b", namespace="c", name="d")
    flat = Layout(prefix="/a/b/", namespace="c", name="d")

    assert deep.root == flat.root == "a/b/c/d/"
    assert Layout(namespace="c", name="d").root == "c/d/"


@given(layouts)
def test_keys_lead_back_to_their_backup(layout: Layout) -> None:
    assert layout.backup_id_of_manifest(layout.manifest(ID)) == ID
    assert layout.backup_id_of_data(layout.data_object(ID, "dump.0000")) == ID
    assert layout.backup_id_of_data(layout.key_file(ID)) == ID
    assert all(key.startswith(layout.root) for key in _keys(layout))


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "a/b", "../x", "a_b", "_data", "A", "a\n", "-a", "a-", "ä", "a\x00"],
)
def test_a_name_that_kubernetes_would_refuse_makes_no_layout(name: str) -> None:
    with pytest.raises(ValueError, match="must match regex"):
        Layout(namespace=name, name="shop")
    with pytest.raises(ValueError, match="must match regex"):
        Layout(namespace="db", name=name)


@pytest.mark.parametrize(
    "tail",
    [
        "_manifests/",
        "_manifests/.json",
        "_manifests/x.json",
        f"_manifests/{ID}",
        f"_manifests/{ID}.json.bak",
        f"_manifests/{ID}.json/{ID}.json",
        f"_manifests/old/{ID}.json",
        f"_manifests/{ID}\n.json",
        f"_manifests/../_manifests/{ID}.json",
        f"_manifests/{ID.lower()}.json",
        f"{ID}.json",
        f"_data/{ID}.json",
    ],
)
def test_only_id_dot_json_directly_below_manifests_is_a_backup(tail: str) -> None:
    assert LAYOUT.backup_id_of_manifest(LAYOUT.root + tail) is None


@pytest.mark.parametrize(
    "tail",
    [
        f"_data/{ID}",
        "_data/x/dump.0000",
        f"_data/{ID}\n/dump.0000",
        f"_data//{ID}/dump.0000",
        f"_manifests/{ID}/dump.0000",
    ],
)
def test_only_what_lies_in_a_folder_of_an_id_is_data(tail: str) -> None:
    assert LAYOUT.backup_id_of_data(LAYOUT.root + tail) is None
    assert LAYOUT.backup_id_of_data("elsewhere/" + LAYOUT.data_object(ID, "x.0000")) is None


@given(
    st.datetimes(
        datetime(1970, 1, 2),
        datetime(9998, 12, 30),
        timezones=st.just(timezone(timedelta(hours=9))),
    )
)
def test_a_new_id_says_its_start_in_utc_and_is_one(moment: datetime) -> None:
    backup_id = new_backup_id(moment)

    assert parse_backup_id(backup_id) == backup_id
    stamp = datetime.strptime(backup_id[:20], "%Y-%m-%dT%H-%M-%SZ").replace(tzinfo=UTC)
    assert stamp == moment.replace(microsecond=0)


def test_two_ids_of_the_same_second_differ() -> None:
    ids = {new_backup_id(datetime(2026, 11, 23, tzinfo=UTC)) for _ in range(20)}

    assert len(ids) > 1


@pytest.mark.parametrize(
    "text",
    ["", "../x", f"{ID}/", f"{ID}\n", f" {ID}", ID[:-1], ID + "0", "٢٠٢٦-11-23T02-00-00Z-abcd"],
)
def test_anything_else_is_no_id(text: str) -> None:
    with pytest.raises(FormatError, match="not a backup id"):
        parse_backup_id(text)


@given(st.from_regex(STREAM_NAME, fullmatch=True), st.integers(0, 9999))
def test_an_objects_name_leads_back_to_its_stream_and_number(stream: str, number: int) -> None:
    name = object_name(stream, number)

    assert is_object_name(name, stream, number)
    assert not is_object_name(name, stream, number + 1)
    assert not is_object_name(name, stream + "x", number)


@pytest.mark.parametrize("stream", ["", "../x", "a/b", ".a", "A", "a\n", "a" * 64, "ä"])
def test_a_name_that_is_no_safe_file_name_is_no_streams(stream: str) -> None:
    with pytest.raises(FormatError, match="not a stream name"):
        object_name(stream, 0)
    assert not is_object_name(f"{stream}.0000", stream, 0)


def test_no_streams_object_is_the_key_file() -> None:
    assert not any(is_object_name("key.age", "key", number) for number in range(10))
