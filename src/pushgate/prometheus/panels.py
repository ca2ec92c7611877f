"""Panels of a Grafana dashboard, as values for its JSON; ``layout`` places them row by row.

For Grafana 9 to 11: https://grafana.com/docs/grafana/latest/dashboards/build-dashboards/view-dashboard-json-model/
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

DATA_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
_WIDTH = 24  # of a dashboard, in Grafana's units
_REFS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


class Panel(NamedTuple):
    """A panel's JSON, and its size in Grafana's units. ``inside`` are those of a collapsed row."""

    json: dict[str, Any]
    width: int
    height: int
    inside: tuple[Panel, ...] = ()


def mapped(texts: Mapping[int, tuple[str, str]]) -> tuple[Mapping[str, Any], ...]:
    """Shows values as a text in a colour, and NaN as nothing."""
    options = {
        str(value): {"text": text, "color": color, "index": index}
        for index, (value, (text, color)) in enumerate(texts.items())
    }
    nothing = {"match": "null+nan", "result": {"text": "", "index": 99}}
    values = [{"type": "value", "options": options}] if options else []
    return (*values, {"type": "special", "options": nothing})


def row(title: str, inside: Iterable[Panel] = ()) -> Panel:
    """A heading. ``inside`` is shown when a person opens it, and costs no query before."""
    panels = tuple(inside)
    json = {"type": "row", "title": title, "collapsed": bool(panels)}
    return Panel(json, _WIDTH, 1, panels)


def stat(
    title: str,
    query: str,
    description: str,
    *,
    steps: Sequence[tuple[float, str]] = ((0, "text"),),
    unit: str = "none",
    texts: Mapping[int, tuple[str, str]] | None = None,
    width: int = 2,
) -> Panel:
    """One number. ``steps`` are values from which on it has a colour; no value is grey."""
    (_, base), *rest = steps
    colors: list[Mapping[str, Any]] = [{"color": base, "value": None}]
    colors += [{"color": color, "value": value} for value, color in rest]
    defaults: dict[str, Any] = {
        "unit": unit,
        "thresholds": {"mode": "absolute", "steps": colors},
        "mappings": list(mapped(texts or {})),
    }
    options = {
        "colorMode": "value",
        "graphMode": "none",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
    }
    made = panel("stat", title, description, defaults, options, width=width, height=3)
    made.json["targets"] = [target("A", query) | {"instant": True, "range": False}]
    return made


def time_series(
    title: str,
    queries: Mapping[str, str],
    unit: str,
    description: str,
    *,
    colors: Mapping[str, str] | None = None,
    stacked: bool = False,
) -> Panel:
    """Curves. ``queries`` and fixed ``colors`` by legend."""
    custom: dict[str, Any] = {"lineInterpolation": "stepAfter", "spanNulls": 3_600_000}
    if stacked:
        custom |= {"stacking": {"mode": "normal", "group": "A"}, "fillOpacity": 40}
    options = {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    defaults = {"unit": unit, "min": 0, "custom": custom}
    made = panel("timeseries", title, description, defaults, options, width=12, height=9)
    made.json["targets"] = [
        target(ref, query, legend)
        for ref, (legend, query) in zip(_REFS, queries.items(), strict=False)
    ]
    made.json["fieldConfig"]["overrides"] = [
        {
            "matcher": {"id": "byName", "options": legend},
            "properties": [{"id": "color", "value": {"mode": "fixed", "fixedColor": color}}],
        }
        for legend, color in (colors or {}).items()
    ]
    return made


def state_timeline(
    title: str,
    query: str,
    legend: str,
    texts: Mapping[int, tuple[str, str]],
    description: str,
) -> Panel:
    """A bar for each series, coloured by its value over time."""
    defaults = {
        "mappings": list(mapped(texts)),
        "custom": {"fillOpacity": 70, "lineWidth": 0, "spanNulls": 3_600_000},
    }
    options = {"mergeValues": True, "showValue": "never", "legend": {"showLegend": False}}
    made = panel("state-timeline", title, description, defaults, options, width=24, height=10)
    made.json["targets"] = [target("A", query, legend)]
    return made


def panel(
    kind: str,
    title: str,
    description: str,
    defaults: Mapping[str, Any],
    options: Mapping[str, Any],
    *,
    width: int,
    height: int,
) -> Panel:
    """A panel without queries."""
    json = {
        "type": kind,
        "title": title,
        "description": description,
        "datasource": DATA_SOURCE,
        "fieldConfig": {"defaults": dict(defaults), "overrides": []},
        "options": dict(options),
        "targets": [],
    }
    return Panel(json, width, height)


def target(ref: str, query: str, legend: str = "") -> dict[str, Any]:
    """A query."""
    return {
        "refId": ref,
        "datasource": DATA_SOURCE,
        "editorMode": "code",
        "expr": query,
        "legendFormat": legend or "__auto",
    }


def layout(panels: Iterable[Panel]) -> list[dict[str, Any]]:
    """The panels with ids and places: from left to right, in a new line where one is full."""
    placed, _ = _placed(panels, 0, 1)
    return placed


def _placed(panels: Iterable[Panel], y: int, number: int) -> tuple[list[dict[str, Any]], int]:
    placed: list[dict[str, Any]] = []
    x = line = 0
    for made in panels:
        if x + made.width > _WIDTH:
            x, y, line = 0, y + line, 0
        place = {"x": x, "y": y, "w": made.width, "h": made.height}
        json = {"id": number, "gridPos": place, **made.json}
        number += 1
        if made.json["type"] == "row":
            json["panels"], number = _placed(made.inside, y + 1, number)
        placed.append(json)
        x, line = x + made.width, max(line, made.height)
    return placed, number
