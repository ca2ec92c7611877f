"""``pushgate groups``: a gateway's groups in a table, the one that was pushed longest ago first."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from .common_options import (
    Parser,
    add_gateway_options,
    add_json_option,
    load_settings,
    read_matchers,
)
from .exit_status import complain
from .formatting import ago, braces, counted, print_table

if TYPE_CHECKING:
    from ..protocol.groups import Group

__all__ = ("main",)


def main(arguments: list[str]) -> int:
    """Returns 0, also where no group fits."""
    parser = Parser(
        "groups",
        "List the groups that a gateway holds, the one that was pushed longest ago first.",
        "MATCHER is LABEL=VALUE, LABEL!=VALUE, LABEL=~REGEXP or LABEL!~REGEXP, as in PromQL:\n"
        "pushgate groups job=backup 'instance=~db.*'",
    )
    parser.add_argument("matchers", nargs="*", metavar="MATCHER", help="only groups that match all")
    add_json_option(parser)
    add_gateway_options(parser)
    options = parser.parse_args(arguments)
    wanted = read_matchers(options.matchers)
    from ..jobs.matchers import matches

    gateway = load_settings(options).to_gateway()
    now = time.time() + gateway.clock_offset()
    groups = [group for group in gateway.iter_groups() if matches(group.labels, wanted)]
    groups.sort(key=lambda group: (max(group.push_time, group.push_failure_time), *group.labels))
    if options.json:
        print(json.dumps([_as_json(group) for group in groups], indent=2))  # noqa: T201
        return 0
    if not groups:
        complain(f"{gateway.url} holds no {'such ' if wanted else ''}group")
        return 0
    print_table(
        ("GROUP", "LAST PUSH", "REFUSED", "FAMILIES", "SAMPLES"),
        [_cells(group, now) for group in groups],
    )
    total = sum(map(_samples, groups))
    print(f"{counted(len(groups), 'group')}, {counted(total, 'sample')}")  # noqa: T201
    return 0


def _cells(group: Group, now: float) -> tuple[str | tuple[str, str], ...]:
    refused = ago(group.push_failure_time, now) if group.push_failure_time else ""
    return (
        braces(group.labels),
        ago(group.push_time, now),
        refused if group.last_push_successful else (refused, "red"),
        str(len(group.families)),
        str(_samples(group)),
    )


def _samples(group: Group) -> int:
    return sum(len(family.samples) for family in group.families)


def _as_json(group: Group) -> dict[str, Any]:
    return {
        "labels": group.labels,
        "push_time": group.push_time,
        "push_failure_time": group.push_failure_time,
        "last_push_successful": group.last_push_successful,
        "families": len(group.families),
        "samples": _samples(group),
    }
