"""Hosted CI: its files are sound, and do nothing that nobody can do at home."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from configparser import ConfigParser
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.servers.build import GO_PROGRAMS
from tests.servers.provider import ServerMissing, find_program, skip_or_fail

ROOT = Path(__file__).parents[3]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").iterdir())
VARIABLE = "DB_BACKUP_TEST_ACTIONLINT"


def steps() -> Iterator[tuple[str, dict[str, Any]]]:
    for file in WORKFLOWS:
        for name, job in yaml.safe_load(file.read_text())["jobs"].items():
            for number, step in enumerate(job.get("steps", ()), start=1):
                yield f"{file.name}, {name}, step {number}", step


RUNS = [pytest.param(step["run"], id=where) for where, step in steps() if "run" in step]


def targets() -> set[str]:
    """As make itself reads them."""
    done = subprocess.run(
        ["make", "--question", "--print-data-base", "no-such-target"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    (phony,) = re.findall(r"^\.PHONY: (.*)$", done.stdout, re.MULTILINE)
    return set(phony.split())


def test_actionlint_has_nothing_to_say() -> None:
    program = find_program("actionlint", variable=VARIABLE)
    if program is None:
        skip_or_fail(ServerMissing("no actionlint program found"))

    done = subprocess.run(
        [program, "-no-color", *WORKFLOWS], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("run", RUNS)
def test_a_step_calls_make_and_nothing_else(run: str) -> None:
    """What a workflow can do by itself, nobody can try before it is pushed."""
    for line in run.strip().splitlines():
        program, *words = shlex.split(re.sub(r"\$\{\{.*?\}\}", "EXPRESSION", line))
        asked = [word for word in words if "=" not in word]

        assert program == "make"
        assert asked
        assert set(asked) <= targets()


def test_the_environments_that_are_named_are_those_of_tox() -> None:
    tox = ConfigParser()
    tox.read(ROOT / "tox.ini")
    known = set(re.split(r",\s*", tox["tox"]["env_list"]))
    named = set()
    for file in WORKFLOWS:
        workflow = yaml.safe_load(file.read_text())
        for job in workflow["jobs"].values():
            rows = job.get("strategy", {}).get("matrix", {}).get("include", ())
            named |= {row["env"] for row in rows}
        for listed in re.findall(r"tox run -e ([a-z,]+)", file.read_text()):
            named |= set(listed.split(","))

    assert named == known


def test_a_checkout_whose_version_counts_has_all_tags() -> None:
    """A shallow one has none, and would name what it publishes 0.0.0."""
    checkouts = [
        (where, step.get("with", {}).get("fetch-depth"))
        for where, step in steps()
        if step.get("uses", "").startswith("actions/checkout@")
    ]

    assert [where for where, depth in checkouts if depth != 0] == []
    assert len(checkouts) >= len(WORKFLOWS)


def test_a_release_is_packaged_by_the_helm_that_the_tests_use() -> None:
    (used,) = {
        step["with"]["version"] for _, step in steps() if "setup-helm" in step.get("uses", "")
    }

    assert GO_PROGRAMS["helm"].endswith(f"@{used}")


def test_nothing_is_published_before_all_tests_have_passed() -> None:
    release = yaml.safe_load((ROOT / ".github" / "workflows" / "release.yml").read_text())
    writers = {
        name: job
        for name, job in release["jobs"].items()
        if "write" in job.get("permissions", {}).values()
    }

    assert release["permissions"] == {"contents": "read"}
    assert release["jobs"]["test"]["uses"] == "./.github/workflows/ci.yml"
    assert writers
    for job in writers.values():
        assert "test" in job["needs"]
