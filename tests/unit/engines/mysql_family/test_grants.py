"""What an account may do, by the lines of SHOW GRANTS, and the names in our own grants."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given, strategies as st

from engines.mysql_family import grants
from engines.mysql_family.grants import Rights
from engines.mysql_family.quoting import schema_pattern
from engines.mysql_family.target import kept_name, kept_pattern
from tests.unit.engines.mysql_family.samples import names, rights


@pytest.mark.parametrize(
    ("line", "has"),
    [
        ("GRANT ALL PRIVILEGES ON *.* TO `u`@`%` IDENTIFIED BY PASSWORD '*1'", True),
        ("GRANT SELECT, TRIGGER ON `shop`.* TO `u`@`%`", True),
        ("GRANT SELECT, TRIGGER ON `sh_p`.* TO `u`@`%`", True),
        (r"GRANT SELECT, TRIGGER ON `sh\_p`.* TO `u`@`%`", False),
        ("GRANT TRIGGER ON `sh%`.* TO `u`@`%` WITH GRANT OPTION", True),
        ("GRANT SELECT, TRIGGER ON `shop`.`a` TO `u`@`%`", False),
        ("GRANT SELECT (`id`, `TRIGGER`), INSERT ON `shop`.`a` TO `u`@`%`", False),
        ("GRANT USAGE ON *.* TO `u`@`%`", False),
        ("GRANT SELECT ON `shop`.* TO `u`@`%`", False),
        ("GRANT TRIGGER ON `other`.* TO `u`@`%`", False),
        ("GRANT `TRIGGER`@`%` TO `u`@`%`", False),
        ("GRANT PROXY ON ''@'%' TO 'u'@'%' WITH GRANT OPTION", False),
        ("GRANT EXECUTE ON PROCEDURE `shop`.`p` TO `u`@`%`", False),
        ('GRANT TRIGGER ON "shop".* TO "u"@"%"', True),
    ],
)
def test_a_line_of_show_grants_gives_what_it_says(line: str, has: bool) -> None:
    assert rights(line).on_schema("TRIGGER", "shop") is has


@pytest.mark.parametrize(
    ("name", "has"), [("sh_p", True), (r"sh\_p", False), ("sh%", False), ("sh_x", False)]
)
def test_with_partial_revokes_the_name_in_a_grant_is_the_schema_s(name: str, has: bool) -> None:
    line = grants.parse(f"GRANT TRIGGER ON `{name}`.* TO `u`@`%`")
    assert line is not None

    assert Rights("u@%", (line,), is_literal=True).on_schema("TRIGGER", "sh_p") is has


def test_a_partial_revoke_wins_over_what_was_given_everywhere() -> None:
    given_ = rights("GRANT SELECT ON *.* TO `u`@`%`", "REVOKE SELECT ON `shop`.* FROM `u`@`%`")

    assert not given_.on_schema("SELECT", "shop")
    assert given_.on_schema("SELECT", "other")
    assert given_.on_server("SELECT")


@given(names)
def test_the_pattern_of_a_grant_means_that_schema_alone(name: str) -> None:
    line = f"GRANT SELECT ON {schema_pattern(name)}.* TO `u`@`%`"

    assert rights(line).on_schema("SELECT", name)
    assert not rights(line).on_schema("SELECT", name + "x")


@given(st.text(st.characters(categories=["L", "N", "P"]), min_size=1, max_size=64))
def test_the_dated_name_fits_and_its_grant_matches_it(name: str) -> None:
    kept = kept_name(name, datetime(2026, 11, 26, tzinfo=UTC))

    assert len(kept) <= 64
    assert rights(f"GRANT ALL PRIVILEGES ON {kept_pattern(name)}.* TO `u`@`%`").on_schema(
        "DROP", kept
    )
