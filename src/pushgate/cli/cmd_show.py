"""``pushgate show``: a gateway's groups with their metrics."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

from ..jobs.matchers import Matcher
from ..protocol.names import selector
from .common_options import (
    Parser,
    add_gateway_options,
    add_group_options,
    add_json_option,
    load_settings,
    matching_groups,
    read_labels,
)
from .exit_status import complain
from .formatting import ago, group_fields, print_json, printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ..protocol.families import Sample
    from ..protocol.groups import Group, GroupFamily

_WIDEST = 60  # columns for names; longer ones push their value to the right


def main(arguments: list[str]) -> int:
    """Returns 0, also where no group has the labels."""
    parser = Parser(
        "show",
        "Show the groups that a gateway holds, with their metrics. Without --job and --group, all.",
    )
    add_group_options(parser, job_required=False)
    add_json_option(parser, "all of it for scripts, histograms' buckets included")
    add_gateway_options(parser)
    options = parser.parse_args(arguments)
    wanted = read_labels(options.group, "--group")
    if options.job is not None:
        wanted["job"] = options.job
    gateway = load_settings(options).to_gateway()
    matchers = [Matcher(name, "=", value) for name, value in wanted.items()]
    found, now = matching_groups(gateway, matchers)
    groups = list(found)
    if options.json:
        print_json([_as_json(group) for group in groups])
    elif not groups:
        complain(f"{gateway.url} holds no {'matching ' if wanted else ''}group")
    else:
        for group in sorted(groups, key=lambda group: list(group.labels.items())):
            for line in _lines(group, now):
                print(printable(line))
    return 0


def _lines(group: Group, now: float) -> Iterator[str]:
    state = f"pushed {ago(group.push_time, now)}"
    if not group.last_push_successful:
        state += f", REFUSED {ago(group.push_failure_time, now)}"
    yield f"{selector(group.labels)}  {state}"
    rows = [row for family in group.families for row in _rows(family, group.labels, now)]
    width = min(_WIDEST, max((len(name) for name, _ in rows), default=0))
    for name, value in rows:
        yield f"  {name:<{width}}  {value}"


def _rows(
    family: GroupFamily, grouping: Mapping[str, str], now: float
) -> Iterator[tuple[str, str]]:
    for sample in family.samples:
        if sample.name == f"{family.name}_bucket" and "le" in sample.labels:
            continue  # only --json has them: a screen full of them says less than sum and count
        labels = {
            k: v for k, v in sample.labels.items() if k not in grouping and (v or k != "instance")
        }
        yield sample.name + (selector(labels) if labels else ""), _value(sample, now)


def _value(sample: Sample, now: float) -> str:
    value = sample.value
    if sample.name.endswith("_timestamp_seconds") and 1e8 < value < 1e11:
        local = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(value))
        return f"{local}  ({ago(value, now)})"
    return str(int(value) if value.is_integer() and abs(value) < 1e15 else _json_number(value))


def _as_json(group: Group) -> dict[str, Any]:
    return {
        **group_fields(group),
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
    """JSON has no NaN and no infinities; they are text, as in the gateway's own answer."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else f"{value:+}".title()
