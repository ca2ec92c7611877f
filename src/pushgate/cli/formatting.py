"""Output for a person at a terminal, or for a script: times, labels, tables, colours, JSON."""

from __future__ import annotations

import json
import os
import shutil
import sys
from typing import TYPE_CHECKING, Any
from unicodedata import combining, east_asian_width

from ..jobs.ages import roughly

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..protocol.groups import Group

__all__ = (
    "ago",
    "colored",
    "counted",
    "group_fields",
    "print_json",
    "print_table",
    "printable",
    "span",
)

_COLORS = {"red": "\x1b[31m", "yellow": "\x1b[33m"}
_GAP = "  "
_NARROWEST = 16  # columns; the first column of a table is not cut below
_UNITS = (("d", 86_400), ("h", 3600), ("m", 60), ("s", 1))


def ago(when: float | None, now: float) -> str:
    """How long ago ``when`` was: ``5m ago``. ``never`` for 0 and None."""
    if not when:
        return "never"
    return f"{roughly(now - when)} ago" if now - when >= 1 else "just now"


def span(seconds: float) -> str:
    """A length of time in one or two units: ``0.34s``, ``12s``, ``2m 5s``, ``3h 20m``, ``9d``."""
    if seconds < 10:
        return f"{seconds:.2g}s" if seconds >= 0.001 else "0s"
    left = round(seconds)
    parts: list[str] = []
    for unit, length in _UNITS:
        count, left = divmod(left, length)
        if count or parts:
            parts.append(f"{count}{unit}" if count else "")
    return " ".join(parts[:2]).strip()


def counted(count: int, thing: str) -> str:
    """``1 group``, ``2 groups``."""
    return f"{count} {thing}" + ("" if count == 1 else "s")


def printable(text: str) -> str:
    """``text`` with escapes for characters that could control a terminal: others may push them."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def print_json(value: object) -> None:
    """Print ``value`` for a script."""
    print(json.dumps(value, indent=2))


def group_fields(group: Group) -> dict[str, Any]:
    """The fields of a group that every command's JSON has."""
    return {
        "labels": group.labels,
        "push_time": group.push_time,
        "push_failure_time": group.push_failure_time,
        "last_push_successful": group.last_push_successful,
    }


def print_table(heads: Sequence[str], rows: Sequence[Sequence[str | tuple[str, str]]]) -> None:
    """Print columns. A cell is a text, or a text and its color (red, yellow) on terminals.

    Where a terminal is too narrow for the rows, the first column is cut in the middle.
    """
    cells = [[(c, "") if isinstance(c, str) else c for c in row] for row in rows]
    lines = [list(heads), *([printable(text) for text, _ in row] for row in cells)]
    colors = [[""] * len(heads), *([color for _, color in row] for row in cells)]
    widths = [max(map(_columns, column)) for column in zip(*lines, strict=True)]
    if _is_terminal():
        fixed = len(widths) if heads[-1] else len(widths) - 1  # remarks may go on in a new line
        others = sum(widths[1:fixed]) + len(_GAP) * (fixed - 1)
        widths[0] = min(widths[0], max(_NARROWEST, shutil.get_terminal_size().columns - others))
    for line, line_colors in zip(lines, colors, strict=True):
        line[0] = _cut(line[0], widths[0])
        padded = [
            text + " " * (width - _columns(text)) for text, width in zip(line, widths, strict=True)
        ]
        padded[-1] = line[-1]
        print(_GAP.join(map(colored, padded, line_colors)).rstrip())


def colored(text: str, color: str) -> str:
    """``text`` in red or yellow; unchanged where colors are not wanted, https://no-color.org/."""
    wanted = _is_terminal() and os.environ.get("TERM") != "dumb"
    if not color or not wanted or os.environ.get("NO_COLOR"):
        return text
    return f"{_COLORS[color]}{text}\x1b[0m"


def _is_terminal() -> bool:
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
