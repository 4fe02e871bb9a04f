"""runner.pipeline.pipe: bounds, ends and causes."""

import threading

import pytest

from runner.pipeline.pipe import Pipe


def test_items_come_out_in_order_and_then_the_end() -> None:
    pipe: Pipe[bytes] = Pipe(3)
    for item in (b"a", b"b", b"c"):
        pipe.put(item)
    pipe.close()

    assert [pipe.get() for _ in range(4)] == [b"a", b"b", b"c", None]


def test_put_into_a_full_pipe_times_out() -> None:
    pipe: Pipe[bytes] = Pipe(1)

    assert pipe.put(b"a", timeout_s=0)
    assert not pipe.put(b"b", timeout_s=0)


def test_put_waits_until_there_is_room() -> None:
    pipe: Pipe[bytes] = Pipe(1)
    pipe.put(b"a")
    taken = []
    consumer = threading.Thread(target=lambda: taken.extend([pipe.get(), pipe.get()]))
    consumer.start()

    assert pipe.put(b"b", timeout_s=10)
    consumer.join()
    assert taken == [b"a", b"b"]


def test_abort_fails_both_sides_with_its_cause_and_drops_the_items() -> None:
    pipe: Pipe[bytes] = Pipe(2)
    pipe.put(b"a")
    cause = RuntimeError("the dump died")

    pipe.abort(cause)

    for call in (lambda: pipe.put(b"b"), pipe.get):
        with pytest.raises(RuntimeError) as caught:
            call()
        assert cause is caught.value


def test_abort_wakes_a_waiting_consumer() -> None:
    pipe: Pipe[bytes] = Pipe(1)
    seen: list[BaseException] = []

    def consume() -> None:
        try:
            pipe.get()
        except RuntimeError as error:
            seen.append(error)

    consumer = threading.Thread(target=consume)
    consumer.start()
    pipe.abort(RuntimeError("stop"))
    consumer.join(10)

    assert [str(error) for error in seen] == ["stop"]


def test_an_abort_after_close_voids_what_is_still_queued() -> None:
    pipe: Pipe[bytes] = Pipe(2)
    pipe.put(b"a")
    pipe.close()

    pipe.abort(RuntimeError("too late to be whole"))

    with pytest.raises(RuntimeError):
        pipe.get()


def test_the_first_cause_stays() -> None:
    pipe: Pipe[bytes] = Pipe(1)
    pipe.abort(RuntimeError("first"))
    pipe.abort(RuntimeError("second"))

    with pytest.raises(RuntimeError, match="first"):
        pipe.get()
