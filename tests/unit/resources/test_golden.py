"""The children of some objects, as whole manifests: what changes in them is seen in review.

After a change that is meant: ``GOLDEN=write .venv/bin/pytest tests/unit/resources/test_golden.py``
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from controller.manifests import to_yaml
from tests.unit.resources.samples import CASES, children_of

FOLDER = Path(__file__).parent / "golden"


@pytest.mark.parametrize("case", CASES)
def test_the_children_are_those_of_the_golden_file(case: str) -> None:
    file = FOLDER / f"{case}.yaml"
    text = "---\n".join(to_yaml(child.manifest) for child in children_of(case).children)
    if os.environ.get("GOLDEN") == "write":
        file.write_text(text)

    assert text == file.read_text()


def test_every_golden_file_has_its_case() -> None:
    assert {file.stem for file in FOLDER.iterdir()} == set(CASES)
