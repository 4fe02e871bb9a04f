"""docs/assets/retention.svg: a year of backups, and what the policy leaves of them.

The real policy decides after each backup, as the runner lets it, for the object
of docs/examples/database-backup.yaml: one backup a night for more than a year.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from xml.sax.saxutils import escape

from controller.api import codec, v1
from controller.process.documents import read_documents
from runner.retention.policy import Candidate, Policy, Verdict, decide, policy_of

_EXAMPLE = Path(__file__).parents[1] / "docs" / "examples" / "database-backup.yaml"
#: A Friday, so that no period ends with the picture.
_TODAY = date(2026, 11, 20)
_FIRST = date(2025, 11, 3)  # a Monday: the left column is a whole week
_HOUR_UTC = 2  # 03:00 in Berlin's winter
_CELL, _STEP = 12, 15
_LEFT, _TOP = 46, 74
_COLOURS: Mapping[str, str] = {"daily": "#1f6feb", "weekly": "#2da44e", "monthly": "#d4740b"}
_GONE = "#e6e9ed"
_STYLE = """\
text { font: 12px system-ui, "Segoe UI", "DejaVu Sans", sans-serif; fill: #4b5563; }
.head { font-size: 15px; font-weight: 600; fill: #1f2937; }
.count { font-weight: 600; fill: #1f2937; }"""


def picture() -> str:
    """Draw it."""
    spec = _example()
    kept = {
        date.fromisoformat(verdict.id): verdict for verdict in _after_every_night(policy_of(spec))
    }
    weeks = (_TODAY - _FIRST).days // 7 + 1
    width, height = _LEFT + weeks * _STEP + 16, _TOP + 7 * _STEP + 58
    nights = (_TODAY - _FIRST).days + 1
    head = f"{nights} nights, a backup each: {len(kept)} of them stay"
    lines = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"'
            f' width="{width}" height="{height}" role="img">'
        ),
        f"<title>{head}</title>",
        f"<style>\n{_STYLE}\n</style>",
        (
            f'<rect x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="8"'
            ' fill="#ffffff" stroke="#d0d7de"/>'
        ),
        f'<text class="head" x="16" y="28">{head}</text>',
        *_months(),
        *_weekdays(),
        *_cells(kept),
        *_legend(kept, y=_TOP + 7 * _STEP + 32),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _example() -> v1.DatabaseBackupSpec:
    (document,) = read_documents(_EXAMPLE.read_bytes())
    return codec.decode(v1.DatabaseBackup, document).spec


def _after_every_night(policy: Policy) -> tuple[Verdict, ...]:
    """Back up and prune, night by night; what dropped is not there the next night."""
    stored: dict[str, Candidate] = {}
    kept: tuple[Verdict, ...] = ()
    for day in _days():
        at = datetime(day.year, day.month, day.day, _HOUR_UTC, tzinfo=UTC)
        stored[day.isoformat()] = Candidate(id=day.isoformat(), started_at=at)
        kept = decide(stored.values(), policy, at + timedelta(minutes=5)).keep
        stored = {verdict.id: stored[verdict.id] for verdict in kept}
    return kept


def _days() -> Iterator[date]:
    for number in range((_TODAY - _FIRST).days + 1):
        yield _FIRST + timedelta(days=number)


def _rules(verdict: Verdict) -> list[str]:
    words = {reason.split()[0] for reason in verdict.reasons}
    return [rule for rule in _COLOURS if rule in words]


def _place(day: date) -> tuple[int, int]:
    week, weekday = divmod((day - _FIRST).days, 7)
    return _LEFT + week * _STEP, _TOP + weekday * _STEP


def _months() -> Iterator[str]:
    for day in _days():
        if day in {_FIRST, day.replace(day=1)}:
            x, _ = _place(day)
            year = f" {day.year}" if day.month == 1 else ""
            yield f'<text x="{x}" y="{_TOP - 10}">{day:%b}{year}</text>'


def _weekdays() -> Iterator[str]:
    for number, name in ((0, "Mon"), (3, "Thu"), (6, "Sun")):
        yield f'<text x="16" y="{_TOP + number * _STEP + 10}">{name}</text>'


def _cells(kept: Mapping[date, Verdict]) -> Iterator[str]:
    """One square a night, in as many bands as rules hold it."""
    for day in _days():
        x, y = _place(day)
        if day not in kept:
            yield _square(x, y, _CELL, _GONE)
            continue
        colours = [_COLOURS[rule] for rule in _rules(kept[day])]
        band = _CELL / len(colours)
        bands = (_square(x, y + n * band, band, colour) for n, colour in enumerate(colours))
        why = escape(", ".join(kept[day].reasons))
        yield f"<g><title>{day}: {why}</title>{''.join(bands)}</g>"


def _square(x: int, y: float, height: float, colour: str) -> str:
    return f'<rect x="{x}" y="{y:g}" width="{_CELL}" height="{height:g}" fill="{colour}"/>'


def _legend(kept: Mapping[date, Verdict], *, y: int) -> Iterator[str]:
    x = _LEFT
    for rule, colour in _COLOURS.items():
        count = sum(rule in _rules(verdict) for verdict in kept.values())
        yield _square(x, y - 10, _CELL, colour)
        yield f'<text x="{x + 18}" y="{y}"><tspan class="count">{count}</tspan> {rule}</text>'
        x += 105
    yield _square(x, y - 10, _CELL, _GONE)
    yield f'<text x="{x + 18}" y="{y}">gone</text>'
    yield f'<text x="{x + 80}" y="{y}">two or three colours: so many rules hold it</text>'
