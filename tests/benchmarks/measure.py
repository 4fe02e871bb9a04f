"""Ratios of interleaved rounds: A B A B ..., so that a drifting machine hits both."""

from __future__ import annotations

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
    """Run every subject once per round, after one round that does not count."""
    times: dict[str, list[Seconds]] = {name: [] for name in subjects}
    for number in range(rounds + 1):
        for name, run in subjects.items():
            seconds = run()
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
