"""docs/benchmarks.md: each benchmark writes its own section and leaves the others."""

from __future__ import annotations

import re
from pathlib import Path

REPORT = Path(__file__).parents[2] / "docs" / "benchmarks.md"
_TITLE = "# Benchmarks\n"


def with_section(document: str, heading: str, text: str) -> str:
    """The document with the section `heading` replaced, or added at its end."""
    parts = re.split(r"^(?=## )", document or _TITLE, flags=re.MULTILINE)
    section = f"## {heading}\n\n{text.strip()}\n"
    places = [number for number, part in enumerate(parts) if part.startswith(f"## {heading}\n")]
    if places:
        parts[places[0]] = section
    else:
        parts.append(section)
    return "\n".join(part.strip() + "\n" for part in parts)


def write_section(heading: str, text: str) -> None:
    document = REPORT.read_text() if REPORT.exists() else ""
    REPORT.write_text(with_section(document, heading, text))
