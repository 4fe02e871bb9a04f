"""A rule that crosses fields, said twice: in Python, and in CEL for the API server.

Both stand in one value, so that whoever changes one has the other before their
eyes, and a rule without a twin has to say why.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from attrs import frozen

from controller.api.errors import Problem

Check = Callable[[Any], Iterator[Problem]]


@frozen
class Cel:
    """One expression that has to be true, and what is said if it is not.

    Args:
        expression: over `self`, the value as it stands on the wire. The API
            server bounds its cost by the bounds of the fields that it reads.
        problem: its path is that of a field directly below `self`, or empty.
        says: an expression that makes the message, where it depends on the
            value; the problem's own is what is said should this one fail.
    """

    expression: str
    problem: Problem
    says: str = ""


@frozen
class Rule:
    """What no field alone can be blamed for.

    Args:
        check: takes the value of one type of controller.api and yields problems
            by paths below it. It may be given a stand-in that has only the
            fields which could be decoded; asking that for another one ends the
            rule (see codec), so a rule reads what it needs and says one thing.
        cel: the same for the API server.
        not_in_cel: why `cel` is empty.
    """

    check: Check
    cel: tuple[Cel, ...]
    not_in_cel: str = ""

    def __attrs_post_init__(self) -> None:
        if bool(self.cel) == bool(self.not_in_cel):
            raise TypeError(f"{self.name}: needs its twins in CEL or the reason why there are none")

    def __call__(self, value: Any) -> Iterator[Problem]:
        return self.check(value)

    @property
    def name(self) -> str:
        return str(getattr(self.check, "__name__", self.check))


def rule(*cel: Cel) -> Callable[[Check], Rule]:
    """Decorate a check that the API server makes too."""
    return lambda check: Rule(check, cel)


def only_here(reason: str) -> Callable[[Check], Rule]:
    """Decorate a check that cannot be said in CEL, or that the API server makes by itself."""
    return lambda check: Rule(check, (), reason)


def quoted(text: str) -> str:
    """Write a string literal; CEL's escapes are a superset of JSON's."""
    return json.dumps(text, ensure_ascii=False)


def re2(pattern: str, *, optional: bool = False) -> str:
    """Anchor a pattern that `re.fullmatch` takes, for the API server's search.

    Args:
        optional: the empty text matches, too.
    """
    return f"^(?:{pattern})?$" if optional else f"^(?:{pattern})$"


def text(name: str, of: str = "self") -> str:
    """Read a text that may be left out, as the codec has it: empty."""
    return f"(has({of}.{name}) ? {of}.{name} : '')"
