"""docs/configuration.md names every wire field, with the code's own default and bounds."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest

from controller.api import conditions, pods, secrets, status, v1
from controller.api.bounds import All, Between
from controller.api.durations import format_duration
from controller.api.rules import ENGINE_BLOCKS
from controller.api.wire import wire_name
from controller.projections import READY, RUNNER_AVAILABLE
from runner.conditions import OWN_TYPES
from tests.builders import section_type

PAGE = Path(__file__).parents[3] / "docs" / "configuration.md"
#: Heading -> the type whose fields the first table below it has, or the n-th (from 0) of them.
TABLES: Mapping[tuple[str, int], type] = {
    ("spec", 0): v1.DatabaseBackupSpec,
    **{(f"spec.{engine}", 0): section_type(engine) for engine in ENGINE_BLOCKS},
    ("spec.retention", 0): v1.Retention,
    ("spec.compression", 0): v1.Compression,
    ("spec.verification", 0): v1.Verification,
    ("spec.runner", 0): v1.RunnerOptions,
    ("volumes", 0): pods.Volume,
    ("metadata", 0): v1.ObjectMeta,
    ("class spec", 0): v1.StorageClassSpec,
    ("class spec.runner", 0): v1.RunnerDefaults,
    ("backupLocations[]", 0): v1.BackupLocation,
    ("Secret values", 0): secrets.SecretValue,
    ("Secret values", 1): secrets.SecretRef,
    ("DatabaseBackup status", 0): v1.DatabaseBackupStatus,
    ("conditions", 0): conditions.Condition,
    ("DatabaseBackupStorageClass status", 0): v1.StorageClassStatus,
}
#: Those that a person fills in; the others have no column for it.
CONFIGURED = {
    place: kind
    for place, kind in TABLES.items()
    if place[0].startswith(("spec", "volumes", "class spec", "backupLocations"))
}
#: Parts that have no table of their own: a row of the table above names their fields.
IN_A_ROW: Mapping[tuple[str, str], type] = {
    **{
        (heading, name): kind
        for heading in ("spec.runner", "class spec.runner")
        for name, kind in {
            "tolerations": pods.Toleration,
            "env": pods.EnvVariable,
            "volumeMounts": pods.VolumeMount,
            "scratch": pods.Scratch,
        }.items()
    },
    ("volumes", "persistentVolumeClaim"): pods.Claim,
    ("volumes", "secret"): pods.SecretFiles,
    ("DatabaseBackup status", "lastBackup"): status.BackupSummary,
    ("DatabaseBackup status", "lastAttempt"): status.AttemptSummary,
    ("DatabaseBackup status", "lastRestore"): status.RestoreSummary,
    ("DatabaseBackup status", "lastVerification"): status.VerificationSummary,
    ("DatabaseBackup status", "locations"): status.LocationStatus,
    ("DatabaseBackupStorageClass status", "locations"): status.ClassLocationStatus,
}
Row = Mapping[str, str]


def tables(heading: str) -> list[dict[str, Row]]:
    """Every table below a heading: field -> its row by the names of the columns."""
    pattern = rf"^#+ {re.escape(heading)}\n(.*?)(?=^#+ |\Z)"
    found = re.search(pattern, PAGE.read_text(), re.DOTALL | re.MULTILINE)
    assert found, f"no heading {heading!r}"
    return [_rows(block) for block in re.findall(r"(?:^\|.*\n)+", found[1], re.MULTILINE)]


def _rows(block: str) -> dict[str, Row]:
    head, _, *lines = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in block.splitlines()
    ]
    return {line[0].strip("`"): dict(zip(head, line, strict=True)) for line in lines}


def default_text(field: attrs.Attribute[Any]) -> str:
    """How the page writes a default."""
    default: Any = field.default
    if default is attrs.NOTHING:
        return "required"
    if isinstance(default, attrs.Factory):  # type: ignore[arg-type]
        return "see there"
    if default is None or default in ((), ""):
        return "-"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    return f"`{_shown(getattr(default, 'value', default))}`"


def bounds_text(field: attrs.Attribute[Any]) -> str:
    """How the page writes the bounds of a number or duration."""
    for check in _checks(field.validator):
        if isinstance(check, Between):
            return f"`{_shown(check.low)}` to `{_shown(check.high)}`"
    return "-"


def _checks(validator: Any) -> Iterator[Any]:
    if isinstance(validator, All):
        for one in validator.checks:
            yield from _checks(one)
    elif validator is not None:
        yield validator


def _shown(value: object) -> str:
    return format_duration(value) if isinstance(value, timedelta) else str(value)


@pytest.mark.parametrize(("place", "kind"), TABLES.items(), ids=lambda one: str(one)[:60])
def test_a_table_names_every_field_and_no_other(place: tuple[str, int], kind: type) -> None:
    heading, number = place

    rows = tables(heading)[number]

    assert {wire_name(field.name) for field in attrs.fields(kind)} == set(rows)


@pytest.mark.parametrize(("place", "kind"), CONFIGURED.items(), ids=lambda one: str(one)[:60])
def test_a_table_gives_the_defaults_and_bounds_of_the_code(
    place: tuple[str, int], kind: type
) -> None:
    heading, number = place
    rows = tables(heading)[number]

    for field in attrs.fields(kind):
        row = rows[wire_name(field.name)]
        assert (default_text(field), bounds_text(field)) == (row["default"], row["bounds"]), row
        assert row["meaning"]


@pytest.mark.parametrize(("place", "kind"), IN_A_ROW.items(), ids=lambda one: str(one)[:60])
def test_a_row_names_every_field_of_its_part(place: tuple[str, str], kind: type) -> None:
    heading, name = place

    named = set(re.findall(r"`(\w+)`", tables(heading)[0][name]["meaning"]))

    assert {wire_name(field.name) for field in attrs.fields(kind)} == named


def test_every_choice_of_an_enumeration_is_named() -> None:
    cells = {
        v1.StorageType: tables("backupLocations[]")[0]["storageType"]["type"],
        v1.CredentialScope: tables("class spec")[0]["credentialScope"]["type"],
        v1.SslMode: tables("spec.postgres")[0]["sslMode"]["type"],
        v1.TlsMode: tables("spec.mysql")[0]["sslMode"]["type"],
        v1.MariadbTlsMode: tables("spec.mariadb")[0]["sslMode"]["type"],
        conditions.ConditionStatus: tables("conditions")[0]["status"]["type"],
    }

    for kind, cell in cells.items():
        assert {choice.value for choice in kind} == set(re.findall(r"`([^`]+)`", cell))


def test_every_type_of_condition_is_named() -> None:
    row = tables("conditions")[0]["type"]["meaning"]
    types = {READY, RUNNER_AVAILABLE, *OWN_TYPES}

    assert types == set(re.findall(r"`(\w+)`", row))
    assert all(type_ in str(conditions.Condition.__doc__) for type_ in types)
