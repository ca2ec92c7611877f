"""Times, spans and tables for a person at a terminal. Enters: values. Leaves: text."""

from __future__ import annotations

import json
import os
import shutil
import sys
from unicodedata import combining, east_asian_width

from ..jobs.ages import roughly
from ..protocol.names import quoted_label
from .exit_status import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ("ago", "braces", "colored", "counted", "print_table", "span")

_COLORS = {"red": "\x1b[31m", "yellow": "\x1b[33m", "": ""}
_GAP = "  "
_NARROWEST = 16  # columns; a name is not cut below


def ago(moment: float | None, now: float) -> str:
    """How long ago ``moment`` was: ``5m ago``. ``never`` for 0 and None."""
    if not moment:
        return "never"
    return f"{roughly(now - moment)} ago" if now - moment >= 1 else "just now"


def span(seconds: float) -> str:
    """A length of time in one or two units: ``0.34s``, ``12s``, ``2m 5s``, ``3h 20m``, ``9d``."""
    if seconds < 10:
        return f"{seconds:.2g}s" if seconds >= 0.001 else "0s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    for big, small, length, part in (
        ("m", "s", 60, 1),
        ("h", "m", 3600, 60),
        ("d", "h", 86400, 3600),
    ):
        if whole < {"m": 3600, "h": 86_400}.get(big, float("inf")):
            rest = whole % length // part
            return f"{whole // length}{big}" + (f" {rest}{small}" if rest else "")
    raise AssertionError("unreachable")


def braces(labels: Mapping[str, str]) -> str:
    """``labels`` as PromQL writes them."""
    pairs = (
        f"{quoted_label(name)}={json.dumps(v, ensure_ascii=False)}" for name, v in labels.items()
    )
    return "{" + ",".join(pairs) + "}"


def counted(count: int, thing: str) -> str:
    """``1 group``, ``2 groups``."""
    return f"{count} {thing}" + ("" if count == 1 else "s")


def print_table(heads: Sequence[str], rows: Sequence[Sequence[str | tuple[str, str]]]) -> None:
    """Print columns; a cell is text, or text and its color (red, yellow), for terminals.

    On a terminal that is too narrow for the rows, the first column's texts are cut in the middle.
    """
    plain = [
        [printable(cell if isinstance(cell, str) else cell[0]) for cell in row] for row in rows
    ]
    widths = [max(map(_columns, column)) for column in zip(heads, *plain, strict=True)]
    if _is_terminal():
        fixed = len(widths) if heads[-1] else len(widths) - 1  # remarks may go on in a new line
        others = sum(widths[1:fixed]) + len(_GAP) * (fixed - 1)
        widths[0] = min(widths[0], max(_NARROWEST, shutil.get_terminal_size().columns - others))
    for number, line in enumerate([list(heads), *plain]):
        cells = [_cut(line[0], widths[0]), *line[1:]]
        padded = [
            text + " " * (width - _columns(text)) for text, width in zip(cells, widths, strict=True)
        ]
        padded[-1] = cells[-1]
        if number:
            padded = [
                text if isinstance(cell, str) else colored(text, cell[1])
                for text, cell in zip(padded, rows[number - 1], strict=True)
            ]
        print(_GAP.join(padded).rstrip())  # noqa: T201


def colored(text: str, color: str) -> str:
    """``text`` in red or yellow; as it is where that is not wanted, https://no-color.org/."""
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
    while _columns(text) > width - 1:  # from the middle: both ends tell more
        middle = len(text) // 2
        text = text[:middle] + text[middle + 1 :]
    middle = len(text) // 2
    return f"{text[:middle]}…{text[middle:]}"
