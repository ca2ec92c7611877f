"""Panels of a Grafana dashboard, as values for its JSON; ``layout`` places them row by row.

For Grafana 9 to 11: https://grafana.com/docs/grafana/latest/dashboards/build-dashboards/view-dashboard-json-model/
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = (
    "DATA_SOURCE",
    "Column",
    "Panel",
    "layout",
    "mapped",
    "row",
    "stat",
    "state_timeline",
    "table",
    "time_series",
)

DATA_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
_WIDTH = 24  # of a dashboard, in Grafana's units

Panel = dict[str, Any]


class Column(NamedTuple):
    """A column of a table: an instant query, and how its values are shown."""

    title: str
    query: str
    unit: str = "none"
    mappings: tuple[Mapping[str, Any], ...] = ()


def mapped(texts: Mapping[int, tuple[str, str]]) -> tuple[Mapping[str, Any], ...]:
    """Shows values as a text in a colour, and NaN as nothing."""
    options = {
        str(value): {"text": text, "color": color, "index": index}
        for index, (value, (text, color)) in enumerate(texts.items())
    }
    return ({"type": "value", "options": options}, *_NO_NAN)


_NO_NAN: tuple[Mapping[str, Any], ...] = (
    {"type": "special", "options": {"match": "null+nan", "result": {"text": "", "index": 99}}},
)


def row(title: str) -> Panel:
    """A heading for the panels after it."""
    return {"type": "row", "title": title, "collapsed": False, "panels": [], "w": _WIDTH, "h": 1}


def stat(title: str, query: str, description: str, *, color: str = "red") -> Panel:
    """One number, shown in ``color`` where it is above 0."""
    calm = "green" if color == "red" else "text"
    steps: list[Mapping[str, Any]] = [{"color": calm, "value": None}, {"color": color, "value": 1}]
    defaults = {"unit": "none", "thresholds": {"mode": "absolute", "steps": steps}}
    options = {
        "colorMode": "value",
        "graphMode": "none",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
    }
    return _panel("stat", title, {"": query}, defaults, options, description, width=4, height=4)


def time_series(
    title: str,
    queries: Mapping[str, str],
    unit: str,
    description: str = "",
    *,
    stacked: bool = False,
) -> Panel:
    """Curves. ``queries`` by legend; for an empty legend Grafana shows the labels that differ."""
    custom: dict[str, Any] = {"lineInterpolation": "stepAfter", "spanNulls": 3_600_000}
    if stacked:
        custom |= {"stacking": {"mode": "normal", "group": "A"}, "fillOpacity": 40}
    defaults = {"unit": unit, "min": 0, "custom": custom}
    options = {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    return _panel("timeseries", title, queries, defaults, options, description, width=12, height=8)


def state_timeline(title: str, query: str, texts: Mapping[int, tuple[str, str]]) -> Panel:
    """A bar for each series, coloured by its value over time."""
    defaults = {
        "mappings": list(mapped(texts)),
        "custom": {"fillOpacity": 70, "lineWidth": 0, "spanNulls": 3_600_000},
    }
    options = {"mergeValues": True, "showValue": "never", "legend": {"showLegend": False}}
    return _panel("state-timeline", title, {"": query}, defaults, options, width=24, height=8)


def table(
    title: str, columns: Iterable[Column], description: str = "", *, sort_by: str = ""
) -> Panel:
    """A row for each group, with its labels and the columns.

    Grafana joins the columns by the labels that all of them have. So each column must have a value
    for every group, even if it is NaN, and no query may return a metric's name: do some arithmetic.
    """
    columns = tuple(columns)
    renamed = {f"Value #{ref}": c.title for ref, c in zip(_REFS, columns, strict=False)}
    overrides = [
        {
            "matcher": {"id": "byName", "options": column.title},
            "properties": [
                {"id": "unit", "value": column.unit},
                {"id": "mappings", "value": list(column.mappings or _NO_NAN)},
                *_color_of(column),
            ],
        }
        for column in columns
    ]
    panel = _panel(
        "table",
        title,
        {},
        {"custom": {"align": "auto", "filterable": True}},
        {"showHeader": True, "sortBy": [{"displayName": sort_by, "desc": False}] * bool(sort_by)},
        description,
        width=24,
        height=10,
    )
    panel["fieldConfig"]["overrides"] = overrides
    panel["targets"] = [
        _target(ref, column.query) | {"format": "table", "instant": True, "range": False}
        for ref, column in zip(_REFS, columns, strict=False)
    ]
    organized = {"excludeByName": {"Time": True}, "indexByName": {}, "renameByName": renamed}
    panel["transformations"] = [
        {"id": "merge", "options": {}},
        {"id": "organize", "options": organized},
    ]
    return panel


def layout(panels: Iterable[Panel]) -> list[Panel]:
    """The panels with ids and places: from left to right, in a new line where one is full."""
    placed: list[Panel] = []
    x = y = line = 0
    for number, panel in enumerate(panels, 1):
        rest = {key: value for key, value in panel.items() if key not in ("w", "h")}
        width, height = panel["w"], panel["h"]
        if x + width > _WIDTH:
            x, y, line = 0, y + line, 0
        place = {"x": x, "y": y, "w": width, "h": height}
        placed.append({"id": number, "gridPos": place, **rest})
        x, line = x + width, max(line, height)
    return placed


_REFS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def _panel(
    kind: str,
    title: str,
    queries: Mapping[str, str],
    defaults: Mapping[str, Any],
    options: Mapping[str, Any],
    description: str = "",
    *,
    width: int,
    height: int,
) -> Panel:
    return {
        "type": kind,
        "title": title,
        "description": description,
        "datasource": DATA_SOURCE,
        "fieldConfig": {"defaults": dict(defaults), "overrides": []},
        "options": dict(options),
        "targets": [
            _target(ref, query, legend)
            for ref, (legend, query) in zip(_REFS, queries.items(), strict=False)
        ],
        "w": width,
        "h": height,
    }


def _target(ref: str, query: str, legend: str = "") -> dict[str, Any]:
    return {
        "refId": ref,
        "datasource": DATA_SOURCE,
        "editorMode": "code",
        "expr": query,
        "legendFormat": legend or "__auto",
    }


def _color_of(column: Column) -> list[dict[str, Any]]:
    if not column.mappings:
        return []
    # Grafana 9 reads the first, Grafana 10 the second.
    return [
        {"id": "custom.displayMode", "value": "color-text"},
        {"id": "custom.cellOptions", "value": {"type": "color-text"}},
    ]
