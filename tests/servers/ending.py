"""The end of servers whose tests have no time to end them."""

from __future__ import annotations

import ctypes
import signal
import threading
from collections.abc import Callable

_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1


def with_parent() -> Callable[[], None] | None:
    """For `preexec_fn`: have the kernel kill a process when this one ends, however that ends.

    A run of tests that is interrupted, or killed, does not come to its fixtures' ends. What
    another thread than the main one starts is left alone: it would end with the thread.
    """
    return _die_with_parent if threading.current_thread() is threading.main_thread() else None


def _die_with_parent() -> None:
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
