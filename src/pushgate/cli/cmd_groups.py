"""``pushgate groups``: a gateway's groups in a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..jobs.ages import ago, counted
from ..protocol.names import selector
from .exit_status import complain
from .formatting import group_fields, print_json_list, print_table
from .parsed_options import ParsedOptions, matching_groups
from .parser import Parser

if TYPE_CHECKING:
    from ..protocol.groups import Group


def parser() -> Parser:
    made = Parser(
        "groups",
        "List the groups that a gateway holds, the one that was pushed longest ago first.",
    )
    made.add_matchers("only groups that match")
    made.add_output("json")
    made.add_gateway("request")
    return made


def run(options: ParsedOptions) -> int:
    """Returns 0, also where no group matches."""
    matchers = options.read_matchers()
    gateway = options.open_gateway()
    found, now = matching_groups(gateway, matchers)
    # Of each group, what is shown alone: a gateway may hold 15,000 with millions of samples.
    rows = [_row(group) for group in found]
    rows.sort(key=lambda row: (max(row["push_time"], row["push_failure_time"]), *row["labels"]))
    if options.json:
        print_json_list(rows)
    elif not rows:
        complain(f"{gateway.url} holds no {'matching ' if matchers else ''}group")
    else:
        heads = ("GROUP", "LAST PUSH", "REFUSED", "FAMILIES", "SAMPLES")
        print_table(heads, [_cells(row, now) for row in rows])
        total = sum(row["samples"] for row in rows)
        print(f"{counted(len(rows), 'group')}, {counted(total, 'sample')}")
    return 0


def _row(group: Group) -> dict[str, Any]:
    samples = sum(len(family.samples) for family in group.families)
    return group_fields(group) | {"families": len(group.families), "samples": samples}


def _cells(row: dict[str, Any], now: float) -> tuple[str | tuple[str, str], ...]:
    refused = ago(row["push_failure_time"], now) if row["push_failure_time"] else ""
    return (
        selector(row["labels"]),
        ago(row["push_time"], now),
        refused if row["last_push_successful"] else (refused, "red"),
        str(row["families"]),
        str(row["samples"]),
    )
