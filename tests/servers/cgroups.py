"""Groups of processes that a container runtime made, and that outlive it."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
_TIMEOUT_S = 10.0
_TICK_S = 0.05


def remove(name: str) -> None:
    """Remove a group of the uppermost level and all below it; none is there: fine.

    One can go when the kernel has let go of the processes in it, which is a
    moment after they ended.
    """
    deadline = time.monotonic() + _TIMEOUT_S
    while (left := list(_of(name))) and time.monotonic() < deadline:
        for group in left:
            for inner, _, _ in os.walk(group, topdown=False):
                with contextlib.suppress(OSError):
                    Path(inner).rmdir()
        if any(group.exists() for group in left):
            time.sleep(_TICK_S)


def _of(name: str) -> Iterator[Path]:
    """Of the first version there is one for each controller, of the second a single one."""
    for folder in (_ROOT, *_ROOT.glob("*")):
        if (folder / name).is_dir():
            yield folder / name
