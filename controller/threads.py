"""A process's threads: named, watched while it runs, and joined in reverse order at its end."""

from __future__ import annotations

import logging
import sys
import threading
import time
import traceback
from collections.abc import Callable

from controller.process.logging import kv

log = logging.getLogger(__name__)


class Threads:
    """Starts threads and ends with them.

    Threads: one starts and joins; `dead` is for any.
    """

    def __init__(self) -> None:
        # Appended to by one thread, and read as a copy.
        self._threads: list[threading.Thread] = []

    def start(self, name: str, run: Callable[[], object]) -> None:
        """Run until the end; what raises is logged, and the thread is dead then."""

        def top() -> None:
            try:
                run()
            except Exception:
                log.exception("thread failed", extra=kv(thread=name))

        thread = threading.Thread(target=top, name=name)
        self._threads.append(thread)
        thread.start()

    def dead(self) -> list[str]:
        """Name those that have ended."""
        return [thread.name for thread in tuple(self._threads) if not thread.is_alive()]

    def join(self, timeout_s: float) -> bool:
        """Wait for all together; one that is still there is logged with its stack.

        Returns: whether all have ended.
        """
        deadline = time.monotonic() + timeout_s
        all_ended = True
        for thread in reversed(self._threads):
            thread.join(max(0.0, deadline - time.monotonic()))
            if thread.is_alive():
                all_ended = False
                frame = sys._current_frames().get(thread.ident or 0)  # noqa: SLF001 - public in all but name
                stack = "".join(traceback.format_stack(frame)) if frame else ""
                log.error("thread does not end", extra=kv(thread=thread.name, stderr=stack))
        return all_ended
