"""The table of engines."""

from __future__ import annotations

import pytest

from controller.api.errors import UnknownEngine
from engines import registry
from engines.postgres.engine import PostgresEngine


def test_an_unknown_name_is_refused_and_the_known_ones_are_named() -> None:
    with pytest.raises(UnknownEngine, match=r"'oracle'.*postgres"):
        registry.get("oracle")


def test_a_name_is_registered_once() -> None:
    table = registry.Registry()
    table.register("postgres", PostgresEngine)

    with pytest.raises(ValueError, match="twice"):
        table.register("postgres", PostgresEngine)


def test_each_call_makes_a_new_engine() -> None:
    assert registry.get("postgres") is not registry.get("postgres")
    assert "postgres" in registry.names()
