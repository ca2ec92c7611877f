"""How records travel: one line of JSON each, short enough that the kernel keeps lines whole.

Enters: records, or a count of those that were dropped; chunks of what was read. Leaves: lines;
records and counts.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ("MAX_LINE", "Dropped", "Lines", "dropped_line", "record_line")

MAX_LINE = 4096  # bytes, line end included: Linux's PIPE_BUF, up to which a write is atomic

_MARK = "!"  # no JSON begins so
_encode = json.JSONEncoder(separators=(",", ":")).encode
_decode = json.JSONDecoder().decode


class Dropped(int):
    """In place of records: how many were dropped."""

    __slots__ = ()


def record_line(record: object) -> bytes:
    """The record's line. Raises TypeError or ValueError for what JSON can't hold or is too long."""
    try:
        line = (_encode(record) + "\n").encode()
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if len(line) > MAX_LINE:
        raise ValueError(f"it has {len(line)} bytes as JSON, and {MAX_LINE} is the limit")
    return line


def dropped_line(count: int) -> bytes:
    """The line that tells of ``count`` dropped records."""
    return f"{_MARK}{count}\n".encode()


class Lines:
    """Takes apart what is read, in chunks of any size."""

    def __init__(self) -> None:
        self._rest = b""

    def split(self, chunk: bytes) -> Iterator[Any]:
        """The records and the Dropped counts that ``chunk`` completes."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        return map(_read, lines)

    def end(self) -> Iterator[Dropped]:
        """The same for the end of the pipe."""
        if self._rest:
            yield Dropped(1)


def _read(line: bytes) -> Any:
    """A torn line counts as one dropped: its reader was killed, or this system tears lines."""
    try:
        text = line.decode()
        return Dropped(text[1:]) if text[:1] == _MARK else _decode(text)
    except (ValueError, RecursionError):
        return Dropped(1)
