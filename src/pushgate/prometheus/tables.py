"""Tables of a Grafana dashboard, as values for its JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from .panels import mapped, panel, target

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .panels import Panel

_REFS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


class Column(NamedTuple):
    """A column of a table: an instant query, and how its values are shown.

    ``colored`` is the kind of the cell, such as ``color-background``, where ``mappings`` colour it.
    ``width`` is in pixels, 0 for what is left.
    """

    title: str
    query: str
    unit: str = "none"
    width: int = 0
    mappings: tuple[Mapping[str, Any], ...] = ()
    colored: str = ""


class LabelColumn(NamedTuple):
    """A column of a label's values. ``link`` is the URL that a click opens."""

    title: str
    width: int = 0
    link: str = ""
    link_title: str = ""
    shown_as: str = ""


def table(
    title: str,
    columns: Iterable[Column],
    labels: Iterable[LabelColumn],
    description: str,
    *,
    order: Iterable[str],
    hidden: Iterable[str] = (),
    sort_by: Mapping[str, bool],
    width: int = 24,
    height: int = 18,
) -> Panel:
    """A row for each group, with the columns, and with its labels that are not ``hidden``.

    Grafana joins the columns by the labels that all of them have. So each column must have a value
    for every group, even if it is NaN, and no query may return a metric's name: do some arithmetic.
    ``sort_by`` are titles, with True for descending; ``order`` are titles from left to right.
    """
    columns = tuple(columns)
    # Grafana calls the values of a table's only query just "Value".
    sources = {
        "Value" if len(columns) == 1 else f"Value #{ref}": column.title
        for ref, column in zip(_REFS, columns, strict=False)
    }
    made = panel(
        "table",
        title,
        description,
        {"custom": {"align": "auto", "filterable": True}},
        {
            "showHeader": True,
            "cellHeight": "sm",
            "sortBy": [{"displayName": name, "desc": desc} for name, desc in sort_by.items()],
        },
        width=width,
        height=height,
    )
    made.json["fieldConfig"]["overrides"] = [
        *map(_of_values, columns),
        *map(_of_label, labels),
        *(_override(name, {"custom.hidden": True}) for name in hidden),
    ]
    made.json["targets"] = [
        target(ref, column.query) | {"format": "table", "instant": True, "range": False}
        for ref, column in zip(_REFS, columns, strict=False)
    ]
    names = {title: source for source, title in sources.items()}
    organized = {
        "excludeByName": {"Time": True},
        "indexByName": {names.get(title, title): index for index, title in enumerate(order)},
        "renameByName": sources,
    }
    made.json["transformations"] = [
        {"id": "merge", "options": {}},
        {"id": "organize", "options": organized},
    ]
    return made


def _of_values(column: Column) -> dict[str, Any]:
    properties: dict[str, Any] = {
        "unit": column.unit,
        "mappings": list(column.mappings or mapped({})),
    }
    if column.width:
        properties["custom.width"] = column.width
    if column.colored:
        # Grafana 9 reads the first, Grafana 10 the second.
        properties["custom.displayMode"] = column.colored
        properties["custom.cellOptions"] = {"type": column.colored, "mode": "basic"}
    return _override(column.title, properties)


def _of_label(column: LabelColumn) -> dict[str, Any]:
    properties: dict[str, Any] = {}
    if column.width:
        properties["custom.width"] = column.width
    if column.link:
        properties["links"] = [{"title": column.link_title, "url": column.link}]
    if column.shown_as:
        options = {"pattern": "(.+)", "result": {"text": column.shown_as, "index": 0}}
        properties["mappings"] = [{"type": "regex", "options": options}]
    return _override(column.title, properties)


def _override(title: str, properties: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "matcher": {"id": "byName", "options": title},
        "properties": [{"id": name, "value": value} for name, value in properties.items()],
    }
