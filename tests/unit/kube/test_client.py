"""Requests as they go out, and what a server can do to them."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson
import pytest

from controller.api.errors import (
    AccessDenied,
    ApiExpired,
    ApiRefused,
    ApiThrottled,
    ApiUnavailable,
    FormatError,
)
from controller.kube.client import Client, ListerWatcher, Selection
from controller.kube.endpoint import Endpoint, TokenFile
from controller.kube.events import Event
from controller.kube.resource import DEPLOYMENTS, LEASES, SECRETS, Resource
from controller.kube.throttle import Limit
from controller.kube.transport import Options
from tests.fakes.scripted_http import Script, ScriptedHttp, Seen, Wire
from tests.servers.tls import Authority

OBJECT = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "orders", "namespace": "shop", "resourceVersion": "7"},
}
QUICK = Options(connect_timeout_s=2, read_timeout_s=0.3, watch_idle_s=0.3)
GONE = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}


def _client(server: ScriptedHttp, options: Options = QUICK, **endpoint: Any) -> Client:
    return Client(Endpoint(server=server.url, **endpoint), options)


def _says(status: int, body: Any = None, **headers: str) -> Script:
    return lambda wire: wire.answer(status, {} if body is None else body, **headers)


def _page(*names: str, token: str = "", version: str = "5") -> Script:
    metadata = {"resourceVersion": version, "continue": token}
    items = [{"metadata": {"name": name}} for name in names]
    return _says(200, {"metadata": metadata, "items": items})


def _query(seen: Seen) -> dict[str, str]:
    return {key: values[0] for key, values in parse_qs(urlsplit(seen.target).query).items()}


VERBS = {
    "get": lambda client: client.get(DEPLOYMENTS, "orders", namespace="shop"),
    "create": lambda client: client.create(DEPLOYMENTS, OBJECT, is_strict=True),
    "replace": lambda client: client.replace(DEPLOYMENTS, OBJECT),
    "apply": lambda client: client.apply(DEPLOYMENTS, OBJECT, field_manager="m", force=True),
    "apply_status": lambda client: client.apply_status(DEPLOYMENTS, OBJECT, field_manager="m"),
    "patch": lambda client: client.patch(
        DEPLOYMENTS, "orders", {"metadata": {"labels": None}}, namespace="shop"
    ),
    "delete": lambda client: client.delete(
        DEPLOYMENTS, "orders", namespace="shop", uid="u", resource_version="7"
    ),
}
COLLECTION = "/apis/apps/v1/namespaces/shop/deployments"
SENT = {
    "get": ("GET", f"{COLLECTION}/orders", None),
    "create": ("POST", f"{COLLECTION}?fieldValidation=Strict", "application/json"),
    "replace": ("PUT", f"{COLLECTION}/orders", "application/json"),
    "apply": (
        "PATCH",
        f"{COLLECTION}/orders?fieldManager=m&force=true",
        "application/apply-patch+yaml",
    ),
    "apply_status": (
        "PATCH",
        f"{COLLECTION}/orders/status?fieldManager=m",
        "application/apply-patch+yaml",
    ),
    "patch": ("PATCH", f"{COLLECTION}/orders", "application/merge-patch+json"),
    "delete": ("DELETE", f"{COLLECTION}/orders", "application/json"),
}


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_is_one_request_of_the_right_form(verb: str) -> None:
    with ScriptedHttp(_says(200, OBJECT)) as server, _client(server) as client:
        VERBS[verb](client)

    (seen,) = server.seen
    assert SENT[verb] == (seen.method, seen.target, seen.headers.get("Content-Type"))
    assert seen.headers["Accept"] == "application/json"
    assert seen.headers["User-Agent"].startswith("db-backup-controller/")


def test_a_delete_carries_its_preconditions() -> None:
    with ScriptedHttp(_says(200, {})) as server, _client(server) as client:
        VERBS["delete"](client)

    assert orjson.loads(server.seen[0].body) == {
        "propagationPolicy": "Background",
        "preconditions": {"uid": "u", "resourceVersion": "7"},
    }


def test_a_replace_without_a_version_is_refused_here() -> None:
    raw = {"metadata": {"name": "a", "namespace": "b"}}

    with (
        Client(Endpoint(server="http://127.0.0.1:1")) as client,
        pytest.raises(ValueError, match="resourceVersion"),
    ):
        client.replace(LEASES, raw)


def test_a_path_before_the_api_is_kept() -> None:
    with (
        ScriptedHttp(_says(200)) as server,
        Client(Endpoint(server=f"{server.url}/clusters/7/")) as client,
    ):
        client.get(SECRETS, "a", namespace="b")

    assert server.seen[0].target == "/clusters/7/api/v1/namespaces/b/secrets/a"


def test_a_list_follows_its_pages_and_names_the_kind_of_items() -> None:
    scripts = (_page("a", "b", token="one"), _page("c", token="two"), _page(version="5"))
    with ScriptedHttp(*scripts) as server, _client(server) as client:
        listing = client.list(SECRETS, Selection(namespace="shop", labels="x=y", fields="z=1"))

    assert [item["metadata"]["name"] for item in listing.items] == ["a", "b", "c"]
    assert {(item["apiVersion"], item["kind"]) for item in listing.items} == {("v1", "Secret")}
    assert listing.resource_version == "5"
    common = {"labelSelector": "x=y", "fieldSelector": "z=1", "limit": "500"}
    assert [_query(seen) for seen in server.seen] == [
        common,
        common | {"continue": "one"},
        common | {"continue": "two"},
    ]


def test_a_list_that_expires_between_pages_starts_again_without_pages() -> None:
    scripts = (_page("old", token="one"), _says(410, GONE), _page("a", "b", version="9"))
    with ScriptedHttp(*scripts) as server, _client(server) as client:
        listing = client.list(SECRETS)

    assert [item["metadata"]["name"] for item in listing.items] == ["a", "b"]
    assert listing.resource_version == "9"
    assert _query(server.seen[2]) == {}


def test_a_list_that_always_expires_ends() -> None:
    with (
        ScriptedHttp(_says(410, GONE), _says(410, GONE)) as server,
        _client(server) as client,
        pytest.raises(ApiExpired),
    ):
        client.list(SECRETS)

    assert len(server.seen) == 2


@pytest.mark.parametrize("items", [None, []])
def test_an_empty_list_may_be_null(items: Any) -> None:
    body = {"metadata": {"resourceVersion": "3"}, "items": items}
    with ScriptedHttp(_says(200, body)) as server, _client(server) as client:
        listing = ListerWatcher(client, SECRETS).list()

    assert listing.items == ()
    assert listing.resource_version == "3"


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", {}, {"metadata": {}, "items": {}}])
def test_an_answer_that_is_no_list_is_said_to_be_none(body: Any) -> None:
    with (
        ScriptedHttp(_says(200, body)) as server,
        _client(server) as client,
        pytest.raises(FormatError, match="list secrets"),
    ):
        client.list(SECRETS)


def test_throttling_is_passed_on_at_once_with_its_delay() -> None:
    script = _says(429, {"kind": "Status", "message": "slow down"}, Retry_After="4")
    with (
        ScriptedHttp(script) as server,
        _client(server) as client,
        pytest.raises(ApiThrottled, match="slow down") as raised,
    ):
        client.get(SECRETS, "a", namespace="b")

    assert raised.value.retry_after_s == 4
    assert len(server.seen) == 1


def _slow_headers(wire: Wire) -> None:
    wire.send(b"HTTP/1.1 200 OK\r\nContent-")
    wire.stall()


def _half_a_body(wire: Wire) -> None:
    wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")


def _then_stall(script: Script) -> Script:
    def both(wire: Wire) -> None:
        script(wire)
        wire.stall()

    return both


def _then_reset(script: Script) -> Script:
    def both(wire: Wire) -> None:
        script(wire)
        wire.reset()

    return both


def _then_close(script: Script) -> Script:
    def both(wire: Wire) -> None:
        script(wire)
        wire.close()

    return both


FAULTS: dict[str, tuple[Script, str]] = {
    "no answer": (Wire.stall, "time limit"),
    "slow headers": (_slow_headers, "time limit"),
    "half a body and silence": (_then_stall(_half_a_body), "time limit"),
    "half a body and the end": (_then_close(_half_a_body), "before the answer was complete"),
    "half a body and reset": (_then_reset(_half_a_body), "before the answer was complete"),
    "reset": (Wire.reset, "before the answer was complete"),
    "closed": (Wire.close, "before the answer was complete"),
    "not HTTP": (_then_close(lambda wire: wire.send(b"SSH-2.0-x\r\n")), "before the answer"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_the_connection_is_an_unavailable_server(fault: str) -> None:
    script, words = FAULTS[fault]
    begun = time.monotonic()

    with ScriptedHttp(script) as server, _client(server) as client:
        with pytest.raises(ApiUnavailable, match=f"get secrets b/a: .*{words}"):
            client.get(SECRETS, "a", namespace="b")
        with pytest.raises(ApiUnavailable):  # and the next request stands on its own feet
            client.get(SECRETS, "a", namespace="b")

    assert time.monotonic() - begun < 5


def test_after_a_fault_the_next_request_gets_a_new_connection() -> None:
    with ScriptedHttp(Wire.reset, _says(200, OBJECT)) as server, _client(server) as client:
        with pytest.raises(ApiUnavailable):
            client.get(SECRETS, "a", namespace="b")

        assert client.get(SECRETS, "a", namespace="b") == OBJECT


def test_nobody_listens() -> None:
    with ScriptedHttp() as server:
        url = server.url

    with (
        Client(Endpoint(server=url), QUICK) as client,
        pytest.raises(ApiUnavailable, match="connection refused"),
    ):
        client.get(SECRETS, "a", namespace="b")


def test_a_redirect_is_not_followed() -> None:
    script = _says(302, b"", Location="http://127.0.0.1:1/")
    with (
        ScriptedHttp(script) as server,
        _client(server) as client,
        pytest.raises(ApiRefused, match="302"),
    ):
        client.get(SECRETS, "a", namespace="b")

    assert len(server.seen) == 1


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, Path]:
    """A server's context and the file of its authority."""
    authority, folder = Authority(), tmp_path_factory.mktemp("tls")
    authority.issue_server().write(folder, certificate="crt", key="key")
    (folder / "ca").write_text(authority.certificate_pem)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "crt", folder / "key")
    return context, folder / "ca"


def test_the_named_authority_is_trusted(tls: tuple[ssl.SSLContext, Path]) -> None:
    with (
        ScriptedHttp(_says(200, OBJECT), tls=tls[0]) as server,
        _client(server, ca_file=tls[1]) as client,
    ):
        assert client.get(SECRETS, "a", namespace="b") == OBJECT


def test_another_authority_is_not_trusted_and_the_cure_is_named(
    tls: tuple[ssl.SSLContext, Path], tmp_path: Path
) -> None:
    other = tmp_path / "ca"
    other.write_text(Authority("another").certificate_pem)

    with (
        ScriptedHttp(_says(200, OBJECT), tls=tls[0]) as server,
        _client(server, ca_file=other) as client,
        pytest.raises(ApiRefused, match=r"not trusted.*certificate-authority"),
    ):
        client.get(SECRETS, "a", namespace="b")

    assert server.seen == []


def test_the_name_in_the_certificate_is_checked(tls: tuple[ssl.SSLContext, Path]) -> None:
    with ScriptedHttp(_says(200, OBJECT), tls=tls[0]) as server:
        with (
            _client(server, ca_file=tls[1], tls_server_name="elsewhere") as client,
            pytest.raises(ApiRefused, match="elsewhere"),
        ):
            client.get(SECRETS, "a", namespace="b")
        with _client(server, ca_file=tls[1], tls_server_name="localhost") as client:
            assert client.get(SECRETS, "a", namespace="b") == OBJECT


def test_a_kubeconfig_may_switch_the_check_off(tls: tuple[ssl.SSLContext, Path]) -> None:
    with (
        ScriptedHttp(_says(200, OBJECT), tls=tls[0]) as server,
        _client(server, is_verified=False) as client,
    ):
        assert client.get(SECRETS, "a", namespace="b") == OBJECT


def test_a_silent_handshake_has_a_time_limit(tls: tuple[ssl.SSLContext, Path]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # the kernel accepts, nobody speaks
        url = f"https://127.0.0.1:{silent.getsockname()[1]}"
        options = Options(connect_timeout_s=0.3)
        with (
            Client(Endpoint(server=url, ca_file=tls[1]), options) as client,
            pytest.raises(ApiUnavailable, match="within the time limit"),
        ):
            client.get(SECRETS, "a", namespace="b")


def test_an_address_that_is_none_is_said_to_be_none() -> None:
    with pytest.raises(ApiRefused, match="no address"):
        Client(Endpoint(server="https://[::1"))


def test_a_token_that_was_replaced_is_tried_once_more(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("first")

    def refuse(wire: Wire) -> None:
        file.write_text("second")
        wire.answer(401)

    with (
        ScriptedHttp(refuse, _says(200, OBJECT)) as server,
        _client(server, credentials=TokenFile(file)) as client,
    ):
        assert client.get(SECRETS, "a", namespace="b") == OBJECT

    assert [seen.headers["Authorization"] for seen in server.seen] == [
        "Bearer first",
        "Bearer second",
    ]


def test_a_refused_token_that_is_still_the_same_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("hunter2")

    with (
        ScriptedHttp(_says(401), _says(200, OBJECT)) as server,
        _client(server, credentials=TokenFile(file)) as client,
        pytest.raises(AccessDenied, match="credentials") as raised,
    ):
        client.get(SECRETS, "a", namespace="b")

    assert len(server.seen) == 1
    assert "hunter2" not in str(raised.value)


def test_requests_are_observed_with_verb_and_code() -> None:
    seen: list[tuple[str, Resource, int]] = []
    options = Options(
        read_timeout_s=0.3, observe=lambda verb, what, code, _s: seen.append((verb, what, code))
    )
    with (
        ScriptedHttp(_says(200), _says(404), Wire.stall) as server,
        _client(server, options) as client,
    ):
        client.create(DEPLOYMENTS, OBJECT)
        for _ in range(2):
            with pytest.raises(Exception, match="orders"):
                client.apply(DEPLOYMENTS, OBJECT, field_manager="m")

    assert seen == [
        ("create", DEPLOYMENTS, 200),
        ("patch", DEPLOYMENTS, 404),
        ("patch", DEPLOYMENTS, 0),
    ]


def test_a_client_that_closes_ends_what_waits_for_its_turn() -> None:
    options = Options(limit=Limit(qps=0.001, burst=1))
    failures: list[Exception] = []
    with ScriptedHttp(_says(200, OBJECT)) as server:
        client = _client(server, options)
        client.get(SECRETS, "a", namespace="b")

        def wait_for_turn() -> None:
            try:
                client.get(SECRETS, "a", namespace="b")
            except ApiUnavailable as error:
                failures.append(error)

        thread = threading.Thread(target=wait_for_turn)
        thread.start()
        client.close()
        thread.join(5)

    assert ["this program is ending" in str(one) for one in failures] == [True]
    assert len(server.seen) == 1


@pytest.fixture
def many_answers() -> Iterator[ScriptedHttp]:
    with ScriptedHttp(*[_says(200, OBJECT)] * 200) as server:
        yield server


def test_many_threads_share_a_client(many_answers: ScriptedHttp) -> None:
    options = Options(connections=4)
    answers: list[Any] = []
    with _client(many_answers, options) as client:

        def ask() -> None:
            for _ in range(25):
                answers.append(client.get(SECRETS, "a", namespace="b"))  # noqa: PERF401 - one by one

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)

    assert answers == [OBJECT] * 200


def test_an_event_is_about_its_object_and_within_bounds() -> None:
    long_name = "x" * 250
    regarding = {"apiVersion": "apps/v1", "kind": "D", "metadata": {"name": long_name, "uid": "u"}}
    event = Event(
        regarding=regarding,
        type="Warning",
        reason="Because",
        message="m" * 2000,
        at=datetime(2026, 11, 23, 10, 0, 0, 999, tzinfo=UTC),
        reporter="db-backup-controller",
        instance="pod-1",
    )

    raw = event.to_raw()

    assert raw["metadata"]["namespace"] == "default"
    assert raw["involvedObject"] == {
        "apiVersion": "apps/v1",
        "kind": "D",
        "name": long_name,
        "uid": "u",
    }
    assert len(raw["metadata"]["name"]) <= 253
    assert len(raw["message"]) == 1024
    assert raw["firstTimestamp"] == "2026-11-23T10:00:00Z"
    assert raw["metadata"]["name"] != event.to_raw()["metadata"]["name"]
