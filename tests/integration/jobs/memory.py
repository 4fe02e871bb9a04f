"""A memory limit of the kernel's for one process, so that it really runs out."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from attrs import frozen

_ROOT = Path("/sys/fs/cgroup")


class NoMemoryLimit(Exception):
    """Memory cannot be limited here; the message says what is needed."""


@frozen
class MemoryLimit:
    """A control group of its own, version 1 or 2."""

    folder: Path

    def take_in(self, pid: int) -> None:
        """What the process asks for from now on counts; what it has does not."""
        (self.folder / "cgroup.procs").write_text(str(pid))

    def oom_kill_count(self) -> int:
        for name in ("memory.events", "memory.oom_control"):
            if (self.folder / name).exists():
                lines = (self.folder / name).read_text().splitlines()
                return int(dict(line.split() for line in lines)["oom_kill"])
        raise NoMemoryLimit("this kernel does not count what it kills for memory")


@contextlib.contextmanager
def memory_limit(size_bytes: int) -> Iterator[MemoryLimit]:
    """Raises: NoMemoryLimit"""
    is_v1 = (_ROOT / "memory").is_dir()
    folder = (_ROOT / "memory" if is_v1 else _ROOT) / f"db-backup-test-{secrets.token_hex(4)}"
    # Swap, which would take the place of memory, is limited after what it is limited with.
    names = (
        ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes")
        if is_v1
        else ("memory.max", "memory.swap.max")
    )
    try:
        folder.mkdir()
    except OSError as error:
        raise NoMemoryLimit(_needed(str(error))) from error
    try:
        if not (folder / names[0]).exists():
            raise NoMemoryLimit(_needed("the memory controller is off"))
        (folder / names[0]).write_text(str(size_bytes))
        if (folder / names[1]).exists():  # absent where the kernel does not count swap
            (folder / names[1]).write_text(str(size_bytes if is_v1 else 0))
        yield MemoryLimit(folder)
    finally:
        folder.rmdir()


def _needed(why: str) -> str:
    who = "" if os.geteuid() == 0 else "run the tests as root, "
    return f"a memory limit cannot be set ({why}): {who}where {_ROOT} can be written"
