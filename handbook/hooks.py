"""Hooks of the site's builder: pages and links outside of docs/.

The pages are written so that their links work where people read them, in the
repository. Three of them lie beside docs/, and some links lead to source, which
a site does not have.
"""

from __future__ import annotations

import re
from pathlib import Path
from posixpath import dirname, join, normpath, relpath
from typing import Any

from properdocs.structure.files import File

ROOT = Path(__file__).parents[1]
#: Page of the repository's top -> where the site has it.
TOP_PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
_LINK = re.compile(r"\[([^\]]*)\]\(([^)\s#:]+)(#[^)\s]*)?\)")


def on_files(files: Any, config: Any) -> Any:
    """Add the pages beside docs/: read, not copied."""
    for source, uri in TOP_PAGES.items():
        files.append(File.generated(config, uri, content=(ROOT / source).read_text()))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Make every link one of the site; what exists in the repository alone loses its link.

    What exists nowhere stays as it is, and the strict build names it.
    """
    uri = page.file.src_uri
    tops = {place: source for source, place in TOP_PAGES.items()}
    source = tops.get(uri) or f"docs/{uri}"
    return _LINK.sub(lambda link: _site_link(link, source, uri), markdown)


def _site_link(link: re.Match[str], source: str, uri: str) -> str:
    text, path, anchor = link[1], link[2], link[3] or ""
    target = normpath(join(dirname(source), path))
    if (ROOT / target / "README.md").exists():
        target = f"{target}/README.md"
    if target in TOP_PAGES:
        place = TOP_PAGES[target]
    elif target.startswith("docs/"):
        place = target.removeprefix("docs/")
    else:
        return text if (ROOT / target).exists() else link[0]
    return f"[{text}]({relpath(place, dirname(uri) or '.')}{anchor})"
