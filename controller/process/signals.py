"""Signals, taken by a thread.

Python runs a signal's handler between any two steps of the main thread, amid
its own code and amid the handler of the signal before. A handler that sets an
Event may so wait for a lock that its own thread holds, and hang for good: the
kernel tells the orphan of a killed runner once per thread that the runner had.
A thread of its own may take every lock, and needs no main thread that is free.
"""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def signals_to(act: Callable[[int], None], *numbers: signal.Signals) -> Iterator[None]:
    """In the block each of these signals is given to `act`, one after the other.

    To be entered by the main thread. Signals of one number that come while the
    kernel has one to deliver are one, as always.

    Args:
        act: called by a thread with the signal's number; raises nothing.
        numbers: the signals; what was done with them before is done again
            after the block.
    """
    incoming, outgoing = socket.socketpair()
    outgoing.setblocking(False)
    taken = frozenset(numbers)
    thread = threading.Thread(target=_pass_on, args=(incoming, taken, act), name="signals")
    # What never leaves the block, such as sys.exit amid it, is not held up by it.
    thread.daemon = True
    # In this order, and back in the other one: no signal is taken that nobody is woken by.
    wakeup_before = signal.set_wakeup_fd(outgoing.fileno(), warn_on_full_buffer=False)
    before = {number: signal.signal(number, _wake_only) for number in numbers}
    thread.start()
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(wakeup_before)
        outgoing.close()
        thread.join()
        incoming.close()


def _wake_only(_number: int, _frame: object) -> None:
    """With any handler of Python's the number is written to the wakeup descriptor."""


def _pass_on(
    incoming: socket.socket, taken: frozenset[signal.Signals], act: Callable[[int], None]
) -> None:
    while numbers := incoming.recv(64):
        for number in numbers:
            # The descriptor gets those of other handlers, too.
            if number in taken:
                act(number)
