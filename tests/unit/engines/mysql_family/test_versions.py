"""Versions: of a server, of a tool, and that of `spec.databaseVersion`."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.api.errors import InvalidSpec
from engines import registry
from engines.interface import InitOptions
from engines.mysql_family import tools, versions
from tests.builders import a_section


@pytest.mark.parametrize(
    ("text", "series"),
    [("10.11.18-MariaDB-0+deb12u1-log", (10, 11)), ("9.7.4-2", (9, 7)), ("8.4", (8, 4))],
)
def test_the_series_of_a_version(text: str, series: tuple[int, int]) -> None:
    assert versions.series_of(text) == series


@pytest.mark.parametrize("version", ["8.4", "", "11.4.x", "11.4.99999"])
def test_a_version_without_its_last_number_is_none_of_a_server(version: str) -> None:
    with pytest.raises(ValueError, match="not a version of a server"):
        versions.patch_of(version)


@pytest.mark.parametrize("engine", ["mysql", "mariadb"])
@pytest.mark.parametrize("version", ["5.7", "16", "latest", "8"])
def test_a_version_that_is_no_series_is_refused_with_those_that_are(
    engine: str, version: str
) -> None:
    with pytest.raises(InvalidSpec, match=r"spec\.databaseVersion: must be a series of"):
        registry.get(engine).init(
            InitOptions(
                namespace="n",
                name="x",
                spec=a_section(engine),
                resolve=lambda value: value.value,  # type: ignore[arg-type, return-value]
                environ={},
                version=version,
            )
        )


@pytest.mark.parametrize(
    ("said", "is_mariadb", "version"),
    [
        ("mariadb-dump  Ver 10.19 Distrib 10.11.18-MariaDB, for debian", True, "10.11.18"),
        ("mariadb-dump from 11.8.9-MariaDB, client 10.20 for debian", True, "11.8.9"),
        ("mysqldump  Ver 9.7.4-2 for Linux on x86_64 ((Debian))", False, "9.7.4-2"),
        ("mysqldump  Ver 8.4.3 for Linux on x86_64 (MySQL Community)", False, "8.4.3"),
        ("mysqldump from 11.8.9-MariaDB, client 10.20 for debian", False, None),
        ("mysqldump  Ver 8.0.1 for Linux", True, None),
    ],
)
def test_a_tool_says_of_which_family_and_version_it_is(
    tmp_path: Path, said: str, is_mariadb: bool, version: str | None
) -> None:
    program = tmp_path / "tool"
    program.write_text(f"#!/bin/sh\necho '{said}'\n")
    program.chmod(0o755)

    assert tools._ask(program, 1, is_mariadb) == version
