"""Records on the pipe: a line of JSON each, short enough that Linux writes it whole or not at all.

https://man7.org/linux/man-pages/man7/pipe.7.html, PIPE_BUF. Other systems may tear a longer line,
which then is read as a dropped record.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ("MAX_RECORD", "Dropped", "RecordReader", "dropped_line", "record_line")

MAX_RECORD = 4096  # bytes, with the line's end: Linux's PIPE_BUF

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_DROPPED = b"!"  # begins no JSON


class Dropped(int):
    """In place of records: how many were dropped."""

    __slots__ = ()


def record_line(record: object) -> bytes:
    """The record's line. Raises TypeError or ValueError for what JSON can't hold or is too long."""
    try:
        line = _encode(record).encode("utf-8", "surrogatepass") + b"\n"
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if len(line) > MAX_RECORD:
        raise ValueError(f"it has {len(line)} bytes, and {MAX_RECORD} is the limit")
    return line


def dropped_line(count: int) -> bytes:
    """The line that tells of ``count`` dropped records."""
    return b"%b%d\n" % (_DROPPED, count)


class RecordReader:
    """Takes apart what is read, in chunks of any size."""

    def __init__(self) -> None:
        self._rest = b""

    def split(self, chunk: bytes) -> Iterator[Any]:
        """The records and the Dropped counts that ``chunk`` completes."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        return map(_decode, lines)

    def end(self) -> Iterator[Any]:
        """The same for the end of the pipe."""
        if self._rest:
            yield Dropped(1)


def _decode(line: bytes) -> Any:
    try:
        return Dropped(line[1:]) if line[:1] == _DROPPED else json.loads(line)
    except (ValueError, RecursionError):
        return Dropped(1)
