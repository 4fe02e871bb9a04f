"""The processes that a world's commands started, found by a mark in their environment."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from attrs import frozen

_INTERPRETER = re.compile(r"(ba|da)?sh|python[\d.]*")


@frozen
class Process:
    """One process at the moment it was looked at."""

    pid: int
    argv: Sequence[str]

    @property
    def words(self) -> str:
        return " ".join(self.argv)

    @property
    def program(self) -> str:
        """What runs: a program's or a script's file name, or a module's name.

        A stand-in for a tool is a shell script, which the kernel runs as
        `/bin/sh <script> ...`. Until a tool has been executed its path may
        stand further back, as another program's argument; that does not count.
        """
        name, *arguments = self.argv
        name = Path(name).name
        if _INTERPRETER.fullmatch(name) and arguments:
            if arguments[0] == "-m":
                return arguments[1]
            if not arguments[0].startswith("-"):
                return Path(arguments[0]).name
        return name


def marked(mark: str) -> Iterator[Process]:
    """Those that have `NAME=value` in their environment; zombies have none."""
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it ended meanwhile, or is another user's
            if mark.encode() not in (entry / "environ").read_bytes().split(b"\0"):
                continue
            argv = (entry / "cmdline").read_bytes().decode("latin-1").split("\0")[:-1]
            if argv:
                yield Process(int(entry.name), argv)
