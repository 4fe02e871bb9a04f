"""Lengths of time as people and the Go original write them.

Text is a sequence of number and unit as in Go (``8928h0m0s``, ``1h30m``,
``1.5h``) with two units more, ``d`` of 24 hours and ``w`` of 7 days. Integers
are nanoseconds, as Go puts a time.Duration into JSON; only `retentionConfig`
takes them. Both are cut to whole microseconds.
"""

from __future__ import annotations

import re
from datetime import timedelta
from fractions import Fraction
from typing import Annotated

from controller.api.errors import InvalidSpec

#: Units and what one of each is.
NANOSECONDS = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,
    "μs": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
    "d": 24 * 3600 * 10**9,
    "w": 7 * 24 * 3600 * 10**9,
}
_NUMBER = r"[0-9]{1,19}(?:\.[0-9]{0,9})?|\.[0-9]{1,9}"
_TERM = re.compile(rf"({_NUMBER})({'|'.join(NANOSECONDS)})")
#: What `parse_duration` takes, but for its range.
PATTERN = rf"0|(?:(?:{_NUMBER})(?:{'|'.join(NANOSECONDS)}))+"
MAX_LENGTH = 64
MAX_NANOSECONDS = 2**63 - 1  # an int64, about 292 years

#: A duration that manifests also give as an integer of nanoseconds.
HoldTime = Annotated[timedelta, "nanoseconds"]

EXPECTED = 'must be a duration such as "7d", "36h" or "1h30m"'
OUT_OF_RANGE = "must lie between 0 and 292 years"


def parse_duration(text: str) -> timedelta:
    """Read ``7d``, ``36h`` or ``8928h0m0s``; raises InvalidSpec."""
    if text == "0":
        return timedelta(0)
    total, position = Fraction(0), 0
    if len(text) > MAX_LENGTH:
        raise InvalidSpec(EXPECTED)
    while term := _TERM.match(text, position):
        total += Fraction(term[1]) * NANOSECONDS[term[2]]
        position = term.end()
    if not text or position != len(text):
        raise InvalidSpec(EXPECTED)
    return from_nanoseconds(int(total))


def from_nanoseconds(count: int) -> timedelta:
    """Read Go's integer form; raises InvalidSpec beyond 64 bits or below zero."""
    if not 0 <= count <= MAX_NANOSECONDS:
        raise InvalidSpec(OUT_OF_RANGE)
    return timedelta(microseconds=count // 1000)


def format_duration(duration: timedelta) -> str:
    """Write a duration so that Go reads it too: ``1h30m``, ``168h``, ``0s``."""
    microseconds = duration // timedelta(microseconds=1)
    parts = []
    for unit in ("h", "m", "s", "ms", "us"):
        count, microseconds = divmod(microseconds, NANOSECONDS[unit] // 1000)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"
