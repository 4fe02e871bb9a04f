"""Views: in which order they are made, and of which schema is what they name."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from engines.mysql_family import views
from engines.mysql_family.quoting import identifier
from tests.unit.engines.mysql_family.samples import names


def test_views_come_after_what_they_read_and_a_long_chain_is_no_matter() -> None:
    chain = {f"v{n:05}": f"select 1 from `shop`.`v{n + 1:05}`" for n in range(5000)}
    chain["v05000"] = "select '`shop`.`v00000`' from `shop`.`t`"

    assert views.in_order(chain, "shop") == sorted(chain, reverse=True)


@given(st.dictionaries(names, names, max_size=6), names)
def test_every_view_is_in_the_order_once_whatever_it_names(
    reads: dict[str, str], schema: str
) -> None:
    texts = {
        name: f"select 1 from {identifier(schema)}.{identifier(other)}"
        for name, other in reads.items()
    }

    assert sorted(views.in_order(texts, schema)) == sorted(texts)


def test_a_schema_s_name_goes_before_functions_alone() -> None:
    text = "select `shop`.`f`(1),'`shop`.`f`(1)',`shop`.`id` from (`shop` join `o`.`shop`)"

    assert views.without_schema(text, "shop") == text.replace("`shop`.`f`(1)", "`f`(1)", 1)


def test_tables_of_one_name_are_seen_where_one_stands_without_its_schema() -> None:
    for text, is_seen in (
        ("select `a`.`id` from `a` where exists(select 1 from `o`.`a` where `o`.`a`.`id`)", True),
        ("select `a`.`id` AS `o` from (`a` join `o`.`b`)", False),
        ("select `shop`.`a`.`id` from (`shop`.`a` join `o`.`a`)", False),
        ("select '`o`.`a`' from `a`", False),
    ):
        assert views.takes_for_one(text) == is_seen, text


@pytest.mark.parametrize(
    "text",
    [
        "select {}`a`.`id` AS `shop` from ({}`a` join `o`.`o` on(`o`.`o`.`id` = {}`a`.`id`))",
        "select {}`a`.`shop` AS `shop` from ({}`a` join `o`.`shop`) where `o`.`shop`.`id`",
        "with shop as (select {}`a`.`id` from {}`a`)select `shop`.`id` from (`shop` join `o`.`o`)",
        "select `shop`.`id` from (`o`.`o` `shop` left join ({}`id` join {}`b`) on(`shop`.`id`))",
        "select straight_join `shop`.`a` from (({}`a` straight_join {}`b`) join `o` `shop`)",
        "select trim(both 'x' from `shop`.`v`) from {}`a` `shop`",
        "select extract(year from (`shop`.`at`)) from (`o`.`o` `shop` join {}`a`)",
        "select (select 1 from {}`a` union select `shop`.`id` from `shop`) from {}`b`",
        "select '`shop`.`a`.`b`',\"from `shop`.`a`\",1 AS `it's``shop``.` from {}`a`",
        "select nextval({}`s`),lastval({}`s`),setval({}`s`,4,1,0),`shop`.`s` from `shop`",
        "select {}`k`.`one`(),{}`f`(`shop`.`id`),`o`.`f`() from `shop`",
        "CREATE VIEW {}`v` AS select `shop`.`a` from {}`b` `shop`",
        "select {}`shop`.`id` from ({}`shop` join `o`.`shop`)",
    ],
)
def test_a_view_in_another_schema_reads_that_one_and_its_aliases_stay(text: str) -> None:
    here, there = text.replace("{}", "`shop`."), text.replace("{}", "`a``copy`.")

    assert views.moved(here, source="shop", schema="a`copy") == there
