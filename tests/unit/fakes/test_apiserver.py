"""The fake API server keeps a real one's promises, seen through plain HTTP."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from typing import Any, Self

import pytest

from tests.fakes.apiserver import Answer, ApiServer, Verb, WireCut
from tests.fakes.clock import FakeClock
from tests.fakes.listwatch import FakeKind

THINGS = "/apis/example.com/v1/things"


@pytest.fixture
def kind() -> FakeKind:
    return FakeKind(FakeClock())


@pytest.fixture
def server(kind: FakeKind) -> Iterator[ApiServer]:
    with ApiServer({THINGS: kind}) as server:
        yield server


class Reply:
    """An open answer."""

    def __init__(self, server: ApiServer, target: str) -> None:
        self._connection = http.client.HTTPConnection(*server.address, timeout=5)
        self._connection.request("GET", target)
        self._response = self._connection.getresponse()
        self.status = self._response.status
        self.headers = self._response.headers

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._response.close()
        self._connection.close()

    def json(self) -> Any:
        return json.loads(self._response.read())

    def line(self) -> bytes:
        return self._response.readline()

    def event(self) -> tuple[str, str]:
        event = json.loads(self.line())
        return event["type"], event["object"]["metadata"].get("name", "")


def get(server: ApiServer, target: str) -> tuple[int, Any]:
    with Reply(server, target) as reply:
        return reply.status, reply.json()


def watch(server: ApiServer, version: str) -> Reply:
    return Reply(server, f"{THINGS}?watch=true&resourceVersion={version}")


def test_a_list_is_as_of_its_version_and_a_watch_goes_on_from_there(
    server: ApiServer, kind: FakeKind
) -> None:
    kind.put("a")
    _, listing = get(server, THINGS)
    version = listing["metadata"]["resourceVersion"]
    kind.put("a", size=2)
    kind.put("b")
    kind.delete("a")
    kind.bookmark()

    with watch(server, version) as stream:
        events = [stream.event() for _ in range(4)]

    assert [item["metadata"]["name"] for item in listing["items"]] == ["a"]
    assert events == [("MODIFIED", "a"), ("ADDED", "b"), ("DELETED", "a"), ("BOOKMARK", "")]


def test_a_watch_delivers_what_happens_while_it_is_open(server: ApiServer, kind: FakeKind) -> None:
    with watch(server, kind.version) as stream:
        assert kind.reading.wait(5)
        kind.put("new")

        assert stream.event() == ("ADDED", "new")


def test_pages_are_of_one_moment(server: ApiServer, kind: FakeKind) -> None:
    for name in "abcde":
        kind.put(name)
    names, versions, token = [], set(), ""

    while True:
        _, page = get(server, f"{THINGS}?limit=2&continue={token}")
        kind.put(f"late-{len(names)}")
        names += [item["metadata"]["name"] for item in page["items"]]
        versions.add(page["metadata"]["resourceVersion"])
        if not (token := page["metadata"].get("continue", "")):
            break

    assert names == list("abcde")
    assert len(versions) == 1


def test_a_page_whose_moment_is_gone_has_expired(server: ApiServer, kind: FakeKind) -> None:
    for name in "abc":
        kind.put(name)
    _, page = get(server, f"{THINGS}?limit=2")

    server.forget_pages()

    status, body = get(server, f"{THINGS}?limit=2&continue={page['metadata']['continue']}")
    assert (status, body["reason"]) == (410, "Expired")


def test_a_watch_from_before_a_compaction_is_told_so_in_the_stream(
    server: ApiServer, kind: FakeKind
) -> None:
    version = kind.version
    kind.compact()

    with watch(server, version) as stream:
        event = json.loads(stream.line())
        assert stream.line() == b""

    assert stream.status == 200
    assert (event["type"], event["object"]["code"]) == ("ERROR", 410)


@pytest.mark.parametrize("verb", ["list", "watch", "get"])
@pytest.mark.parametrize(("status", "reason"), [(409, "Conflict"), (500, "InternalError")])
def test_one_request_gets_the_scripted_answer(
    server: ApiServer, kind: FakeKind, verb: Verb, status: int, reason: str
) -> None:
    target = {
        "list": THINGS,
        "watch": f"{THINGS}?watch=1&resourceVersion={kind.version}",
        "get": "/apis/example.com/v1/namespaces/db/things/a",
    }[verb]
    kind.put("a")
    server.answer_next(verb, Answer(status=status, reason=reason))

    refused = get(server, target)

    assert (refused[0], refused[1]["reason"]) == (status, reason)
    with Reply(server, target) as reply:
        assert reply.status == 200
    assert server.seen == [verb, verb]


def test_a_throttled_request_is_told_for_how_long(server: ApiServer) -> None:
    server.answer_next("list", Answer(status=429, reason="TooManyRequests", retry_after_s=7))

    with Reply(server, THINGS) as reply:
        assert (reply.status, reply.headers["Retry-After"]) == (429, "7")


def test_an_object_is_read_by_its_path(server: ApiServer, kind: FakeKind) -> None:
    kind.put("a", size=3)
    kind.put("wide", namespace="")

    assert get(server, "/apis/example.com/v1/namespaces/db/things/a")[1]["size"] == 3
    assert get(server, f"{THINGS}/wide")[0] == 200
    assert get(server, "/apis/example.com/v1/namespaces/other/things/a")[0] == 404


def test_a_watch_may_end_early_and_in_order(server: ApiServer, kind: FakeKind) -> None:
    version = kind.version
    kind.put("a")
    kind.put("b")
    server.cut_watch(WireCut(after=1))

    with watch(server, version) as stream:
        assert stream.event() == ("ADDED", "a")
        assert stream.line() == b""


def test_a_watch_may_end_in_the_middle_of_a_line(server: ApiServer, kind: FakeKind) -> None:
    server.cut_watch(WireCut(how="half_line"))

    with watch(server, kind.version) as stream, pytest.raises(json.JSONDecodeError):
        stream.event()


def test_a_watch_may_send_what_is_no_json(server: ApiServer, kind: FakeKind) -> None:
    server.cut_watch(WireCut(how="malformed"))

    with watch(server, kind.version) as stream, pytest.raises(json.JSONDecodeError):
        stream.event()


def test_a_watch_may_lose_its_connection(server: ApiServer, kind: FakeKind) -> None:
    server.cut_watch(WireCut(how="reset"))

    with watch(server, kind.version) as stream, pytest.raises(http.client.IncompleteRead):
        stream.json()


def test_a_watch_may_fall_silent_whatever_happens(server: ApiServer, kind: FakeKind) -> None:
    server.cut_watch(WireCut(how="stall"))

    with watch(server, kind.version) as stream:
        stream._connection.sock.settimeout(0.05)
        kind.put("unheard")
        with pytest.raises(TimeoutError):
            stream.line()
