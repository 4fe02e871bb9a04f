"""What of docs/ is generated is what the code says now."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from handbook import api, retention_picture
from handbook.__main__ import DOCS, generated


@pytest.mark.parametrize("path", sorted(generated()), ids=lambda path: str(path.name))
def test_a_generated_file_is_current(path: Path) -> None:
    assert path.read_text() == generated()[path], f"{path}: run `make generate`"


def test_every_type_that_is_named_has_its_section_once() -> None:
    page = api.page()

    headings = re.findall(r"^### (\w+)$", page, re.MULTILINE)
    linked = set(re.findall(r"\]\(#(\w+)\)", page))

    assert len(set(headings)) == len(headings)
    assert linked == {heading.lower() for heading in headings}


def test_every_row_of_the_reference_has_four_cells_and_a_meaning() -> None:
    rows = re.findall(r"^\| `\w+` \| .*$", api.page(), re.MULTILINE)

    assert len(rows) > 150
    for row in rows:
        cells = re.split(r"(?<!\\)\|", row.strip("|"))
        assert len(cells) in (2, 4), row
        assert cells[-1].strip(), row


def test_the_picture_has_the_numbers_of_the_example() -> None:
    text = retention_picture.picture()
    example = (DOCS / "examples" / "database-backup.yaml").read_text()

    counts = dict(
        re.findall(r'class="count">(\d+)</tspan> (\w+)', text),
    )

    assert {rule: int(number) for number, rule in counts.items()} == {
        rule.lower(): int(number) for rule, number in re.findall(r"keep(\w+): (\d+)", example)
    }
