"""docs/assets/demo.svg: what `make demo` prints of a backup, a loss and a restore.

Run by `make recording` when what the commands print has changed; each is
another one, so no test compares it.
"""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

PICTURE = Path(__file__).parents[1] / "docs" / "assets" / "demo.svg"
_COLUMNS = 96
_BEGIN, _END = "$ backup-now", "$ runner list"
#: Without the fonts that rich would have a browser load from elsewhere.
_SVG = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">
<title>A database is backed up to two places, dropped and restored</title>
<style>
.{unique_id}-matrix {{
  font-family: Menlo, Consolas, "DejaVu Sans Mono", monospace; font-size: {char_height}px;
}}
.{unique_id}-title {{
  font-family: Helvetica, Arial, "DejaVu Sans", sans-serif; font-size: 18px; font-weight: bold;
}}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/>
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">{matrix}</g>
</g>
</svg>
"""


def picture(printed: str) -> str:
    """Draw what the demo printed, from the backup to the restore, and what that proved."""
    console = Console(width=_COLUMNS, record=True, file=io.StringIO(), highlight=False)
    for line in _told(printed):
        console.print(Text(line, style=_style(line)), soft_wrap=False)
    return console.export_svg(title="make demo", theme=MONOKAI, code_format=_SVG, unique_id="demo")


def _told(printed: str) -> Iterator[str]:
    """The lines to show; a part that is not there is a ValueError."""
    begin, end = printed.index(f"\n{_BEGIN}\n"), printed.index(f"\n{_END}\n")
    yield from printed[begin:end].strip().splitlines()
    yield ""
    yield printed[printed.index("== Proven") :].strip()


def _style(line: str) -> str:
    if line.startswith("$ "):
        return "bold green"
    return "bold yellow" if line.startswith("== ") else ""


if __name__ == "__main__":
    done = subprocess.run(
        [sys.executable, "-m", "demo"], stdout=subprocess.PIPE, text=True, check=True
    )
    PICTURE.write_text(picture(done.stdout))
