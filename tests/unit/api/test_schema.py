"""The schema of the custom resources: what it says of every field, and how."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import attrs
import pytest
from attrs import field, frozen

from controller.api import codec, v1
from controller.api.bounds import Between, Matches, wire
from controller.api.cel import Cel, Rule
from controller.api.conditions import Condition
from controller.api.crd import crds
from controller.api.descriptions import describe, describe_fields
from controller.api.errors import Problem
from controller.api.rules import ENGINE_BLOCKS
from controller.api.schema import object_schema
from controller.api.secrets import SecretValue
from controller.api.wire import wire_name
from tests.builders import section_type
from tests.structural import parts, schema_of

SCHEMAS = {name: schema_of(crd) for name, crd in crds().items()}
PARTS = [
    (f"{name.split('.')[0]}.{path}", part)
    for name, schema in SCHEMAS.items()
    for path, part in parts(schema)
]
#: What an API server describes by itself, and items and values, which their list or map describes.
_DESCRIBED_ELSEWHERE = re.compile(r"\.(apiVersion|kind|metadata)$|\[\]$|\{\}$")


def at(path: str) -> Mapping[str, Any]:
    return dict(PARTS)[path]


def test_every_field_has_a_description_that_is_a_sentence() -> None:
    for path, part in PARTS:
        if not _DESCRIBED_ELSEWHERE.search(path):
            assert re.fullmatch(r"[A-Z`](.|\n)*[.]", part["description"]), path


def test_descriptions_speak_of_the_manifest_and_not_of_python() -> None:
    for path, part in PARTS:
        words = part.get("description", "")
        assert not re.search(r"[a-z]_[a-z]|\bNone\b|``|Args:|  ", words), (path, words)


def test_explain_of_retention_reads_well() -> None:
    retention = at("databasebackups.spec.retention")

    assert retention["description"].startswith("How long backups are kept: plain and grandfather-")
    assert {
        name: part["description"] for name, part in retention["properties"].items()
    }.items() >= {
        "keepDaily": "Keep the last backup of each of the newest n days that have one.",
        "minimumKeep": "Never keep fewer than this, whatever the rules say. Defaults to 3.",
    }.items()


class TestDescriptions:
    def test_an_entry_may_be_of_several_fields_and_lines(self) -> None:
        @frozen
        class Pair:
            """Two things.

            That go together.

            Args:
                one, other_one: half of
                    a pair: never alone.
                rest: what is left.
            """

            one: str
            other_one: str
            rest: str

        assert describe(Pair) == "Two things.\n\nThat go together."
        assert describe_fields(Pair) == {
            "one": "Half of a pair: never alone.",
            "other_one": "Half of a pair: never alone.",
            "rest": "What is left.",
        }

    def test_an_entry_without_its_field_is_refused(self) -> None:
        @frozen
        class Renamed:
            """A thing.

            Args:
                old_name: what it was.
            """

            new_name: str

        with pytest.raises(ValueError, match="Renamed: no such fields: old_name"):
            describe_fields(Renamed)


def test_a_default_in_the_schema_is_the_codec_s() -> None:
    kinds = {
        "databasebackups.spec": v1.DatabaseBackupSpec,
        "databasebackups.spec.retention": v1.Retention,
        "databasebackupstorageclasses.spec": v1.StorageClassSpec,
        "databasebackupstorageclasses.spec.backupLocations[]": v1.BackupLocation,
    }
    sections = {f"databasebackups.spec.{one}": section_type(one) for one in ENGINE_BLOCKS}
    defaults = {
        (path.rpartition(".")[0], path.rpartition(".")[2]): part["default"]
        for path, part in PARTS
        # A false of what a pod's spec has false as well.
        if "default" in part and ".runner." not in path
    }
    assert {place for place, _ in defaults} - set(sections) == set(kinds)

    for (place, name), default in defaults.items():
        kind = (kinds | sections)[place]
        (known,) = [one for one in attrs.fields(kind) if wire_name(one.name) == name]
        decode = codec.build_converter().get_structure_hook(known.type)
        assert decode(default, known.type) == known.default, (place, name)


def test_a_default_that_others_may_set_is_told_and_not_stored() -> None:
    for path, value in {
        "timeout": "24h",
        "stallTimeout": "10m",
        "compression.level": "1",
        "runner.parallelism": "1",
    }.items():
        part = at(f"databasebackups.spec.{path}")
        assert "default" not in part
        assert part["description"].endswith(f" Defaults to {value}.")


def test_a_status_has_no_defaults() -> None:
    assert not [path for path, part in PARTS if ".status" in path and "default" in part]


def test_lists_that_two_writers_share_or_with_one_of_each_name_are_maps_by_key() -> None:
    keys = {
        path: part["x-kubernetes-list-map-keys"]
        for path, part in PARTS
        if part.get("x-kubernetes-list-type") == "map"
    }

    options = {"env": ["name"], "volumes": ["name"], "volumeMounts": ["mountPath"]}
    assert keys == {
        **{
            f"{kind}.spec.runner.{name}": key
            for kind in ("databasebackups", "databasebackupstorageclasses")
            for name, key in options.items()
        },
        "databasebackups.status.conditions": ["type"],
        "databasebackups.status.locations": ["name"],
        "databasebackupstorageclasses.status.conditions": ["type"],
        "databasebackupstorageclasses.status.locations": ["name"],
    }
    for path, key in keys.items():
        assert set(key) <= set(at(f"{path}[]")["required"])


def test_a_text_that_may_be_left_out_may_be_empty() -> None:
    @frozen
    class Texts:
        """T."""

        must: str = field(validator=Matches("a|bc", "", longest=9))
        may: str = field(default="", validator=Matches("a|bc", "", optional=True))
        otherwise: str = field(default="", metadata=wire(Matches("x", "")))

    properties = object_schema(Texts)["properties"]

    assert (properties["must"]["pattern"], properties["must"]["maxLength"]) == ("^(?:a|bc)$", 9)
    assert properties["may"]["pattern"] == "^(?:a|bc)?$"
    assert properties["otherwise"]["pattern"] == "^(?:x)$"


def test_a_bound_or_type_that_the_schema_cannot_say_is_refused() -> None:
    @frozen
    class Bound:
        """T."""

        one: str = field(validator=attrs.validators.instance_of(str))

    @frozen
    class Type:
        """T."""

        one: bytes

    for kind in (Bound, Type):
        with pytest.raises(TypeError, match="no schema for"):
            object_schema(kind)


def test_a_duration_is_bounded_in_nanoseconds() -> None:
    @frozen
    class Pause:
        """T."""

        every: timedelta = field(validator=Between(timedelta(minutes=1), timedelta(days=1)))

    low, high = object_schema(Pause)["properties"]["every"]["x-kubernetes-validations"]

    assert low["message"] == "must be >= 1m"
    assert low["rule"].endswith(" >= 60000000000.0")
    assert high["message"] == "must be <= 24h"
    assert high["rule"].endswith(" <= 86400000000000.0")


class TestRules:
    def test_one_has_twins_or_says_why_not(self) -> None:
        def check(value: object) -> Any:
            yield Problem("", str(value))

        with pytest.raises(TypeError, match="check: needs its twins in CEL or the reason"):
            Rule(check, ())
        with pytest.raises(TypeError, match="check: needs"):
            Rule(check, (Cel("true", Problem("", "")),), "CEL has no calendar")

    def test_all_of_a_type_are_in_its_schema(self) -> None:
        kinds = {
            "databasebackups.spec": v1.DatabaseBackupSpec,
            **{
                f"databasebackups.spec.{engine}": kind
                for engine in ENGINE_BLOCKS
                if getattr(kind := section_type(engine), "RULES", ())
            },
            "databasebackups.spec.retention": v1.Retention,
            "databasebackupstorageclasses.spec": v1.StorageClassSpec,
            "databasebackupstorageclasses.spec.backupLocations[]": v1.BackupLocation,
        }
        for path, kind in kinds.items():
            said = {one["rule"] for one in at(path)["x-kubernetes-validations"]}
            assert said == {cel.expression for rule in kind.RULES for cel in rule.cel}

    def test_the_path_of_one_is_a_field_of_the_schema(self) -> None:
        found = [
            (path, part, one["fieldPath"])
            for path, part in PARTS
            for one in part.get("x-kubernetes-validations", ())
            if "fieldPath" in one
        ]
        assert len(found) > 30
        for path, part, name in found:
            assert name.removeprefix(".") in part["properties"], path

    def test_without_a_twin_are_only_these(self) -> None:
        kinds = [v1.DatabaseBackup, v1.DatabaseBackupSpec, v1.PostgresSpec, v1.Retention]
        kinds += [v1.StorageClassSpec, v1.BackupLocation, SecretValue]

        assert {rule.name for kind in kinds for rule in kind.RULES if rule.not_in_cel} == {
            "cron_fires",
            "has_a_namespace",
            "time_zone_exists",
        }


def test_conditions_are_described_as_everywhere() -> None:
    assert at("databasebackups.status.conditions[]") == object_schema(Condition, defaults=False)


def test_people_see_what_they_ask_first() -> None:
    shown = {
        name.split(".")[0]: [
            column["name"] + (" (wide)" if column.get("priority") else "")
            for column in crd["spec"]["versions"][0]["additionalPrinterColumns"]
        ]
        for name, crd in crds().items()
    }

    assert shown == {
        "databasebackups": [
            *("Type", "Class", "Cron (wide)", "Hours (wide)", "Ready", "Healthy"),
            *("Last backup", "Stored", "Runner (wide)", "Age"),
        ],
        "databasebackupstorageclasses": ["Ready", "Used by", "Age"],
    }


def test_a_column_shows_a_field_of_the_schema() -> None:
    for name, crd in crds().items():
        (version,) = crd["spec"]["versions"]
        for column in version["additionalPrinterColumns"]:
            path = column["jsonPath"].split("[?")[0]
            known = f"{name.split('.')[0]}{path}"
            assert known.endswith("creationTimestamp") or known in dict(PARTS)
