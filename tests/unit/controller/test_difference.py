"""Which difference is one. What a real server makes of manifests is in integration."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from controller.difference import differences

ME = "me"

DESIRED: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "a", "namespace": "db", "labels": {"one": "1"}},
    "spec": {
        "replicas": 1,
        "template": {
            "spec": {
                "containers": [
                    {
                        "name": "runner",
                        "image": "runner:1",
                        "ports": [{"containerPort": 3000}],
                        "resources": {"limits": {"cpu": "0.5"}},
                        "securityContext": {"readOnlyRootFilesystem": True},
                    }
                ],
                "volumes": [{"name": "scratch", "emptyDir": {}}],
            }
        },
    },
}
OWNED: dict[str, Any] = {
    "f:metadata": {"f:labels": {"f:one": {}}},
    "f:spec": {
        "f:replicas": {},
        "f:template": {
            "f:spec": {
                "f:containers": {
                    'k:{"name":"runner"}': {
                        ".": {},
                        "f:name": {},
                        "f:image": {},
                        "f:ports": {
                            'k:{"containerPort":3000,"protocol":"TCP"}': {
                                ".": {},
                                "f:containerPort": {},
                            }
                        },
                        "f:resources": {"f:limits": {"f:cpu": {}}},
                        "f:securityContext": {"f:readOnlyRootFilesystem": {}},
                    }
                },
                "f:volumes": {
                    'k:{"name":"scratch"}': {".": {}, "f:name": {}, "f:emptyDir": {}},
                },
            }
        },
    },
}


def an_actual(owned: dict[str, Any] = OWNED, manager: str = ME) -> dict[str, Any]:
    """The object as a server that filled in its defaults would give it back."""
    actual = copy.deepcopy(DESIRED)
    actual["metadata"]["uid"] = "1"
    actual["metadata"]["managedFields"] = [
        {"manager": manager, "operation": "Apply", "fieldsV1": copy.deepcopy(owned)},
        {"manager": manager, "operation": "Apply", "subresource": "status", "fieldsV1": {}},
    ]
    actual["spec"]["revisionHistoryLimit"] = 10
    container = runner_of(actual)
    container["terminationMessagePath"] = "/dev/termination-log"
    container["ports"][0]["protocol"] = "TCP"
    container["resources"]["limits"]["cpu"] = "500m"
    return actual


def runner_of(raw: dict[str, Any]) -> dict[str, Any]:
    return raw["spec"]["template"]["spec"]["containers"][0]


def found(actual: dict[str, Any], desired: dict[str, Any] = DESIRED) -> tuple[str, ...]:
    return differences(desired, actual, field_manager=ME)


def test_what_the_server_filled_in_is_no_difference() -> None:
    assert found(an_actual()) == ()


def test_what_others_added_is_no_difference() -> None:
    actual = an_actual()
    actual["metadata"]["labels"]["two"] = "2"
    runner_of(actual).setdefault("env", []).append({"name": "INJECTED", "value": "1"})
    actual["spec"]["template"]["spec"]["containers"].append({"name": "sidecar"})

    assert found(actual) == ()


@pytest.mark.parametrize(
    ("desired", "actual", "paths"),
    [
        (["a", "b"], ["a", "b"], ()),
        (["a"], ["a", "b"], ("spec.whole[...]",)),
        (["a", "b"], ["a"], ("spec.whole[...]",)),
        (["a", "b"], ["b", "a"], ("spec.whole[...]",)),
        ([{"name": "a"}], [{"name": "a", "optional": True}], ("spec.whole[a].optional",)),
        ([{"name": "a", "optional": False}], [{"name": "a"}], ()),
        ({"disk": "fast"}, {"disk": "fast", "zone": "b"}, ("spec.whole.zone",)),
        ({"fieldPath": "a"}, {"fieldPath": "a", "apiVersion": "v1"}, ()),
        ({"items": ["a"]}, {"items": ["a", "b"]}, ("spec.whole.items[...]",)),
    ],
)
def test_what_is_owned_as_a_whole_has_to_be_equal(
    desired: Any, actual: Any, paths: tuple[str, ...]
) -> None:
    owned = [{"manager": ME, "operation": "Apply", "fieldsV1": {"f:spec": {"f:whole": {}}}}]
    identity = {"apiVersion": "v1", "kind": "A", "metadata": {"name": "a"}}
    there = identity | {"metadata": {"name": "a", "managedFields": owned}}

    assert (
        found(there | {"spec": {"whole": actual}}, identity | {"spec": {"whole": desired}}) == paths
    )


def test_a_changed_value_is_a_difference() -> None:
    actual = an_actual()
    actual["spec"]["replicas"] = 0

    assert found(actual) == ("spec.replicas",)


def test_a_missing_field_is_a_difference() -> None:
    actual = an_actual()
    del actual["metadata"]["labels"]

    assert found(actual) == ("metadata.labels",)


def test_a_change_deep_in_a_list_is_a_difference() -> None:
    actual = an_actual()
    runner_of(actual)["image"] = "runner:2"

    assert found(actual) == ("spec.template.spec.containers[runner]",)


def test_true_is_not_one() -> None:
    actual = an_actual()
    actual["spec"]["replicas"] = True

    assert found(actual) == ("spec.replicas",)


@pytest.mark.parametrize(
    ("wanted", "comes_back"),
    [
        ("0.5", "500m"),
        (1, "1"),
        ("1000m", "1"),
        ("1024Mi", "1Gi"),
        ("1e3", "1k"),
        ("0.1Gi", "107374182400m"),
    ],
)
def test_quantities_are_compared_as_numbers(wanted: object, comes_back: str) -> None:
    desired, actual = copy.deepcopy(DESIRED), an_actual()
    runner_of(desired)["resources"]["limits"]["cpu"] = wanted
    runner_of(actual)["resources"]["limits"]["cpu"] = comes_back

    assert found(actual, desired) == ()


def test_another_quantity_is_a_difference() -> None:
    actual = an_actual()
    runner_of(actual)["resources"]["limits"]["cpu"] = "501m"

    assert found(actual) == ("spec.template.spec.containers[runner]",)


def test_texts_that_look_like_quantities_are_texts_elsewhere() -> None:
    desired, actual = copy.deepcopy(DESIRED), an_actual()
    desired["metadata"]["labels"]["one"] = "1.0"

    assert found(actual, desired) == ("metadata.labels.one",)


def test_a_field_that_we_own_and_do_not_want_any_more_has_to_go() -> None:
    owned = copy.deepcopy(OWNED)
    owned["f:metadata"]["f:labels"]["f:old"] = {}

    assert found(an_actual(owned)) == ("metadata.labels.old",)


def test_an_item_that_we_own_and_do_not_want_any_more_has_to_go() -> None:
    owned = copy.deepcopy(OWNED)
    volumes = owned["f:spec"]["f:template"]["f:spec"]["f:volumes"]
    volumes['k:{"name":"old"}'] = {".": {}, "f:name": {}}

    assert found(an_actual(owned)) == ('spec.template.spec.volumes[{"name":"old"}]',)


def test_a_field_that_somebody_took_over_is_taken_back() -> None:
    owned = copy.deepcopy(OWNED)
    del owned["f:spec"]["f:replicas"]

    assert found(an_actual(owned)) == ("spec.replicas",)


def test_a_list_that_is_owned_as_a_whole_and_was_taken_over_is_taken_back() -> None:
    desired = {"apiVersion": "v1", "kind": "Role", "metadata": {"name": "a"}, "rules": [{"a": 1}]}
    actual = copy.deepcopy(desired)
    entry = {"manager": ME, "operation": "Apply", "fieldsV1": {"f:rules": {}}}
    actual["metadata"]["managedFields"] = [entry]
    assert differences(desired, actual, field_manager=ME) == ()

    actual["rules"].append({"b": 1})
    entry["fieldsV1"] = {}

    assert differences(desired, actual, field_manager=ME) == ("rules",)


def test_a_false_field_is_right_when_it_is_left_out_and_ours_and_else_was_taken_away() -> None:
    desired, owned = copy.deepcopy(DESIRED), copy.deepcopy(OWNED)
    desired["spec"]["paused"] = False
    owned["f:spec"]["f:paused"] = {}
    assert found(an_actual(owned), desired) == ()

    del owned["f:spec"]["f:paused"]

    assert found(an_actual(owned), desired) == ("spec.paused",)


@pytest.mark.parametrize("entries", [None, [], [{"manager": ME, "operation": "Update"}]])
def test_what_was_not_applied_by_us_is_all_different(entries: object) -> None:
    actual = an_actual()
    actual["metadata"]["managedFields"] = entries

    assert set(found(actual)) == {"metadata", "spec"}


def test_an_object_of_metadata_alone_is_right_when_it_is_there() -> None:
    desired = {"apiVersion": "v1", "kind": "Lease", "metadata": {"name": "a", "labels": {"a": "b"}}}
    actual = copy.deepcopy(desired) | {"spec": {"holderIdentity": "runner"}}
    fields = {"f:metadata": {"f:labels": {"f:a": {}}}}
    actual["metadata"]["managedFields"] = [
        {"manager": ME, "operation": "Apply", "fieldsV1": fields},
        {"manager": "runner", "operation": "Update", "fieldsV1": {"f:spec": {}}},
    ]

    assert differences(desired, actual, field_manager=ME) == ()


def test_sets_are_compared_by_their_values() -> None:
    desired = {"metadata": {"name": "a", "finalizers": ["x", "y"]}}
    actual = {
        "metadata": {
            "name": "a",
            "finalizers": ["y", "x", "theirs"],
            "managedFields": [
                {
                    "manager": ME,
                    "operation": "Apply",
                    "fieldsV1": {"f:metadata": {"f:finalizers": {'v:"x"': {}, 'v:"z"': {}}}},
                }
            ],
        }
    }

    assert set(differences(desired, actual, field_manager=ME)) == {
        "metadata.finalizers[...]",
        'metadata.finalizers["z"]',
    }
