"""Amounts as the API server writes them: what is built is then what it stores."""

from __future__ import annotations

import math
import re
from fractions import Fraction

_DECIMAL = ("m", "", "k", "M", "G", "T", "P")
_BINARY = ("", "Ki", "Mi", "Gi", "Ti", "Pi")
_FORM = re.compile(r"([0-9.]+)([A-Za-z]*)")


def canonical(text: str) -> str:
    """Write a quantity in Kubernetes' canonical form: ``1000m`` is ``1``, ``1024Mi`` is ``1Gi``.

    No fraction, the largest unit that allows for that, and binary units only
    where they were given; a thousandth is the least and is rounded up to.
    """
    number = amount(text)
    if text.endswith("i") and number.denominator == 1 and number >= 1024:
        return _in_largest(int(number), 1024, _BINARY)
    return _in_largest(math.ceil(number * 1000), 1000, _DECIMAL)


def amount(text: str) -> Fraction:
    """Read a quantity; raises ValueError."""
    found = _FORM.fullmatch(text)
    if found is None:
        raise ValueError(f"not a quantity: {text!r}")
    number, unit = Fraction(found[1]), found[2]
    if unit.endswith("i"):
        return number * int(1024 ** _BINARY.index(unit))
    # The first unit is a thousandth.
    return number * int(1000 ** _DECIMAL.index(unit)) / 1000


def _in_largest(count: int, step: int, units: tuple[str, ...]) -> str:
    if count == 0:
        return "0"
    power = 0
    while power + 1 < len(units) and count % step == 0:
        count //= step
        power += 1
    return f"{count}{units[power]}"
