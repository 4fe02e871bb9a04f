"""docs/benchmarks.md has many writers; each replaces its own section."""

from __future__ import annotations

from tests.benchmarks.report import with_section


def test_a_section_is_replaced_and_the_others_stay() -> None:
    document = with_section("", "The runner", "fast\n")
    document = with_section(document, "The controller", "small")

    assert document == "# Benchmarks\n\n## The runner\n\nfast\n\n## The controller\n\nsmall\n"
    assert with_section(document, "The runner", "faster") == document.replace("fast", "faster")
