"""Output for a person at a terminal, or for a script: times, labels, tables, colours, JSON."""

from __future__ import annotations

import json
import os
import shutil
import sys
from typing import TYPE_CHECKING, Any
from unicodedata import combining, east_asian_width

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ..protocol.groups import Group

_COLORS = {"red": "\x1b[31m", "yellow": "\x1b[33m"}
_GAP = "  "
_NARROWEST = 16  # columns; the first column of a table is not cut below
_WIDEST = 100  # columns; a cell may be longer, and then only its own line is


def printable(text: str) -> str:
    """``text`` with escapes for characters that could control a terminal: others may push them."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def print_json(value: object) -> None:
    """Print ``value`` for a script."""
    print(json.dumps(value, indent=2))


def print_json_list(values: Iterable[object]) -> None:
    """Print a list for a script, each value when its turn comes: for lists that are long."""
    before = "[\n"
    for value in values:
        lines = json.dumps(value, indent=2).splitlines()
        print(before + "\n".join(f"  {line}" for line in lines), end="")
        before = ",\n"
    print("[]" if before == "[\n" else "\n]")


def group_fields(group: Group) -> dict[str, Any]:
    """The fields of a group that every command's JSON has."""
    return {
        "labels": group.labels,
        "push_time": group.push_time,
        "push_failure_time": group.push_failure_time,
        "last_push_successful": group.last_push_successful,
    }


def print_table(
    heads: Sequence[str],
    rows: Sequence[Sequence[str | tuple[str, str]]],
    *,
    optional: Sequence[str] = (),
) -> None:
    """Print columns. A cell is a text, or a text and its color (red, yellow) on terminals.

    On a terminal that is too narrow for the rows, the columns with the heads ``optional`` are left
    out, one after the other, until the first column has half of the width; then that is cut in the
    middle. An optional column in
    which no row has anything is always left out. A last column without a head has remarks, which
    have a line of their own where they do not fit.
    """
    cells = [[(c, "") if isinstance(c, str) else c for c in row] for row in rows]
    table = [[(head, "") for head in heads], *([(printable(t), c) for t, c in r] for r in cells)]
    room = shutil.get_terminal_size().columns if is_terminal() else sys.maxsize
    remarks = [row.pop() for row in table] if not heads[-1] else [("", "")] * len(table)
    is_used = [any(text for text, _ in column[1:]) for column in zip(*table, strict=True)]
    wanted = [
        i for i, head in enumerate(heads[: len(table[0])]) if is_used[i] or head not in optional
    ]
    for head in (None, *optional):
        wanted = [i for i in wanted if heads[i] != head]
        widths = [max(_columns(row[i][0]) for row in table) for i in wanted]
        others = sum(widths[1:]) + len(_GAP) * (len(widths) - 1)
        if min(widths[0], max(_NARROWEST, room // 2)) + others <= room:
            break
    widths[0] = min(widths[0], max(_NARROWEST, room - others))
    for row, (remark, color) in zip(table, remarks, strict=True):
        row[0] = (_cut(row[0][0], widths[0]), row[0][1])
        padded = [
            colored(row[i][0] + " " * (min(width, _WIDEST) - _columns(row[i][0])), row[i][1])
            for i, width in zip(wanted, widths, strict=True)
        ]
        used = widths[0] + others + len(_GAP) + _columns(remark)
        if used <= room:
            print(_GAP.join([*padded, colored(remark, color)]).rstrip())
        else:
            print(_GAP.join(padded).rstrip() + f"\n    {colored(remark, color)}" * bool(remark))


def colored(text: str, color: str) -> str:
    """``text`` in red or yellow; unchanged where colors are not wanted, https://no-color.org/."""
    wanted = is_terminal() and os.environ.get("TERM") != "dumb"
    if not color or not wanted or os.environ.get("NO_COLOR"):
        return text
    return f"{_COLORS[color]}{text}\x1b[0m"


def is_terminal() -> bool:
    """Whether stdout is a terminal."""
    return sys.stdout is not None and sys.stdout.isatty()  # None: closed, as by >&-


def _columns(text: str) -> int:
    if text.isascii():
        return len(text)
    return sum(0 if combining(c) else 2 if east_asian_width(c) in "WF" else 1 for c in text)


def _cut(text: str, width: int) -> str:
    if _columns(text) <= width:
        return text
    while _columns(text) > width - 1:  # in the middle: both ends tell more
        middle = len(text) // 2
        text = text[:middle] + text[middle + 1 :]
    middle = len(text) // 2
    return f"{text[:middle]}…{text[middle:]}"
