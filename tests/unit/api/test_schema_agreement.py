"""The schema and the codec agree: what one takes, the other takes; what it refuses, too.

CEL runs only in an API server (tests/integration/kube/test_crds.py). Here a
rule's twin counts as what refuses if it says the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from controller.api import codec, v1
from controller.api.crd import crds
from controller.api.errors import InvalidSpec
from controller.process.documents import read_documents
from tests import strategies
from tests.bad_manifests import CODEC_ALONE, bad_manifests
from tests.builders import a_backup_manifest
from tests.structural import parts, problems, schema_of
from tests.unit.api.test_bad_input import OBJECT_CASES

EXAMPLES = Path(__file__).parents[3] / "docs" / "examples"
KINDS = {kind.KIND: kind for kind in (v1.DatabaseBackup, v1.DatabaseBackupStorageClass)}
SCHEMAS = {crd["spec"]["names"]["kind"]: schema_of(crd) for crd in crds().values()}
#: What a twin says in other words, with why.
SAID_OTHERWISE = {
    # CEL's all() has no index: that two are the same, and not which.
    r"is the same place as backupLocations\[\d\]": "two locations are the same place",
    r"must differ from that of backupLocations\[\d\]": "two locations have the same name",
    # The cost budget does not allow to print a number.
    r"must be <= \d, the number of locations": "must be at most the number of locations",
    # Nor a key: the codec's path has it.
    r"must be a strftime format (.*)": r"each key must be a strftime format \1",
    r"must be the key of a label (.*)": r"each key must be the key of a label \1",
}


@cache
def twins(kind: str) -> list[str]:
    """Patterns of what the CEL rules of a kind say."""
    rules = [
        rule
        for _, part in parts(SCHEMAS[kind])
        for rule in part.get("x-kubernetes-validations", ())
    ]
    texts = [re.escape(rule["message"]) for rule in rules]
    for expression in (rule["messageExpression"] for rule in rules if "messageExpression" in rule):
        literals = re.split(r"' \+ .+? \+ '", expression.strip("'"))
        texts.append(".+".join(map(re.escape, literals)))
    return texts


@pytest.mark.parametrize(("manifest", "_path"), list(bad_manifests()))
def test_what_the_codec_refuses_the_schema_or_a_rule_in_it_refuses(
    manifest: dict[str, Any], _path: str | None
) -> None:
    if problems(SCHEMAS[manifest["kind"]], manifest):
        return
    with pytest.raises(InvalidSpec) as refused:
        codec.decode(KINDS[manifest["kind"]], manifest)

    said = twins(manifest["kind"])
    for problem in refused.value.problems:
        message = problem.message
        for ours, theirs in SAID_OTHERWISE.items():
            message = re.sub(f"^{ours}$", theirs, message)
        assert any(re.fullmatch(twin, message) for twin in said), message


@pytest.mark.parametrize("change", CODEC_ALONE, ids=str)
def test_what_only_the_codec_sees_is_a_calendar_s(change: dict[str, Any]) -> None:
    manifest = a_backup_manifest(**change)

    assert problems(SCHEMAS["DatabaseBackup"], manifest) == []
    with pytest.raises(InvalidSpec):
        codec.decode(v1.DatabaseBackup, manifest)


@pytest.mark.parametrize(("change", "message"), OBJECT_CASES[9:])
def test_a_bad_object_is_refused(change: dict[str, Any], message: str) -> None:
    (problem, *_) = problems(SCHEMAS["DatabaseBackup"], a_backup_manifest() | change)

    assert problem.split(":")[0] in {message.split(":", maxsplit=1)[0], ""}


def documents() -> Iterator[Any]:
    for path in sorted(EXAMPLES.glob("*.yaml")):
        for number, document in enumerate(read_documents(path.read_bytes())):
            if document["kind"] in SCHEMAS:
                yield pytest.param(document, id=f"{path.name}[{number}]")


@pytest.mark.parametrize("document", list(documents()))
def test_an_example_is_valid(document: dict[str, Any]) -> None:
    assert problems(SCHEMAS[document["kind"]], document) == []


@given(backup=strategies.backups)
@settings(max_examples=50, deadline=None)
def test_every_backup_that_can_be_made_is_valid(backup: v1.DatabaseBackup) -> None:
    manifest = codec.encode(backup, reveal_secrets=True)

    assert problems(SCHEMAS["DatabaseBackup"], manifest) == []


@given(spec=strategies.storage_class_specs())
@settings(max_examples=50, deadline=None)
def test_every_class_that_can_be_made_is_valid(spec: v1.StorageClassSpec) -> None:
    kind = v1.DatabaseBackupStorageClass(metadata=v1.ObjectMeta(name="standard"), spec=spec)

    assert problems(SCHEMAS[kind.KIND], codec.encode(kind, reveal_secrets=True)) == []


def test_a_null_is_a_field_left_out() -> None:
    manifest = a_backup_manifest()
    manifest["spec"] |= {"retention": None, "backupCron": None}

    assert problems(SCHEMAS["DatabaseBackup"], manifest) == []
    assert codec.decode(v1.DatabaseBackup, manifest).spec.retention is None


def test_an_unknown_field_is_refused_by_its_path() -> None:
    manifest = a_backup_manifest(retention={"keepDaily": 7, "keepFortnightly": 2})

    assert problems(SCHEMAS["DatabaseBackup"], manifest) == [
        "spec.retention.keepFortnightly: unknown field"
    ]


def test_a_runner_s_own_manifest_is_valid_with_every_default_written_out() -> None:
    """The API server stores objects with defaults in them: they decode to the same."""
    bare = codec.decode(v1.DatabaseBackup, a_backup_manifest(retention={"keepLast": 3}))
    stored = _with_defaults(SCHEMAS["DatabaseBackup"], a_backup_manifest(retention={"keepLast": 3}))

    assert stored["spec"]["postgres"]["port"] == 5432
    assert stored["spec"]["retention"]["minimumKeep"] == 3
    assert problems(SCHEMAS["DatabaseBackup"], stored) == []
    assert codec.decode(v1.DatabaseBackup, stored) == bare


def _with_defaults(schema: Any, value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    known = schema.get("properties", {})
    added = {
        name: part["default"]
        for name, part in known.items()
        if "default" in part and name not in value
    }
    return {name: _with_defaults(known.get(name, {}), item) for name, item in value.items()} | added
