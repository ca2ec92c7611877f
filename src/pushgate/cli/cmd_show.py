"""``pushgate show``: what a gateway holds, for a person at a terminal or, as JSON, for a script."""

from __future__ import annotations

import json
import math
import time
from typing import TYPE_CHECKING, Any

from .common_options import (
    Parser,
    add_gateway_options,
    add_group_options,
    add_json_option,
    group_labels,
    load_settings,
)
from .exit_status import complain, printable
from .formatting import ago, braces

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ..protocol.families import Sample
    from ..protocol.groups import Group, GroupFamily

__all__ = ("main",)

_WIDEST = 60  # columns for names; longer ones push their value to the right


def main(arguments: list[str]) -> int:
    """Returns 0, also where nothing fits."""
    options = _parser().parse_args(arguments)
    wanted = group_labels(options)
    if options.job is not None:
        wanted["job"] = options.job
    gateway = load_settings(options).to_gateway()
    groups = [
        g for g in gateway.groups() if wanted.items() <= {**_none(wanted), **g.labels}.items()
    ]
    if options.json:
        print(json.dumps([_as_json(group) for group in groups], indent=2))  # noqa: T201
        return 0
    if not groups:
        complain(f"{gateway.url} holds no {'such ' if wanted else ''}group")
        return 0
    now = time.time() + gateway.clock_offset()
    for group in sorted(groups, key=lambda group: list(group.labels.items())):
        for line in _lines(group, now):
            print(printable(line))  # noqa: T201
    return 0


def _parser() -> Parser:
    parser = Parser(
        "show",
        "Show the groups that a gateway holds, with their metrics. Without --job and --group, all.",
    )
    add_group_options(parser, job_required=False)
    add_json_option(parser, "all of it for scripts, histograms' buckets included")
    add_gateway_options(parser)
    return parser


def _none(wanted: Mapping[str, str]) -> dict[str, str]:
    """A label that is not there is as good as empty, for a gateway as for Prometheus."""
    return dict.fromkeys(wanted, "")


def _lines(group: Group, now: float) -> Iterator[str]:
    state = f"pushed {ago(group.push_time, now)}"
    if not group.last_push_successful:
        state += f", REFUSED {ago(group.push_failure_time, now)}"
    yield f"{braces(group.labels)}  {state}"
    rows = [row for family in group.families for row in _rows(family, group.labels, now)]
    width = min(_WIDEST, max((len(name) for name, _ in rows), default=0))
    for name, value in rows:
        yield f"  {name:<{width}}  {value}"


def _rows(
    family: GroupFamily, grouping: Mapping[str, str], now: float
) -> Iterator[tuple[str, str]]:
    for sample in family.samples:
        if sample.name == f"{family.name}_bucket" and "le" in sample.labels:
            continue  # for --json: a screen full of them says less than sum and count
        labels = {
            k: v for k, v in sample.labels.items() if k not in grouping and (v or k != "instance")
        }
        yield sample.name + (braces(labels) if labels else ""), _value(sample, now)


def _value(sample: Sample, now: float) -> str:
    value = sample.value
    if sample.name.endswith("_timestamp_seconds") and 1e8 < value < 1e11:
        local = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(value))
        return f"{local}  ({ago(value, now)})"
    return str(int(value) if value.is_integer() and abs(value) < 1e15 else _json_number(value))


def _as_json(group: Group) -> dict[str, Any]:
    return {
        "labels": group.labels,
        "last_push_successful": group.last_push_successful,
        "push_time": group.push_time,
        "push_failure_time": group.push_failure_time,
        "families": [
            {
                "name": family.name,
                "type": family.type,
                "help": family.documentation,
                "pushed_at": family.pushed_at,
                "samples": [
                    {"name": s.name, "labels": dict(s.labels), "value": _json_number(s.value)}
                    for s in family.samples
                ],
            }
            for family in group.families
        ],
    }


def _json_number(value: float) -> float | str:
    """JSON has no NaN and no infinities; these are text, as in the gateway's own answer."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else f"{value:+}".title()
