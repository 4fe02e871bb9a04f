"""Fixtures: one storage server per kind and run, one bucket per test."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TypeVar

import pytest

from tests.servers import gcs, minio, moto
from tests.servers.gcs import GcsServer
from tests.servers.minio import MinioServer
from tests.servers.moto import MotoServer
from tests.servers.provider import ServerMissing, skip_or_fail
from tests.servers.tls import Authority

_Server = TypeVar("_Server")


def given(context: contextlib.AbstractContextManager[_Server]) -> Iterator[_Server]:
    """Skip or fail the test whose server is missing, visibly."""
    with contextlib.ExitStack() as stack:
        try:
            server = stack.enter_context(context)
        except ServerMissing as missing:
            skip_or_fail(missing)
        yield server


@pytest.fixture(scope="session")
def minio_server() -> Iterator[MinioServer]:
    yield from given(minio.running())


@pytest.fixture(scope="session")
def gcs_server() -> Iterator[GcsServer]:
    yield from given(gcs.running())


@pytest.fixture(scope="session")
def moto_server() -> Iterator[MotoServer]:
    yield from given(moto.running())


@pytest.fixture(scope="session")
def authority() -> Authority:
    """A certificate authority that nothing trusts by default."""
    return Authority()


@pytest.fixture(scope="session")
def minio_tls_server(authority: Authority) -> Iterator[MinioServer]:
    yield from given(minio.running(authority.issue_server()))
