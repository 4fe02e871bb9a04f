"""Requests as they go out, and what comes of the answers."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson
import pytest

from controller.api.errors import (
    ApiExpired,
    ApiThrottled,
    ApiUnavailable,
    FormatError,
)
from controller.kube.client import Client, ListerWatcher, Selection
from controller.kube.endpoint import Endpoint
from controller.kube.events import Event
from controller.kube.resource import DEPLOYMENTS, LEASES, SECRETS, Resource
from controller.kube.transport import Options
from controller.throttle import Limit
from tests.fakes.scripted_http import Script, ScriptedHttp, Seen, Wire
from tests.unit.kube.wire import OBJECT, a_client, says

GONE = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}


def _page(*names: str, token: str = "", version: str = "5") -> Script:
    metadata = {"resourceVersion": version, "continue": token}
    items = [{"metadata": {"name": name}} for name in names]
    return says(200, {"metadata": metadata, "items": items})


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
    with ScriptedHttp(says(200, OBJECT)) as server, a_client(server) as client:
        VERBS[verb](client)

    (seen,) = server.seen
    assert SENT[verb] == (seen.method, seen.target, seen.headers.get("Content-Type"))
    assert seen.headers["Accept"] == "application/json"
    assert seen.headers["User-Agent"].startswith("db-backup-controller/")


class _NotNowError(Exception):
    pass


def _refuse() -> None:
    raise _NotNowError


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb != "get"])
def test_a_guarded_client_sends_no_write_that_it_must_not(verb: str) -> None:
    with ScriptedHttp(*[says(200, OBJECT)] * 2) as server, a_client(server) as client:
        guarded = client.guarded(_refuse)
        VERBS["get"](guarded)

        with pytest.raises(_NotNowError):
            VERBS[verb](guarded)
        VERBS[verb](client)

    assert [seen.method for seen in server.seen] == ["GET", SENT[verb][0]]


def test_a_write_is_asked_for_when_its_turn_has_come() -> None:
    asked_mono: list[float] = []
    options = Options(limit=Limit(qps=2, burst=1))
    with ScriptedHttp(*[says(200, OBJECT)] * 2) as server, a_client(server, options) as client:
        guarded = client.guarded(lambda: asked_mono.append(time.monotonic()))
        begun_mono = time.monotonic()
        VERBS["get"](guarded)

        VERBS["apply"](guarded)

    (asked,) = asked_mono
    assert asked - begun_mono > 0.49


def test_a_delete_carries_its_preconditions() -> None:
    with ScriptedHttp(says(200, {})) as server, a_client(server) as client:
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
        ScriptedHttp(says(200)) as server,
        Client(Endpoint(server=f"{server.url}/clusters/7/")) as client,
    ):
        client.get(SECRETS, "a", namespace="b")

    assert server.seen[0].target == "/clusters/7/api/v1/namespaces/b/secrets/a"


def test_a_list_follows_its_pages_and_names_the_kind_of_items() -> None:
    scripts = (_page("a", "b", token="one"), _page("c", token="two"), _page(version="5"))
    with ScriptedHttp(*scripts) as server, a_client(server) as client:
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
    scripts = (_page("old", token="one"), says(410, GONE), _page("a", "b", version="9"))
    with ScriptedHttp(*scripts) as server, a_client(server) as client:
        listing = client.list(SECRETS)

    assert [item["metadata"]["name"] for item in listing.items] == ["a", "b"]
    assert listing.resource_version == "9"
    assert _query(server.seen[2]) == {}


def test_a_list_that_always_expires_ends() -> None:
    with (
        ScriptedHttp(says(410, GONE), says(410, GONE)) as server,
        a_client(server) as client,
        pytest.raises(ApiExpired),
    ):
        client.list(SECRETS)

    assert len(server.seen) == 2


@pytest.mark.parametrize("items", [None, []])
def test_an_empty_list_may_be_null(items: Any) -> None:
    body = {"metadata": {"resourceVersion": "3"}, "items": items}
    with ScriptedHttp(says(200, body)) as server, a_client(server) as client:
        listing = ListerWatcher(client, SECRETS).list()

    assert not list(listing.items)
    assert listing.resource_version == "3"


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", {}, {"metadata": {}, "items": {}}])
def test_an_answer_that_is_no_list_is_said_to_be_none(body: Any) -> None:
    with (
        ScriptedHttp(says(200, body)) as server,
        a_client(server) as client,
        pytest.raises(FormatError, match="list secrets"),
    ):
        client.list(SECRETS)


def test_throttling_is_passed_on_at_once_with_its_delay() -> None:
    script = says(429, {"kind": "Status", "message": "slow down"}, Retry_After="4")
    with (
        ScriptedHttp(script) as server,
        a_client(server) as client,
        pytest.raises(ApiThrottled, match="slow down") as raised,
    ):
        client.get(SECRETS, "a", namespace="b")

    assert raised.value.retry_after_s == 4
    assert len(server.seen) == 1


def test_requests_are_observed_with_verb_and_code() -> None:
    seen: list[tuple[str, Resource, int]] = []
    options = Options(
        read_timeout_s=0.3, observe=lambda verb, what, code, _s: seen.append((verb, what, code))
    )
    with (
        ScriptedHttp(says(200), says(404), Wire.stall) as server,
        a_client(server, options) as client,
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
    with ScriptedHttp(says(200, OBJECT)) as server:
        client = a_client(server, options)
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
    with ScriptedHttp(*[says(200, OBJECT)] * 200) as server:
        yield server


def test_many_threads_share_a_client(many_answers: ScriptedHttp) -> None:
    options = Options(connections=4)
    answers: list[Any] = []
    with a_client(many_answers, options) as client:

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
