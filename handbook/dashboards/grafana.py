"""How Grafana writes a dashboard: panels in, its JSON model out.

What the dashboards show is beside this file. Everything that a person
may have bookmarked stays the same from release to release: a dashboard's uid,
and a panel's id, which comes from its title.
"""

from __future__ import annotations

import enum
import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from attrs import Factory, frozen

#: Of Grafana 10.4; newer ones migrate it as they load it.
_SCHEMA_VERSION = 39
_COLUMNS = 24
_ROW_HEIGHT = 1
#: The data source is whatever the person chooses above the dashboard.
_DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}


class Unit(enum.Enum):
    """How Grafana shows a number."""

    COUNT = "short"
    SECONDS = "s"
    BYTES = "bytes"
    BYTES_PER_SECOND = "Bps"
    PER_SECOND = "ops"
    MOMENT = "dateTimeFromNow"  # takes milliseconds
    RATIO = "none"
    YES_NO = "bool_yes_no"


@frozen(kw_only=True)
class Limits:
    """From which value on a number is yellow, and red; None: never. Rising, unless `is_low_bad`."""

    yellow: float | None = None
    red: float | None = None
    is_low_bad: bool = False

    def steps(self) -> list[dict[str, Any]]:
        if self.is_low_bad:
            return [{"color": "red", "value": None}, {"color": "green", "value": self.red}]
        found: list[dict[str, Any]] = [{"color": "green", "value": None}]
        if self.yellow is not None:
            found.append({"color": "yellow", "value": self.yellow})
        if self.red is not None:
            found.append({"color": "red", "value": self.red})
        return found


@frozen(kw_only=True)
class Query:
    """One PromQL expression.

    Args:
        name: the legend, in which {{label}} is filled in; of a table, the column's title.
        unit, limits: of a table's column; elsewhere the panel's count.
    """

    expr: str
    name: str = ""
    unit: Unit = Unit.COUNT
    limits: Limits | None = None


@frozen(kw_only=True)
class Panel:
    """One panel.

    Args:
        kind: one of Grafana's panel types.
        width, height: in columns of 24, and rows of 30 pixels.
        link: of a table, where a line's name leads.
        sort_by: of a table, the column whose largest value comes first.
    """

    title: str
    kind: str
    queries: Sequence[Query]
    width: int
    height: int
    unit: Unit = Unit.COUNT
    limits: Limits | None = None
    description: str = ""
    link: str = ""
    sort_by: str = ""

    @property
    def id(self) -> int:
        return zlib.crc32(self.title.encode()) % 1_000_000


def stat(title: str, expr: str, unit: Unit = Unit.COUNT, **fields: Any) -> Panel:
    """One large number."""
    given = {"width": 4, "height": 4} | fields
    return Panel(title=title, kind="stat", queries=(Query(expr=expr),), unit=unit, **given)


def graph(title: str, unit: Unit, *queries: Query, **fields: Any) -> Panel:
    """Numbers over time."""
    given = {"width": 12, "height": 8} | fields
    return Panel(title=title, kind="timeseries", queries=queries, unit=unit, **given)


def table(title: str, *columns: Query, **fields: Any) -> Panel:
    """A line for each set of labels, which all columns have in common."""
    given = {"width": _COLUMNS, "height": 10} | fields
    return Panel(title=title, kind="table", queries=columns, **given)


@frozen(kw_only=True)
class Row:
    """Panels below a heading, laid out from left to right."""

    title: str
    panels: Sequence[Panel]

    @property
    def id(self) -> int:
        return zlib.crc32(f"row {self.title}".encode()) % 1_000_000


@frozen(kw_only=True)
class Variable:
    """What a person chooses above the dashboard: a label's values.

    Args:
        query: as `label_values` of Grafana's Prometheus data source.
    """

    name: str
    query: str
    is_multiple: bool = False


@frozen(kw_only=True)
class Dashboard:
    """A dashboard, and the other ones that it links to."""

    uid: str
    title: str
    description: str
    variables: Sequence[Variable]
    rows: Sequence[Row]
    links: Mapping[str, str] = Factory(dict)

    def queries(self) -> Iterable[tuple[Panel, Query]]:
        for row in self.rows:
            for panel in row.panels:
                for query in panel.queries:
                    yield panel, query

    def to_json(self) -> str:
        return json.dumps(_dashboard(self), indent=2) + "\n"


def _dashboard(dashboard: Dashboard) -> dict[str, Any]:
    return {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "description": dashboard.description,
        "tags": ["db-backup-controller"],
        "schemaVersion": _SCHEMA_VERSION,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "1m",
        "time": {"from": "now-7d", "to": "now"},
        "timezone": "browser",
        "links": [
            {
                "title": title,
                "type": "link",
                "tags": [],
                "url": f"/d/{uid}?${{datasource:queryparam}}",
                "keepTime": True,
            }
            for title, uid in dashboard.links.items()
        ],
        "annotations": {"list": []},
        "templating": {"list": _variables(dashboard)},
        "panels": list(_panels(dashboard.rows)),
    }


def _variables(dashboard: Dashboard) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"}
    ]
    for variable in dashboard.variables:
        multiple: dict[str, Any] = {"multi": False, "includeAll": False}
        if variable.is_multiple:
            multiple = {
                "multi": True,
                "includeAll": True,
                "allValue": ".*",
                "current": {"text": "All", "value": "$__all"},
            }
        found.append(
            {
                "name": variable.name,
                "type": "query",
                "datasource": _DATASOURCE,
                "definition": variable.query,
                "query": {"query": variable.query, "refId": variable.name},
                "refresh": 2,  # whenever the time range changes: databases come and go
                "sort": 1,
                **multiple,
            }
        )
    return found


def _panels(rows: Iterable[Row]) -> Iterable[dict[str, Any]]:
    y = 0
    for row in rows:
        place = {"x": 0, "y": y, "w": _COLUMNS, "h": _ROW_HEIGHT}
        yield {
            "id": row.id,
            "type": "row",
            "title": row.title,
            "collapsed": False,
            "gridPos": place,
            "panels": [],
        }
        x, y, height = 0, y + _ROW_HEIGHT, 0
        for panel in row.panels:
            if x + panel.width > _COLUMNS:
                x, y, height = 0, y + height, 0
            place = {"x": x, "y": y, "w": panel.width, "h": panel.height}
            yield _panel(panel) | {"gridPos": place}
            x, height = x + panel.width, max(height, panel.height)
        y += height


def _panel(panel: Panel) -> dict[str, Any]:
    is_table = panel.kind == "table"
    return {
        "id": panel.id,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": _DATASOURCE,
        "targets": [_target(panel, number) for number in range(len(panel.queries))],
        "fieldConfig": {
            "defaults": {} if is_table else _field(panel.unit, panel.limits),
            "overrides": _columns(panel) if is_table else [],
        },
        **({"transformations": _transformations(panel)} if is_table else {}),
        "options": _OPTIONS[panel.kind] | _sorted_by(panel.sort_by),
    }


def _sorted_by(column: str) -> dict[str, Any]:
    return {"sortBy": [{"displayName": column, "desc": True}]} if column else {}


def _target(panel: Panel, number: int) -> dict[str, Any]:
    query = panel.queries[number]
    target: dict[str, Any] = {
        "refId": _ref(number),
        "datasource": _DATASOURCE,
        "expr": query.expr,
        "legendFormat": query.name or "__auto",
    }
    if panel.kind == "timeseries":
        return target | {"range": True}
    return target | {
        "instant": True,
        "format": "table" if panel.kind == "table" else "time_series",
    }


def _ref(number: int) -> str:
    return chr(ord("A") + number)


def _field(unit: Unit, limits: Limits | None) -> dict[str, Any]:
    steps = limits.steps() if limits else [{"color": "green", "value": None}]
    return {"unit": unit.value, "min": 0, "thresholds": {"mode": "absolute", "steps": steps}}


def _columns(panel: Panel) -> list[dict[str, Any]]:
    overrides: list[dict[str, Any]] = []
    for query in panel.queries:
        properties: list[dict[str, Any]] = [{"id": "unit", "value": query.unit.value}]
        if query.limits:
            steps = {"mode": "absolute", "steps": query.limits.steps()}
            cell = {"type": "color-background"}
            properties += [
                {"id": "thresholds", "value": steps},
                {"id": "custom.cellOptions", "value": cell},
            ]
        overrides.append(
            {"matcher": {"id": "byName", "options": query.name}, "properties": properties}
        )
    if panel.link:
        link = {"title": "Show this database", "url": panel.link}
        overrides.append(
            {
                "matcher": {"id": "byName", "options": "name"},
                "properties": [{"id": "links", "value": [link]}],
            }
        )
    return overrides


def _transformations(panel: Panel) -> list[dict[str, Any]]:
    """Join the columns by their labels, and give them their titles."""
    titles = {f"Value #{_ref(number)}": query.name for number, query in enumerate(panel.queries)}
    return [
        {"id": "merge", "options": {}},
        {"id": "organize", "options": {"excludeByName": {"Time": True}, "renameByName": titles}},
    ]


_OPTIONS: Mapping[str, dict[str, Any]] = {
    "stat": {
        "colorMode": "background",
        "graphMode": "none",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
    },
    "timeseries": {
        "legend": {"calcs": [], "displayMode": "list", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    },
    "table": {"showHeader": True, "cellHeight": "sm"},
}
