"""Writes groups as an embedded gateway shows them: the text of a scrape, the JSON of the API.

The text is that of Go's expfmt, the JSON that of Pushgateway's /api/v1/metrics:
https://github.com/prometheus/pushgateway#query-api
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from ..protocol.names import quoted
from . import model
from .group_store import HeldGroup
from .model import HeldFamily, HeldMetric, format_number


def to_text(own: Iterable[HeldFamily], groups: Iterable[HeldGroup]) -> str:
    """The text format 0.0.4 of all groups, sorted. The first group's HELP counts for all."""
    merged = {family.name: list(family.metrics) for family in own}
    first = {family.name: family for family in own}
    for group in groups:
        for name, family in group.families.items():
            merged.setdefault(name, []).extend(family.metrics)
            first.setdefault(name, family)
    lines: list[str] = []
    for name in sorted(merged):
        family = first[name]
        if family.help:
            lines.append(f"# HELP {name} {_escape(family.help)}")
        shown = model.HISTOGRAM if family.type in model.HISTOGRAMS else family.type
        lines.append(f"# TYPE {name} {(shown or model.UNTYPED).lower()}")
        for metric in sorted(merged[name], key=_order):
            lines.extend(_lines(family, metric))
    return "".join(line + "\n" for line in lines)


def _order(metric: HeldMetric) -> tuple[int, list[str]]:
    return len(metric.labels), [value for _, value in metric.key()]


def _lines(family: HeldFamily, metric: HeldMetric) -> Iterator[str]:
    if family.type == model.SUMMARY:
        for quantile, value in metric.points:
            yield _line(family.name, metric, value, f'quantile="{_text_number(quantile)}"')
    elif family.type in model.HISTOGRAMS:
        for bound, count in metric.points:
            yield _line(f"{family.name}_bucket", metric, count, f'le="{_text_number(bound)}"')
        if not any(bound == math.inf for bound, _ in metric.points):
            yield _line(f"{family.name}_bucket", metric, metric.count, 'le="+Inf"')
    else:
        yield _line(family.name, metric, metric.value)
        return
    yield _line(f"{family.name}_sum", metric, metric.sum)
    yield _line(f"{family.name}_count", metric, metric.count)


def _line(name: str, metric: HeldMetric, value: float, *more: str) -> str:
    labels = [f"{label}={quoted(text)}" for label, text in metric.key()]
    return f"{name}{{{','.join([*labels, *more])}}} {_text_number(value)}"


def _text_number(number: float) -> str:
    return "0" if number == 0 else format_number(float(number))


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def to_json(groups: Iterable[HeldGroup]) -> list[dict[str, Any]]:
    """The ``data`` of /api/v1/metrics."""
    return [
        {
            "labels": dict(group.labels),
            "last_push_successful": group.last_push_successful,
            **{name: _family(family) for name, family in group.families.items()},
        }
        for group in groups
    ]


def _family(family: HeldFamily) -> dict[str, Any]:
    shown: dict[str, Any] = {"time_stamp": rfc3339(family.pushed_at), "type": family.type}
    if family.help:
        shown["help"] = family.help.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    shown["metrics"] = [
        {"labels": metric.labels, **_numbers(family, metric)} for metric in family.metrics
    ]
    return shown


def _numbers(family: HeldFamily, metric: HeldMetric) -> dict[str, Any]:
    points = {format_number(bound): format_number(value) for bound, value in metric.points}
    totals = {"sum": format_number(metric.sum), "count": format_number(metric.count)}
    if family.type == model.SUMMARY:
        return {"quantiles": points, **totals}
    if family.type == model.HISTOGRAM:
        # A count of NaN, which the text format shows, is 0 here.
        counts = {bound: "0" if count == "NaN" else count for bound, count in points.items()}
        return {"buckets": counts, **totals}
    # The real API has no form for gauge histograms and shows this for them.
    return {"value": "0" if family.type == model.GAUGE_HISTOGRAM else format_number(metric.value)}


def rfc3339(at: float) -> str:
    """Unix seconds as the API writes times."""
    return datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")
