"""What an object says of its pod, over what its class says for all."""

from __future__ import annotations

from typing import Any

import pytest

from controller.api import codec, v1
from controller.api.errors import InvalidSpec
from controller.resources.runner_options import merged
from tests.unit.resources.samples import (
    A_CLASS,
    ALLOWING,
    CASES,
    a_raw_backup,
    build,
    template_of,
)

NONE = template_of(build(a_raw_backup(), A_CLASS))


def template(own: dict[str, Any] | None = None, **defaults: Any) -> dict[str, Any]:
    raw_class = A_CLASS | {"spec": A_CLASS["spec"] | {"runner": defaults}}
    return template_of(build(a_raw_backup(runner=own or {}), raw_class))


def container(pod: dict[str, Any]) -> dict[str, Any]:
    (one,) = pod["spec"]["containers"]
    found: dict[str, Any] = one
    return found


def test_options_that_say_nothing_change_nothing() -> None:
    assert template({}, resources={}, env=[], image="") == NONE
    assert template({"parallelism": 4}) == NONE


@pytest.mark.parametrize(
    ("field", "low", "high", "both"),
    [
        ("nodeSelector", {"a": "1", "b": "1"}, {"b": "2"}, {"a": "1", "b": "2"}),
        ("affinity", {"nodeAffinity": {}}, {"podAffinity": {}}, {"podAffinity": {}}),
        ("tolerations", [{"key": "a"}], [{"key": "b"}], [{"key": "a"}, {"key": "b"}]),
        ("priorityClassName", "low", "high", "high"),
    ],
)
def test_an_object_wins_over_its_class(field: str, low: Any, high: Any, both: Any) -> None:
    assert template(**{field: low})["spec"][field] == low
    assert template({field: high})["spec"][field] == high
    assert template({field: high}, **{field: low})["spec"][field] == both


def test_labels_and_annotations_are_the_pod_s_and_ours_stay() -> None:
    defaults = {"annotations": {"a/b": "c"}, "allowedLabels": ["team"]}

    metadata = template({"labels": {"team": "web"}}, **defaults)["metadata"]

    assert metadata["annotations"] == {"a/b": "c"}
    assert metadata["labels"] == NONE["metadata"]["labels"] | {"team": "web"}


@pytest.mark.parametrize(
    ("allowed", "keys", "refused"),
    [
        ([], ["team"], ["team"]),
        (["team"], ["team", "teams"], ["teams"]),
        (["team"], ["team/x"], ['["team/x"]']),
        (["a.b/"], ["a.b/c", "a.b/d"], []),
        (["a.b/"], ["a.b", "a.b.c/d", "x.a.b/c"], ['["a.b"]', '["a.b.c/d"]', '["x.a.b/c"]']),
        (["a.b/c"], ["a.b/c", "a.b/cd"], ['["a.b/cd"]']),
    ],
)
@pytest.mark.parametrize("field", ["annotations", "labels"])
def test_an_object_adds_the_keys_that_its_class_allows(
    field: str, allowed: list[str], keys: list[str], refused: list[str]
) -> None:
    own, name = {field: dict.fromkeys(keys, "1")}, f"allowed{field.capitalize()}"

    try:
        metadata = template(own, **{name: allowed})["metadata"]
    except InvalidSpec as error:
        told = [(one.path, one.message) for one in error.problems]
    else:
        told = []
        assert metadata[field].items() >= own[field].items()

    cure = (
        f"is not allowed by the storage class: remove it, or have it added to runner.{name} there"
    )
    dotted = [one if one.startswith("[") else f".{one}" for one in refused]
    assert told == [(f"spec.runner.{field}{one}", cure) for one in dotted]


def test_what_is_allowed_for_labels_is_not_for_annotations() -> None:
    with pytest.raises(InvalidSpec, match=r"^spec\.runner\.annotations\.a: is not allowed"):
        template({"annotations": {"a": "1"}}, allowedLabels=["a"])


def test_a_class_s_own_annotations_and_labels_need_no_allowance() -> None:
    metadata = template(annotations={"a": "1"}, labels={"b": "2"})["metadata"]

    assert metadata["annotations"] == {"a": "1"}
    assert metadata["labels"] == NONE["metadata"]["labels"] | {"b": "2"}


def test_an_image_of_the_class_is_used_as_it_is() -> None:
    assert container(template(image="mirror.example/r:1"))["image"] == "mirror.example/r:1"


@pytest.mark.parametrize(
    ("low", "high", "memory"),
    [
        ({}, {}, ("128Mi", "1Gi")),
        ({"limits": {"memory": "2048Mi"}}, {}, ("128Mi", "2Gi")),
        # A default gives way to what is said.
        ({"limits": {"memory": "64Mi"}}, {}, ("64Mi", "64Mi")),
        ({}, {"requests": {"memory": "3Gi"}}, ("3Gi", "3Gi")),
        ({"limits": {"memory": "2Gi"}}, {"requests": {"memory": "3Gi"}}, ("3Gi", "3Gi")),
    ],
)
def test_resources_are_merged_by_name(
    low: dict[str, Any], high: dict[str, Any], memory: tuple[str, str]
) -> None:
    found = container(template({"resources": high}, resources=low))["resources"]

    assert (found["requests"]["memory"], found["limits"]["memory"]) == memory
    assert found["requests"]["cpu"] == "50m"


@pytest.mark.parametrize(
    "name",
    [
        "AWS_ROLE_ARN",
        "AWS_ROLE_SESSION_NAME",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "GOOGLE_APPLICATION_CREDENTIALS",
    ],
)
def test_an_identity_is_the_class_s_to_choose_and_not_the_object_s(name: str) -> None:
    chosen = {"name": name, "value": "/var/run/identity"}

    assert container(template(env=[chosen]))["env"] == [*container(NONE)["env"], chosen]
    with pytest.raises(InvalidSpec, match=r"^spec\.runner\.env\[0\]\.name: must be one of"):
        template({"env": [chosen]})


@pytest.mark.parametrize("name", ["LD_PRELOAD", "AWS_CONFIG_FILE", "CONFIG_DIR"])
def test_what_runs_is_not_the_class_s_to_choose_by_a_variable(name: str) -> None:
    with pytest.raises(InvalidSpec, match=r"^spec\.runner\.env\[0\]\.name: must be one of"):
        template(env=[{"name": name, "value": "x"}])


def test_a_variable_of_the_object_replaces_the_class_s_and_ours_stay() -> None:
    proxy = {"name": "HTTPS_PROXY", "value": "http://class:3128"}
    own = [
        {"name": "HTTPS_PROXY", "fromSecret": {"name": "proxy", "key": "url"}},
        {"name": "AWS_REGION", "value": "eu-central-1"},
    ]

    env = container(template({"env": own}, env=[proxy]))["env"]

    assert env == [
        *container(NONE)["env"],
        {"name": "AWS_REGION", "value": "eu-central-1"},
        {
            "name": "HTTPS_PROXY",
            "valueFrom": {"secretKeyRef": {"name": "proxy", "key": "url"}},
        },
    ]


def test_volumes_of_every_kind_are_as_in_a_pod_s_own_spec() -> None:
    volumes = [
        {"name": "a", "emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}},
        {"name": "b", "persistentVolumeClaim": {"claimName": "data", "readOnly": True}},
        {"name": "c", "configMap": {"name": "files", "items": [{"key": "k", "path": "p/q"}]}},
        {"name": "d", "secret": {"secretName": "s", "optional": True, "defaultMode": 256}},
        {
            "name": "e",
            "projected": {"sources": [{"secret": {"name": "s"}}, {"configMap": {"name": "c"}}]},
        },
    ]
    mounts = [{"name": "a", "mountPath": "/mnt/a"}, {"name": "b", "mountPath": "/mnt/b/c"}]

    pod = template({"volumes": volumes[1:], "volumeMounts": mounts}, volumes=volumes[:1])

    assert pod["spec"]["volumes"] == NONE["spec"]["volumes"] + volumes
    assert container(pod)["volumeMounts"] == container(NONE)["volumeMounts"] + mounts


def test_a_mount_of_no_volume_is_refused_by_its_path() -> None:
    with pytest.raises(InvalidSpec) as refused:
        template({"volumeMounts": [{"name": "gone", "mountPath": "/mnt/a"}]})

    assert str(refused.value) == (
        'spec.runner.volumeMounts["/mnt/a"].name: there is no volume gone in spec.runner.volumes'
    )


def test_lists_that_are_too_long_together_are_refused_by_their_path() -> None:
    some = [{"key": f"k{n}"} for n in range(20)]

    with pytest.raises(InvalidSpec, match=r"^spec\.runner\.tolerations: must have at most 32"):
        template({"tolerations": some}, tolerations=some)


@pytest.mark.parametrize(
    ("scratch", "source"),
    [
        ({"sizeLimit": "1024Mi"}, {"emptyDir": {"sizeLimit": "1Gi"}}),
        ({"claimName": "fast"}, {"persistentVolumeClaim": {"claimName": "fast"}}),
    ],
)
def test_scratch_has_a_limit_or_a_claim(scratch: dict[str, str], source: Any) -> None:
    volumes = template({"scratch": scratch})["spec"]["volumes"]

    assert {"name": "db-backup-scratch"} | source in volumes


@pytest.mark.parametrize(
    ("field", "items", "path"),
    [
        ("env", [{"name": "AWS_REGION", "value": "a"}] * 2, "env[1].name"),
        ("volumes", [{"name": "a", "emptyDir": {}}] * 2, "volumes[1].name"),
        ("volumeMounts", [{"name": "a", "mountPath": "/mnt/a"}] * 2, "volumeMounts[1].mountPath"),
    ],
)
def test_one_name_is_given_once(field: str, items: list[dict[str, Any]], path: str) -> None:
    with pytest.raises(InvalidSpec, match="is there twice") as refused:
        codec.decode(v1.RunnerOptions, {field: items})

    assert [problem.path for problem in refused.value.problems] == [path]


def test_what_is_merged_with_nothing_is_itself() -> None:
    raw, _, _ = CASES["every-option"]
    own = codec.decode(v1.DatabaseBackup, raw).spec.runner

    allowing = codec.decode(v1.RunnerDefaults, ALLOWING)

    once = merged(own, allowing)

    assert merged(once, allowing) == once
