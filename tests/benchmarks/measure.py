"""Ratios of interleaved rounds: A B, B A, ..., so that a drifting machine hits both."""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Mapping, Sequence

from attrs import frozen

Seconds = float


@frozen(kw_only=True)
class Row:
    """One line of the report.

    Args:
        ratio: median of the rounds' ratios; low, high: their extremes.
        target: as the requirement says it, empty where there is none.
    """

    what: str
    against: str
    ratio: float
    low: float
    high: float
    target: str = ""
    note: str = ""


def interleave(
    subjects: Mapping[str, Callable[[], Seconds]], rounds: int
) -> dict[str, list[Seconds]]:
    """Run every subject once per round, after one round that does not count.

    Each round begins with another one, and each with nothing left to be written: what one leaves
    behind is not always the same one's to wait for.
    """
    times: dict[str, list[Seconds]] = {name: [] for name in subjects}
    names = list(subjects)
    for number in range(rounds + 1):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            os.sync()
            seconds = subjects[name]()
            if number:
                times[name].append(seconds)
            print(f"  round {number or 'warm-up'}: {name}: {seconds:.2f} s", flush=True)
    return times


def ratio(
    what: str,
    against: str,
    times: Mapping[str, Sequence[Seconds]],
    *,
    target: str = "",
    note: str = "",
) -> Row:
    pairs = [a / b for a, b in zip(times[what], times[against], strict=True)]
    return Row(
        what=what,
        against=against,
        ratio=statistics.median(pairs),
        low=min(pairs),
        high=max(pairs),
        target=target,
        note=note or f"median {statistics.median(times[what]):.2f} s",
    )
