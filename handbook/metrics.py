"""The table of the runner's metrics in docs/metrics.md, from the metrics themselves."""

from __future__ import annotations

from runner.metrics import METRICS

BEGIN, END = "<!-- runner's metrics: begin -->\n", "<!-- runner's metrics: end -->"


def page(text: str) -> str:
    """Put the table between the marks of the page, whose other text is by hand."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}{_table()}{END}{after}"


def _table() -> str:
    lines = ["| name | type | labels | meaning |", "|---|---|---|---|"]
    for metric in METRICS:
        labels = ", ".join(f"`{label}`" for label in metric.labels) or "-"
        lines.append(f"| `{metric.full_name}` | {metric.type.value} | {labels} | {metric.help} |")
    return "\n".join(lines) + "\n"
