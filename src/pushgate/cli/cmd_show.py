"""``pushgate show``: a gateway's groups with their metrics."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

from ..jobs.ages import ago, roughly
from ..protocol.names import selector
from .exit_status import complain
from .formatting import group_fields, print_json_list, printable
from .parsed_options import ParsedOptions, matching_groups
from .parser import Parser

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ..protocol.families import Sample
    from ..protocol.groups import Group, GroupFamily

_WIDEST = 60  # columns for names; longer ones push their value to the right


def parser() -> Parser:
    made = Parser("show", "Show the groups that a gateway holds, with their metrics.")
    made.add_matchers("only groups that match")
    made.add_output("json", json="all of it for scripts, histograms' buckets included")
    made.add_gateway("request")
    return made


def run(options: ParsedOptions) -> int:
    """Returns 0, also where no group matches."""
    matchers = options.read_matchers()
    gateway = options.open_gateway()
    found, now = matching_groups(gateway, matchers)
    if options.json:
        print_json_list(map(_as_json, found))
        return 0
    groups = sorted(found, key=lambda group: list(group.labels.items()))
    for group in groups:
        for line in _lines(group, now):
            print(printable(line))
    if not groups:
        complain(f"{gateway.url} holds no {'matching ' if matchers else ''}group")
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
        age = ago(value, now) if value <= now else f"in {roughly(value - now)}"
        return f"{local}  ({age})"
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
