"""A watch stream delivers events, or says exactly what became of it."""

from __future__ import annotations

import itertools
import json
import ssl
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given, settings, strategies as st

from controller.api.errors import (
    ApiExpired,
    ApiThrottled,
    ApiUnavailable,
    BackupError,
    FormatError,
)
from controller.kube.client import Client, ListerWatcher, Selection
from controller.kube.endpoint import Endpoint
from controller.kube.resource import SECRETS
from controller.kube.transport import Options
from controller.kube.watch import WatchEvent
from tests.fakes.scripted_http import Script, ScriptedHttp, Wire
from tests.servers.tls import Authority

QUICK = Options(connect_timeout_s=2, read_timeout_s=5, watch_idle_s=0.3, line_bytes=1000)
PATIENT = Options(connect_timeout_s=2, read_timeout_s=5, watch_idle_s=60)


def _line(event: str, /, **body: Any) -> bytes:
    return json.dumps({"type": event, "object": body}).encode() + b"\n"


ADDED = _line("ADDED", metadata={"name": "a"})
BOOKMARK = _line("BOOKMARK", metadata={"resourceVersion": "9"})


def _stream(*chunks: bytes, then: Script = Wire.end_chunks) -> Script:
    def script(wire: Wire) -> None:
        wire.begin_chunks()
        for chunk in chunks:
            wire.chunk(chunk)
        then(wire)

    return script


def _watch(script: Script, options: Options = QUICK) -> tuple[list[WatchEvent], BackupError | None]:
    """All events of a stream, and what it ended with."""
    events: list[WatchEvent] = []
    with ScriptedHttp(script) as server, Client(Endpoint(server=server.url), options) as client:
        try:
            with client.watch(SECRETS, "5") as stream:
                events.extend(stream)
        except BackupError as error:
            return events, error
    return events, None


def test_events_come_in_order_and_the_end_is_quiet() -> None:
    events, error = _watch(_stream(ADDED, BOOKMARK, _line("DELETED", metadata={"name": "a"})))

    assert error is None
    assert [event.type for event in events] == ["ADDED", "BOOKMARK", "DELETED"]
    assert events[0].object == {"metadata": {"name": "a"}}


def test_a_watch_asks_for_bookmarks_and_an_end() -> None:
    with ScriptedHttp(_stream()) as server, Client(Endpoint(server=server.url)) as client:
        selection = Selection(namespace="shop", labels="x=y")
        with ListerWatcher(client, SECRETS, selection).watch("77") as stream:
            assert list(stream) == []

    target = urlsplit(server.seen[0].target)
    query = {key: values[0] for key, values in parse_qs(target.query).items()}
    assert target.path == "/api/v1/namespaces/shop/secrets"
    assert 300 <= int(query.pop("timeoutSeconds")) <= 600
    assert query == {
        "watch": "true",
        "allowWatchBookmarks": "true",
        "resourceVersion": "77",
        "labelSelector": "x=y",
    }


def test_an_event_is_delivered_before_the_next_one_comes() -> None:
    may_go_on = threading.Event()

    def script(wire: Wire) -> None:
        wire.begin_chunks()
        wire.chunk(ADDED)
        may_go_on.wait(5)
        wire.chunk(BOOKMARK)
        wire.end_chunks()

    with (
        ScriptedHttp(script) as server,
        Client(Endpoint(server=server.url), PATIENT) as client,
        client.watch(SECRETS, "5") as stream,
    ):
        events = iter(stream)
        assert next(events).type == "ADDED"
        may_go_on.set()
        assert [event.type for event in events] == ["BOOKMARK"]


@settings(max_examples=30, deadline=None)
@given(cuts=st.lists(st.integers(1, 200), max_size=8))
def test_events_do_not_depend_on_how_the_bytes_are_cut(cuts: list[int]) -> None:
    whole = ADDED + b"\n" + BOOKMARK + _line("MODIFIED", text="ü" * 40)
    edges = [0, *sorted({cut for cut in cuts if cut < len(whole)}), len(whole)]
    chunks = [whole[begin:end] for begin, end in itertools.pairwise(edges)]

    events, error = _watch(_stream(*chunks))

    assert error is None
    assert [event.type for event in events] == ["ADDED", "BOOKMARK", "MODIFIED"]
    assert events[2].object == {"text": "ü" * 40}


ENDS: dict[str, tuple[Script, type[BackupError], str]] = {
    "half a line, then the connection is closed": (
        _stream(ADDED, ADDED[:10], then=Wire.close),
        ApiUnavailable,
        "closed",
    ),
    "reset": (_stream(ADDED, then=Wire.reset), ApiUnavailable, "closed"),
    "closed in the middle of a chunk": (
        _stream(ADDED, then=lambda wire: (wire.send(b"ff\r\nxx"), wire.close())[0]),  # type: ignore[func-returns-value]
        ApiUnavailable,
        "closed",
    ),
    "silence after half a line": (
        _stream(ADDED, ADDED[:10], then=Wire.stall),
        ApiUnavailable,
        "time limit",
    ),
    "half a line, then an orderly end": (_stream(ADDED, ADDED[:10]), FormatError, "middle"),
    "not JSON": (_stream(ADDED, b'{"hunter2"\n'), FormatError, "not JSON"),
    "not an object": (_stream(ADDED, b"[]\n"), FormatError, "not an event"),
    "no object inside": (_stream(ADDED, b'{"type": "ADDED"}\n'), FormatError, "not an event"),
    "an unknown type": (_stream(ADDED, _line("RENAMED")), FormatError, "nobody knows"),
    "no type": (_stream(ADDED, b'{"object": {}}\n'), FormatError, "nobody knows"),
    "a line without an end": (
        _stream(ADDED, *[b"x" * 400] * 3, then=Wire.stall),
        FormatError,
        "longer than 1000",
    ),
    "expired": (
        _stream(ADDED, _line("ERROR", kind="Status", code=410, reason="Expired", message="old")),
        ApiExpired,
        "old",
    ),
    "throttled": (
        _stream(ADDED, _line("ERROR", code=429, details={"retryAfterSeconds": 2})),
        ApiThrottled,
        "429",
    ),
    "an error of the server": (
        _stream(ADDED, _line("ERROR", code=500, message="etcd")),
        ApiUnavailable,
        "etcd",
    ),
    "an error without a code": (_stream(ADDED, _line("ERROR")), ApiUnavailable, "answered 0"),
}


@pytest.mark.parametrize("end", ENDS)
def test_a_stream_that_ends_otherwise_says_how(end: str) -> None:
    script, kind, words = ENDS[end]

    events, error = _watch(script)

    assert [event.type for event in events] == ["ADDED"]
    assert kind is type(error)
    assert str(error).startswith("watch secrets: ")
    assert words in str(error)
    assert "hunter2" not in str(error)


def test_a_stream_that_falls_silent_is_given_up_quietly() -> None:
    begun = time.monotonic()

    events, error = _watch(_stream(ADDED, then=Wire.stall))

    assert [event.type for event in events] == ["ADDED"]
    assert error is None
    assert time.monotonic() - begun < 5


def test_a_long_line_with_an_end_is_bounded_too() -> None:
    events, error = _watch(_stream(_line("ADDED", text="x" * 5000), ADDED, then=Wire.stall))

    assert events == []
    assert isinstance(error, FormatError)


def test_a_watch_can_be_refused_before_it_begins() -> None:
    gone = {"kind": "Status", "code": 410, "message": "too old"}

    assert isinstance(_watch(lambda wire: wire.answer(410, gone))[1], ApiExpired)
    assert isinstance(_watch(lambda wire: wire.answer(429, b"", Retry_After="3"))[1], ApiThrottled)
    assert isinstance(_watch(lambda wire: wire.answer(503))[1], ApiUnavailable)


def test_headers_that_do_not_come_are_waited_for_less_than_events() -> None:
    options = Options(read_timeout_s=0.3, watch_idle_s=60)

    _, error = _watch(Wire.stall, options)

    assert isinstance(error, ApiUnavailable)


def test_silence_is_measured_from_the_last_byte() -> None:
    pause = threading.Event()

    def script(wire: Wire) -> None:
        wire.begin_chunks()
        for _ in range(6):
            pause.wait(0.1)
            wire.chunk(ADDED)
        wire.end_chunks()

    events, error = _watch(script)

    assert error is None
    assert len(events) == 6


@pytest.mark.parametrize("is_tls", [False, True])
@pytest.mark.parametrize("begun", [b"", ADDED[:10]])
def test_an_interrupted_reader_wakes_at_once_and_ends_quietly(
    tmp_path: Path, is_tls: bool, begun: bytes
) -> None:
    context, endpoint = _maybe_tls(tmp_path, is_tls=is_tls)
    script = _stream(ADDED, *([begun] if begun else []), then=Wire.stall)
    events: list[WatchEvent] = []
    failures: list[BaseException] = []
    got_first = threading.Event()

    with ScriptedHttp(script, tls=context) as server:
        client = Client(Endpoint(server=server.url, **endpoint), PATIENT)
        stream = client.watch(SECRETS, "5")

        def read() -> None:
            try:
                for event in stream:
                    events.append(event)
                    got_first.set()
            except BaseException as error:  # noqa: BLE001 - the test looks at it
                failures.append(error)

        thread = threading.Thread(target=read)
        thread.start()
        assert got_first.wait(5)
        begun_at = time.monotonic()
        stream.interrupt()
        thread.join(5)
        took_s = time.monotonic() - begun_at
        stream.close()
        client.close()

    assert not thread.is_alive()
    assert failures == []
    assert len(events) == 1
    assert took_s < 1


def test_interrupting_early_late_and_twice_does_no_harm() -> None:
    with (
        ScriptedHttp(_stream(ADDED), _stream(ADDED), _stream(ADDED)) as server,
        Client(Endpoint(server=server.url), PATIENT) as client,
    ):
        with client.watch(SECRETS, "5") as early:
            early.interrupt()
            early.interrupt()
            assert list(early) == []
        early.interrupt()
        with client.watch(SECRETS, "5") as late:
            assert len(list(late)) == 1
            late.interrupt()
        with client.watch(SECRETS, "5") as untouched:
            assert len(list(untouched)) == 1


def test_interrupt_and_close_race_without_harm() -> None:
    rounds = 40
    with (
        ScriptedHttp(*[_stream(ADDED, then=Wire.stall)] * rounds) as server,
        Client(Endpoint(server=server.url), PATIENT) as client,
    ):
        for _ in range(rounds):
            stream = client.watch(SECRETS, "5")
            thread = threading.Thread(target=stream.interrupt)
            with stream:
                for _event in stream:
                    thread.start()
            thread.join(5)


def _maybe_tls(folder: Path, *, is_tls: bool) -> tuple[ssl.SSLContext | None, dict[str, Any]]:
    if not is_tls:
        return None, {}
    authority = Authority()
    authority.issue_server().write(folder, certificate="crt", key="key")
    (folder / "ca").write_text(authority.certificate_pem)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "crt", folder / "key")
    return context, {"ca_file": folder / "ca"}
