"""docs/exit-codes.md says what the errors say."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import controller
import engines
import runner
from controller.api.errors import BackupError

TEXT = (Path(__file__).parents[3] / "docs" / "exit-codes.md").read_text()
#: Carries the runner's own reason and code.
_NOT_ITS_OWN = {"Refused"}


def _classes() -> set[type[BackupError]]:
    for package in (controller, engines, runner):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)

    def below(kind: type[BackupError]) -> Iterator[type[BackupError]]:
        yield kind
        for sub in kind.__subclasses__():
            yield from below(sub)

    return {
        kind
        for kind in below(BackupError)
        if kind.__module__.split(".")[0] in {"controller", "engines", "runner"}
        and "reason" in vars(kind)  # else it is told as its parent
        and kind.__name__ not in _NOT_ITS_OWN
    }


def _rows() -> list[tuple[int, str, str]]:
    found = re.findall(r"^\| (\d+) \| `(\w+)` \| (.+) \|$", TEXT, re.MULTILINE)
    return [(int(code), reason, meaning) for code, reason, meaning in found]


def test_the_table_is_that_of_the_classes() -> None:
    said = {
        (kind.exit_code, kind.reason, (kind.__doc__ or "").splitlines()[0]) for kind in _classes()
    }

    assert set(_rows()) == said
    assert len(_rows()) == len(said)


def test_the_table_is_in_order() -> None:
    codes = [code for code, _, _ in _rows()]

    assert codes == sorted(codes)


def test_every_code_is_explained_in_short() -> None:
    short = set(map(int, re.findall(r"^\| (\d+) \| [^`]", TEXT, re.MULTILINE)))

    assert {code for code, _, _ in _rows()} <= short
    assert {0, 141} <= short


@pytest.mark.parametrize("kind", sorted(_classes(), key=lambda kind: kind.__name__))
def test_a_reason_is_one_word_in_pascal_case(kind: type[BackupError]) -> None:
    assert re.fullmatch(r"([A-Z][a-z0-9]*)+", kind.reason)
    assert 0 < kind.exit_code < 256


def test_reasons_are_unique() -> None:
    reasons = [kind.reason for kind in _classes()]

    assert len(set(reasons)) == len(reasons)
