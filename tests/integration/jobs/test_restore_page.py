"""The commands of docs/restore.md, as they stand there, and what the page says that they print.

What the page says of another machine and of standard tools alone is run by test_by_hand.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from psycopg.sql import SQL, Identifier

from tests.integration.jobs.conftest import MakeWorld
from tests.integration.jobs.world import World

PAGE = Path(__file__).parents[3] / "docs" / "restore.md"
_VERBS = ("runner", "restore", "backup-now")
#: Times of the page; each stands for one after the newest backup.
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
#: Which of these lines come is a matter of how long each step takes.
_PROGRESS = {"definitions", "data", "indexes and constraints", "analyze"}
_BLOCK = re.compile(r"^```\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def commands(heading: str) -> Iterator[tuple[list[str], list[str]]]:
    """The commands of one chapter, and the lines that the page shows after each."""
    chapter = PAGE.read_text().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    for block in _BLOCK.findall(chapter):
        argv: list[str] = []
        shown: list[str] = []
        for line in block.splitlines():
            words = line.removeprefix("$ ")
            if not words.startswith(_VERBS) or (argv and not line.startswith("$ ") and shown):
                shown.append(line)
                continue
            if argv:
                yield argv, shown
            argv, shown = shlex.split(words, comments=True), []
        if argv:
            yield argv, shown


def run(world: World, argv: list[str]) -> str:
    now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    program, *arguments = [_TIME.sub(now, word) for word in argv]
    return world.cli(*arguments, program=program).must(0).out


def labels(line: str) -> list[str]:
    """The words of a line that are the same each time: of a table's head all, else the first."""
    cells = re.split(r" {2,}", line.strip())
    if line.isupper() and not any(map(str.isdigit, line)):
        return cells
    found = re.match(r"[A-Za-z ]+", cells[0])
    return [found[0].strip()] if found else []


def drop(world: World) -> None:
    with world.server.connect() as connection:
        name = Identifier(world.database)
        connection.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(name))


def test_every_command_of_the_page_works_in_its_order(make_world: MakeWorld) -> None:
    world = make_world("folder", "s3")
    world.back_up()
    look = f"{world.database}_look"

    def told(heading: str) -> Iterator[tuple[list[str], list[str], str]]:
        for argv, shown in commands(heading):
            words = [word.replace("shop_look", look) for word in argv]
            yield words, shown, run(world, words)

    with world.runner():
        drop(world)  # the bad day
        short = [argv for argv, _, _ in told("In short")]
        assert [argv[0] for argv in short] == ["runner", "restore", "restore", "restore"]
        assert short[-1][-1] == look
        shown = [one for heading in ("2. Choose", "3. Look", "4. Restore") for one in told(heading)]

    assert [argv[:2] for argv, _, _ in shown] == [
        ["runner", "list"],
        ["restore", "--at"],
        ["restore", "--at"],
    ]
    assert "--dry-run" in shown[1][0]
    assert {"--replace", "--yes"} <= set(shown[2][0])
    for argv, lines, out in shown:
        missing = [
            label
            for line in lines
            for label in labels(line)
            if label not in out and label not in _PROGRESS
        ]
        assert missing == [], f"{shlex.join(argv)}\n{out}"
