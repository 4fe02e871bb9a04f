"""Storages against servers that hang, lie about their name, lose answers or refuse."""

from __future__ import annotations

import contextlib
import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from controller.api.errors import (
    AccessDenied,
    ChecksumMismatch,
    InvalidSpec,
    ObjectExists,
    ObjectNotFound,
    StorageUnavailable,
)
from controller.api.secrets import Secret
from runner.storage.base import Storage
from runner.storage.connection import Connection, Timeouts
from runner.storage.gcs import GcsStorage
from runner.storage.minio import MinioStorage
from runner.storage.retrying import Retrying, RetryPolicy
from runner.storage.s3 import S3Storage
from tests.servers.gcs import GcsServer
from tests.servers.minio import MinioServer
from tests.servers.proxy import Fault, HttpProxy, TcpProxy
from tests.servers.tls import Authority

PART_BYTES = 5 * 1024 * 1024
Open = Callable[..., Storage]
ADAPTERS = {"s3": S3Storage, "minio": MinioStorage, "gcs": GcsStorage}


@pytest.fixture
def opened() -> Iterator[Open]:
    """Opens adapters and closes them when the test ends."""
    with contextlib.ExitStack() as stack:

        def make(kind: str, **settings: Any) -> Storage:
            defaults: dict[str, Any] = {"location": "faulty", "secure": False}
            storage = ADAPTERS[kind](Connection(**defaults | settings), part_size_bytes=PART_BYTES)
            stack.callback(storage.close)
            return storage

        yield make


@pytest.fixture(params=ADAPTERS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def server(request: pytest.FixtureRequest, kind: str) -> MinioServer | GcsServer:
    return request.getfixturevalue("gcs_server" if kind == "gcs" else "minio_server")


@pytest.fixture
def settings(kind: str, server: MinioServer | GcsServer) -> dict[str, Any]:
    """How to reach a new bucket of the server."""
    found: dict[str, Any] = {"bucket": server.new_bucket(), "endpoint": server.endpoint}
    if isinstance(server, MinioServer):
        found |= _keys(server)
    return found


def _keys(server: MinioServer) -> dict[str, Secret]:
    return {"access_key": Secret(server.access_key), "secret_key": Secret(server.secret_key)}


def _quick(storage: Storage, stop: threading.Event | None = None) -> Retrying:
    policy = RetryPolicy(first_delay_s=0.01, max_attempts=4)
    return Retrying(storage, policy=policy, stop=stop or threading.Event())


def payload(size_bytes: int) -> bytes:
    return hashlib.shake_128(b"faults").digest(size_bytes)


def _every_call(storage: Storage) -> list[Callable[[], object]]:
    return [
        lambda: storage.stat("k"),
        lambda: storage.put("k", b"x"),
        lambda: storage.put_new("k", b"x"),
        lambda: list(storage.list("")),
        lambda: list(storage.open_stream("k")),
        lambda: storage.create_upload("k"),
        lambda: storage.delete(["k"]),
    ]


def test_a_hanging_server_is_given_up_after_the_timeout(
    opened: Open, kind: str, server: MinioServer | GcsServer, settings: dict[str, Any]
) -> None:
    storage = opened(kind, **settings, timeouts=Timeouts(connect_s=1, read_s=1))
    storage.put("k", b"x")
    server.suspend()
    try:
        for call in _every_call(storage):
            started = time.monotonic()
            with pytest.raises(StorageUnavailable, match="no answer within the timeout"):
                call()
            assert time.monotonic() - started < 5
    finally:
        server.resume()

    assert storage.put("afterwards", b"x").size_bytes == 1


def test_a_server_that_is_down_is_unavailable(
    opened: Open, kind: str, settings: dict[str, Any]
) -> None:
    with TcpProxy(1) as proxy:
        free_endpoint = proxy.endpoint
    storage = opened(kind, **settings | {"endpoint": free_endpoint})

    for call in _every_call(storage):
        with pytest.raises(StorageUnavailable, match=r"location faulty: .*connection refused"):
            call()


def test_an_unknown_host_is_unavailable(opened: Open, kind: str, settings: dict[str, Any]) -> None:
    storage = opened(kind, **settings | {"endpoint": "no-such-host.invalid:9000"})

    with pytest.raises(StorageUnavailable, match="cannot be resolved"):
        storage.stat("k")


@pytest.mark.parametrize("status", [500, 502, 503, 429])
def test_server_errors_are_unavailable(
    opened: Open,
    kind: str,
    server: MinioServer | GcsServer,
    settings: dict[str, Any],
    status: int,
) -> None:
    with HttpProxy(server.port) as proxy:
        proxy.add(Fault(status=status, body=b"<html>busy</html>", times=100))
        storage = opened(kind, **settings | {"endpoint": proxy.endpoint})

        for call in _every_call(storage):
            with pytest.raises(StorageUnavailable):
                call()


def test_one_call_is_one_request_that_fails(
    opened: Open, kind: str, server: MinioServer | GcsServer, settings: dict[str, Any]
) -> None:
    """The SDKs' own retries are off: the policy is ours alone."""
    with HttpProxy(server.port) as proxy:
        proxy.add(Fault(status=503, times=100))
        storage = opened(kind, **settings | {"endpoint": proxy.endpoint})

        for call in _every_call(storage):
            proxy.requests.clear()
            with pytest.raises(StorageUnavailable):
                call()
            assert len(proxy.requests) == 1


def test_a_download_that_is_cut_goes_on_where_it_was(
    opened: Open, kind: str, server: MinioServer | GcsServer, settings: dict[str, Any]
) -> None:
    data = payload(6 * 1024 * 1024)
    opened(kind, **settings).put("k", data)
    with TcpProxy(server.port) as proxy:
        cut = opened(kind, **settings | {"endpoint": proxy.endpoint})
        proxy.cut_after_bytes = 3 * 1024 * 1024

        with pytest.raises(StorageUnavailable):
            list(cut.open_stream("k"))

        proxy.cut_after_bytes = 3 * 1024 * 1024
        assert b"".join(_quick(cut).open_stream("k", offset=7)) == data[7:]
        assert proxy.cut_after_bytes is None


def test_a_create_only_write_knows_its_own_object(
    opened: Open, kind: str, server: MinioServer | GcsServer, settings: dict[str, Any]
) -> None:
    with HttpProxy(server.port) as proxy:
        storage = _quick(opened(kind, **settings | {"endpoint": proxy.endpoint}))
        method = "POST" if kind == "gcs" else "PUT"
        lost = proxy.add(Fault(method=method, is_answer_lost=True))

        assert storage.put_new("k", b"mine").size_bytes == 4
        assert lost.hits == 1

        proxy.add(Fault(method=method, is_answer_lost=True))
        with pytest.raises(ObjectExists):
            storage.put_new("k", b"another's")


@pytest.mark.parametrize("kind", ["s3", "minio"])
@pytest.mark.parametrize("step", ["uploads=", "partNumber=2", "complete"])
def test_an_upload_survives_a_lost_answer(
    opened: Open, server: MinioServer, settings: dict[str, Any], kind: str, step: str
) -> None:
    data = payload(2 * PART_BYTES + 1)
    with HttpProxy(server.port) as proxy:
        storage = _quick(opened(kind, **settings | {"endpoint": proxy.endpoint}))
        if step == "complete":
            fault = Fault(method="POST", path_part="uploadId=", is_answer_lost=True)
        else:
            fault = Fault(path_part=step, is_answer_lost=True)
        if step == "uploads=" and kind == "s3":
            fault.path_part = "?uploads"
        proxy.add(fault)

        one = storage.create_upload("k")
        for number, start in enumerate(range(0, len(data), PART_BYTES), start=1):
            one.put_part(number, data[start : start + PART_BYTES])
        info = one.complete()

        assert fault.hits == 1
        assert info.size_bytes == len(data)
        assert b"".join(storage.open_stream("k")) == data


@pytest.mark.parametrize("kind", ["s3", "minio"])
def test_a_part_that_is_damaged_on_its_way_is_refused_and_sent_again(
    opened: Open, server: MinioServer, settings: dict[str, Any], kind: str
) -> None:
    data = payload(PART_BYTES)
    with HttpProxy(server.port) as proxy:
        storage = opened(kind, **settings | {"endpoint": proxy.endpoint})
        one = storage.create_upload("k")
        proxy.add(Fault(method="PUT", path_part="partNumber=1", is_body_damaged=True, times=2))

        with pytest.raises(StorageUnavailable, match="damaged"):
            one.put_part(1, data)
        with pytest.raises(StorageUnavailable, match="damaged"):
            one.put_part(1, data)

        one.put_part(1, data)
        one.complete()
        assert b"".join(storage.open_stream("k")) == data


def test_gcs_data_that_is_damaged_on_its_way_is_found_and_removed(
    opened: Open, gcs_server: GcsServer
) -> None:
    with HttpProxy(gcs_server.port) as proxy:
        storage = opened("gcs", bucket=gcs_server.new_bucket(), endpoint=proxy.endpoint)
        one = storage.create_upload("k")
        proxy.add(Fault(method="PUT", is_body_damaged=True))
        one.put_part(1, payload(PART_BYTES))

        with pytest.raises(ChecksumMismatch):
            one.complete()

        assert list(storage.list("")) == []


@pytest.mark.parametrize("etag", ["md5", "opaque"])
def test_s3_servers_that_confirm_no_sha256_confirm_the_md5(
    opened: Open, minio_server: MinioServer, etag: str
) -> None:
    with HttpProxy(minio_server.port) as proxy:
        proxy.replaced_headers = {"x-amz-checksum-sha256": ""}
        settings = {"bucket": minio_server.new_bucket(), "endpoint": proxy.endpoint}
        storage = opened("s3", **settings, **_keys(minio_server))
        one = storage.create_upload("k")
        if etag == "opaque":
            proxy.replaced_headers["etag"] = '"0123"'
            with pytest.raises(StorageUnavailable, match="did not confirm the checksum of part 1"):
                one.put_part(1, b"content")
            return
        one.put_part(1, b"content")

        assert one.complete().size_bytes == 7


@pytest.mark.parametrize("kind", ["s3", "minio"])
def test_an_upload_that_somebody_aborted_does_not_take_an_older_object_for_its_own(
    opened: Open, settings: dict[str, Any], kind: str
) -> None:
    storage = opened(kind, **settings)
    storage.put("k", b"12345")
    one = storage.create_upload("k")
    one.put_part(1, b"abcde")
    storage.abort_stale_uploads("")

    with pytest.raises(Exception, match="something else aborted it") as caught:
        one.complete()

    assert caught.value.exit_code == 78
    assert b"".join(storage.open_stream("k")) == b"12345"


@pytest.mark.parametrize("kind", ["s3", "minio"])
@pytest.mark.parametrize(
    ("wrong", "cure"),
    [("access_key", "storageAccessKeyID is not known"), ("secret_key", "storageSecretAccessKey")],
)
def test_wrong_keys_are_denied_and_not_shown(
    opened: Open, settings: dict[str, Any], kind: str, wrong: str, cure: str
) -> None:
    storage = opened(kind, **settings | {wrong: Secret("wrong-canary-value")})

    with pytest.raises(AccessDenied, match=cure) as caught:
        storage.put("k", b"x")
    assert "canary" not in f"{caught.value}{caught.value.__cause__}"
    with pytest.raises(AccessDenied, match="s3:GetObject"):
        storage.stat("k")  # an answer without a body: only the status is known


def test_a_missing_bucket_is_named(opened: Open, kind: str, settings: dict[str, Any]) -> None:
    storage = opened(kind, **settings | {"bucket": "no-such-bucket"})

    for call in (
        lambda: storage.stat("k"),
        lambda: list(storage.list("")),
        lambda: list(storage.open_stream("k")),
        lambda: storage.put("k", b"x"),
        lambda: storage.create_upload("k").put_part(1, b"x"),
    ):
        with pytest.raises(ObjectNotFound, match="bucket 'no-such-bucket'"):
            call()


@pytest.mark.parametrize("kind", ["s3", "minio"])
def test_tls_with_the_right_authority_works(
    opened: Open, minio_tls_server: MinioServer, authority: Authority, kind: str
) -> None:
    storage = opened(kind, **_tls_settings(minio_tls_server), ca_pem=authority.certificate_pem)
    data = payload(PART_BYTES + 1)

    one = storage.create_upload("k")
    one.put_part(1, data[:PART_BYTES])
    one.put_part(2, data[PART_BYTES:])
    one.complete()

    assert b"".join(storage.open_stream("k")) == data
    storage.delete(["k"])


@pytest.mark.parametrize("kind", ["s3", "minio"])
@pytest.mark.parametrize("trust", ["another authority", "the system's"])
def test_tls_with_another_authority_names_the_field(
    opened: Open, minio_tls_server: MinioServer, kind: str, trust: str
) -> None:
    ca_pem = Authority("another").certificate_pem if trust == "another authority" else ""
    storage = opened(kind, **_tls_settings(minio_tls_server), ca_pem=ca_pem)

    for call in _every_call(storage):
        with pytest.raises(InvalidSpec, match=r"not trusted .*caBundle"):
            call()


@pytest.mark.parametrize("kind", ["s3", "minio"])
def test_tls_unverified_works_when_asked_for(
    opened: Open, minio_tls_server: MinioServer, kind: str
) -> None:
    storage = opened(kind, **_tls_settings(minio_tls_server), verify=False)

    assert storage.put("k", b"x").size_bytes == 1


def test_plain_http_to_a_tls_port_names_the_field(
    opened: Open, minio_tls_server: MinioServer
) -> None:
    storage = opened("minio", **_tls_settings(minio_tls_server) | {"secure": False})

    with pytest.raises(InvalidSpec, match="storageUseSSL: true"):
        list(storage.list(""))


@pytest.mark.parametrize("kind", ["s3", "minio"])
def test_tls_to_a_plain_port_names_the_field(
    opened: Open, settings: dict[str, Any], kind: str
) -> None:
    storage = opened(kind, **settings | {"secure": True})

    with pytest.raises(InvalidSpec, match="storageUseSSL: false"):
        storage.stat("k")


def _tls_settings(server: MinioServer) -> dict[str, Any]:
    return {
        "bucket": server.new_bucket(),
        "endpoint": server.endpoint,
        "secure": True,
        **_keys(server),
    }
