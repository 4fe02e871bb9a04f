"""docs/security.md says of the right that reaches furthest what each verb is for."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[3]


def test_the_verbs_on_leases_are_those_of_the_documentation() -> None:
    rules = yaml.safe_load((ROOT / "deploy" / "rbac" / "clusterrole.yaml").read_text())["rules"]
    (verbs,) = [rule["verbs"] for rule in rules if rule["resources"] == ["leases"]]
    rows = re.findall(
        r"^    \| `(\w+)` \|", (ROOT / "docs" / "security.md").read_text(), re.MULTILINE
    )

    assert sorted(verbs) == sorted(rows)
