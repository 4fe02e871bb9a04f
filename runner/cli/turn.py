"""One at a time also where no runner sees to it: commands take the runner's fence."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager

from controller.api.errors import BusyError
from runner.cli.context import CliContext, say
from runner.control import ControlClient
from runner.jobs.events import Event
from runner.ports import FileFence
from runner.rundir import fence_path

#: Between two lines of who waits, as the runner's control socket does it.
_WAIT_LINE_S = 5.0
_POLL_S = 0.5


def fence_for(context: CliContext, holder: str) -> FileFence:
    """The fence of this configuration's runner."""
    return FileFence(fence_path(context.config, context.environ), holder)


def take_turn(
    fence: FileFence, control: ControlClient, *, wait: bool
) -> Generator[Event, None, bool]:
    """Take the fence, with a line now and then while somebody else holds it.

    Returns: False if a runner listens meanwhile: then that one is to be asked.
    Raises: BusyError, which names the holder, instead of waiting.
    """
    due_mono = float("-inf")
    pause = threading.Event()
    while not fence.try_acquire():
        if control.is_answered():
            return False
        busy = f"{fence.holder()} is at work with this configuration"
        if not wait:
            raise BusyError(f"{busy}: try again when it has ended")
        if time.monotonic() >= due_mono:
            due_mono = time.monotonic() + _WAIT_LINE_S
            yield {"event": "waiting", "message": busy}
        pause.wait(_POLL_S)
    return True


@contextmanager
def acting(context: CliContext, holder: str, *, wait: bool) -> Iterator[None]:
    """Let nobody else act in the block, for what is no job.

    Where a runner listens it keeps the fence, and the block goes on: so it may
    only do what harms no job.

    Raises: BusyError.
    """
    fence, control = fence_for(context, holder), context.control()
    if not control.is_answered():
        for event in take_turn(fence, control, wait=wait):
            say(f"waiting: {event['message']}", err=True)
    try:
        yield
    finally:
        fence.release()
