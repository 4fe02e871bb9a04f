"""Fixtures of the suite for engines whose database stores by itself."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.api.secrets import Secret
from engines.external_store import Collection
from tests.contract.stores import Bench, benches


@pytest.fixture(params=benches())
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    """Every test with it runs on each engine, on each of its servers."""
    make, server = request.param
    with make(request, server) as store:
        folder = f"{store.parent}2026-11-26T01-00-00Z-{secrets.token_hex(2)}/"
        passphrase = Secret("correct horse")
        yield Bench(
            store,
            Collection(location=store.location, folder=folder, passphrase=passphrase),
            tmp_path,
        )
