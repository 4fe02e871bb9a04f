"""Fixtures: what reads metrics and rules as those who run it do."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.servers import prometheus
from tests.servers.prometheus import Promtool
from tests.servers.provider import ServerMissing, skip_or_fail


def _program(name: str) -> Path:
    try:
        return prometheus.find(name)
    except ServerMissing as missing:
        skip_or_fail(missing)


@pytest.fixture(scope="session")
def promtool() -> Promtool:
    return Promtool(_program("promtool"))


@pytest.fixture(scope="session")
def prometheus_program() -> Path:
    return _program("prometheus")
