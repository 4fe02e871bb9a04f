"""How times, spans and sizes are said to people: one wording everywhere."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def time_text(moment: datetime) -> str:
    """``2026-11-23T02:26:17Z``, in UTC; fractions only where they are not zero."""
    utc = moment.astimezone(UTC)
    spec = "microseconds" if utc.microsecond else "seconds"
    return utc.isoformat(timespec=spec).replace("+00:00", "Z")


def age_text(span: timedelta) -> str:
    """``3 d 4 h``, ``5 min 12 s``: the two largest units."""
    seconds = max(0, int(span.total_seconds()))
    units = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))
    parts: list[str] = []
    for unit, size in units:
        count, seconds = divmod(seconds, size)
        if count or parts:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2]) or "0 s"


def count_text(count: int, noun: str) -> str:
    """``1 backup``, ``2 backups``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def bytes_text(count: float) -> str:
    """``1.4 GiB``."""
    for unit in _BINARY[:-1]:
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} {_BINARY[-1]}"


def printable(text: str) -> str:
    """A line from a bucket or a server, without what a terminal would obey."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
