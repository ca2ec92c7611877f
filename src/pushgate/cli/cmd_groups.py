"""``pushgate groups``: a gateway's groups in a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..protocol.names import selector
from .common_options import (
    MATCHERS,
    Parser,
    add_gateway_options,
    add_json_option,
    load_settings,
    matching_groups,
    read_matchers,
)
from .exit_status import complain
from .formatting import ago, counted, group_fields, print_json, print_table

if TYPE_CHECKING:
    from ..protocol.groups import Group


def main(arguments: list[str]) -> int:
    """Returns 0, also where no group matches."""
    parser = Parser(
        "groups",
        "List the groups that a gateway holds, the one that was pushed longest ago first.",
        MATCHERS,
    )
    parser.add_argument("matchers", nargs="*", metavar="MATCHER", help="only groups that match all")
    add_json_option(parser)
    add_gateway_options(parser)
    options = parser.parse_args(arguments)
    matchers = read_matchers(options.matchers)
    gateway = load_settings(options).to_gateway()
    found, now = matching_groups(gateway, matchers)
    groups = list(found)
    groups.sort(key=lambda group: (max(group.push_time, group.push_failure_time), *group.labels))
    if options.json:
        print_json(
            [
                {**group_fields(g), "families": len(g.families), "samples": _samples(g)}
                for g in groups
            ]
        )
    elif not groups:
        complain(f"{gateway.url} holds no {'matching ' if matchers else ''}group")
    else:
        print_table(
            ("GROUP", "LAST PUSH", "REFUSED", "FAMILIES", "SAMPLES"),
            [_cells(group, now) for group in groups],
        )
        total = sum(map(_samples, groups))
        print(f"{counted(len(groups), 'group')}, {counted(total, 'sample')}")
    return 0


def _cells(group: Group, now: float) -> tuple[str | tuple[str, str], ...]:
    refused = ago(group.push_failure_time, now) if group.push_failure_time else ""
    return (
        selector(group.labels),
        ago(group.push_time, now),
        refused if group.last_push_successful else (refused, "red"),
        str(len(group.families)),
        str(_samples(group)),
    )


def _samples(group: Group) -> int:
    return sum(len(family.samples) for family in group.families)
