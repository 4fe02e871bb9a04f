"""Signals reach what they are for, however many come and whatever the main thread does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

from controller.process.signals import signals_to

#: A process that never stops taking and giving back the lock of the Event.
_BUSY = """
import signal, threading
from controller.process.signals import signals_to
told = threading.Event()
signal.signal(signal.SIGTERM, signal.SIG_IGN)  # what is in force again after the block
with signals_to(lambda _: told.set(), signal.SIGTERM):
    print("ready", flush=True)
    while not told.wait(1e-6):
        pass
    for _ in range(20_000):
        told.set()
print("done", flush=True)
"""
_BURST = 2_000


def test_a_burst_of_signals_hangs_nobody() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _BUSY], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        for _ in range(_BURST):
            process.send_signal(signal.SIGTERM)
        try:
            assert process.wait(20) == 0
        finally:
            process.kill()
        assert process.stdout.read() == "done\n"


def test_a_signal_is_taken_while_the_main_thread_is_not_free() -> None:
    taken = threading.Event()
    busy = threading.Lock()

    def act(_: int) -> None:
        with busy:
            taken.set()

    with signals_to(act, signal.SIGUSR1):
        with busy:
            os.kill(os.getpid(), signal.SIGUSR1)
            time.sleep(0.05)
            assert not taken.is_set()
        assert taken.wait(10)


def test_only_the_named_signals_are_passed_on_and_the_former_handlers_come_back() -> None:
    said: list[str] = []
    arrived = threading.Event()

    def other(*_: object) -> None:
        said.append("other")

    def act(number: int) -> None:
        said.append(signal.Signals(number).name)
        arrived.set()

    before = {number: signal.signal(number, other) for number in (signal.SIGUSR1, signal.SIGUSR2)}
    try:
        with signals_to(act, signal.SIGUSR2):
            os.kill(os.getpid(), signal.SIGUSR1)
            os.kill(os.getpid(), signal.SIGUSR2)
            assert arrived.wait(10)
        os.kill(os.getpid(), signal.SIGUSR2)
        assert said == ["other", "SIGUSR2", "other"]
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
