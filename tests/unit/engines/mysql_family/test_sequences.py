"""Sequences of MariaDB: defaults that name the schema, and the rights that some servers want."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from engines.mysql_family import sequences
from engines.mysql_family.catalogue import Identity
from tests.fakes.streams import MemoryReader
from tests.unit.engines.mysql_family.samples import rights


@given(st.integers(1, 80))
def test_a_dump_for_another_schema_is_changed_in_defaults_alone(size: int) -> None:
    looks_so = b"'it\\'s \\\\','nextval(`shop`.`q`)'"
    data = (
        b"CREATE TABLE `t` (\n  `id` int DEFAULT nextval(`shop`.`q`),\n"
        b"  `b` text DEFAULT concat(" + looks_so + b") COMMENT 'x''nextval(`shop`.`q`)\xff',\n"
        b"  `c` text DEFAULT concat(" + looks_so + b",setval(`shop`.`q`,1,1,0))\n);\n"
        b"DO SETVAL(`q`, -7, 0);\nDO SETVAL(`a``b`, 18446744073709551614, 0);\n"
        b"INSERT INTO `t` VALUES\n(1,'  `id` int DEFAULT nextval(`shop`.`q`)'),\n"
        b"(2,'\\nDO SETVAL(`q`, 1, 0);');\n-- end"
    )
    numbers: dict[str, int] = {}
    reader = sequences.Moved(
        MemoryReader(data, None), source="shop", schema="other", numbers=numbers
    )

    parts = []
    while part := reader.read(size):
        parts.append(part)

    changed = data.replace(b"DEFAULT nextval(`shop`.", b"DEFAULT nextval(`other`.", 1)
    assert b"".join(parts) == changed.replace(b",setval(`shop`.", b",setval(`other`.")
    assert numbers == {"q": -7, "a`b": 18446744073709551614}


@pytest.mark.parametrize(
    ("version", "given", "cure"),
    [
        ("11.4.5-MariaDB-log", "", "11.4.8 does: GRANT INSERT, ALTER ON *.* TO `u`@`%`;"),
        ("11.4.5-MariaDB-log", "GRANT SELECT, INSERT ON *.* TO u", ": GRANT ALTER ON *.* TO"),
        ("11.4.5-MariaDB-log", "GRANT ALL PRIVILEGES ON *.* TO u", None),
        ("10.11.9-MariaDB", "GRANT ALL PRIVILEGES ON `shop`.* TO u", "10.11.14 does: GRANT INSERT"),
        ("11.4.8-MariaDB", "", None),
        ("10.11.18-MariaDB-0+deb12u1-log", "", None),
        ("12.1.2-MariaDB", "", None),
    ],
)
def test_a_server_that_is_blind_to_rights_on_sequences_wants_them_on_everything(
    version: str, given: str, cure: str | None
) -> None:
    here = Identity(version=version, lineage="", lower_case=0, log_bin=True, trusts_creators=True)

    found = sequences.problems(here, rights(given))

    assert len(found) == (cure is not None)
    assert all(cure in problem.message for problem in found)
