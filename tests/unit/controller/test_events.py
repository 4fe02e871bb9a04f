"""Events are sent once, in bounds, and never wait for the API server."""

from __future__ import annotations

import threading
from typing import Any

from controller.api.errors import ApiUnavailable
from controller.events import EventCounts, EventRecorder
from controller.kube.events import Event
from tests.fakes.clock import FakeClock


class Sink:
    """Takes events as an API server that can be out of reach."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.is_reachable = True
        self.has_answered = threading.Event()
        self.may_answer = threading.Event()
        self.may_answer.set()

    def create_event(self, event: Event) -> None:
        self.may_answer.wait(5)
        if not self.is_reachable:
            raise ApiUnavailable("cut off")
        self.events.append(event)
        self.has_answered.set()


def a_recorder(sink: Sink, clock: FakeClock) -> EventRecorder:
    return EventRecorder(sink, reporter="controller", instance="pod-1", clock=clock)


def an_object(uid: str = "1") -> dict[str, Any]:
    metadata = {"name": "shop", "namespace": "db", "uid": uid}
    return {"apiVersion": "backup.nect.com/v1", "kind": "DatabaseBackup", "metadata": metadata}


def send_all(recorder: EventRecorder) -> None:
    while recorder.send_next(timeout_s=0.0):
        pass


def test_an_event_says_what_about_what() -> None:
    sink, clock = Sink(), FakeClock()
    recorder = a_recorder(sink, clock)

    recorder.record(an_object(), "Warning", "InvalidSpec", "spec.a: wrong")
    send_all(recorder)

    (event,) = sink.events
    assert event.regarding["metadata"]["name"] == "shop"
    assert (event.type, event.reason, event.message) == ("Warning", "InvalidSpec", "spec.a: wrong")
    assert (event.reporter, event.instance, event.at) == ("controller", "pod-1", clock.now())


def test_the_same_is_told_once_in_a_while() -> None:
    sink, clock = Sink(), FakeClock()
    recorder = a_recorder(sink, clock)

    for _ in range(3):
        recorder.record(an_object(), "Warning", "InvalidSpec", "spec.a: wrong")
    recorder.record(an_object("2"), "Warning", "InvalidSpec", "spec.a: wrong")
    send_all(recorder)
    assert len(sink.events) == 2

    clock.advance(600)
    recorder.record(an_object(), "Warning", "InvalidSpec", "spec.a: wrong")
    send_all(recorder)

    assert len(sink.events) == 3
    assert recorder.counts() == EventCounts(sent=3, suppressed=2, failed=0)


def test_an_object_that_talks_too_much_is_cut_short_and_no_other() -> None:
    sink, clock = Sink(), FakeClock()
    recorder = a_recorder(sink, clock)

    for number in range(100):
        recorder.record(an_object(), "Normal", "Changed", str(number))
    recorder.record(an_object("2"), "Normal", "Changed", "other")
    send_all(recorder)
    assert len(sink.events) == 26

    clock.advance(300)
    recorder.record(an_object(), "Normal", "Changed", "later")
    send_all(recorder)

    assert sink.events[-1].message == "later"


def test_recording_does_not_wait_for_a_server_that_hangs() -> None:
    sink, clock = Sink(), FakeClock()
    sink.may_answer.clear()
    recorder, stop = a_recorder(sink, clock), threading.Event()
    thread = threading.Thread(target=recorder.run, args=[stop])
    thread.start()

    for number in range(1100):  # more than are kept
        recorder.record(an_object(str(number)), "Normal", "Changed", "x")
    failed = recorder.counts().failed
    sink.may_answer.set()
    stop.set()
    thread.join(10)

    assert 99 <= failed <= 100
    assert len(sink.events) == 1100 - failed


def test_what_cannot_be_sent_is_counted_and_dropped() -> None:
    sink, clock = Sink(), FakeClock()
    recorder = a_recorder(sink, clock)
    sink.is_reachable = False

    recorder.record(an_object(), "Normal", "Changed", "x")
    assert not recorder.send_next(timeout_s=0.0)
    sink.is_reachable = True
    recorder.record(an_object(), "Normal", "Changed", "y")
    send_all(recorder)

    assert [event.message for event in sink.events] == ["y"]
    assert recorder.counts() == EventCounts(sent=1, suppressed=0, failed=1)


def test_the_end_does_not_wait_for_a_server_that_is_gone() -> None:
    sink, clock, stop = Sink(), FakeClock(), threading.Event()
    sink.is_reachable = False
    recorder = a_recorder(sink, clock)
    for number in range(50):
        recorder.record(an_object(str(number)), "Normal", "Changed", "x")
    stop.set()

    recorder.run(stop)

    assert recorder.counts().failed == 1


def test_what_is_remembered_is_bounded() -> None:
    sink, clock = Sink(), FakeClock()
    recorder = a_recorder(sink, clock)

    for number in range(5000):
        recorder.record(an_object(str(number)), "Normal", "Changed", "x")

    assert len(recorder._told) == len(recorder._buckets) == 4096
