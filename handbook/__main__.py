"""Write what is generated of docs/. Run by `make generate`."""

from __future__ import annotations

from pathlib import Path

from handbook import api, metrics, retention_picture

DOCS = Path(__file__).parents[1] / "docs"


def generated() -> dict[Path, str]:
    """Every generated file with its text."""
    metrics_page = DOCS / "metrics.md"
    return {
        DOCS / "reference" / "api.md": api.page(),
        DOCS / "assets" / "retention.svg": retention_picture.picture(),
        metrics_page: metrics.page(metrics_page.read_text()),
    }


if __name__ == "__main__":
    for path, text in generated().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
