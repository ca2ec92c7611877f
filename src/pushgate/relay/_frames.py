"""How records travel: a frame each, short enough that the kernel keeps frames whole.

Enters: records, or a count of those that were dropped; chunks of what was read. Leaves: frames;
records and counts. A frame is a mark, the length and checksum of what follows, and that as marshal
writes it: both ends are one interpreter, and JSON takes five times as long, mostly for floats.
"""

from __future__ import annotations

import json
import marshal
from binascii import crc32
from struct import Struct
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ("MAX_FRAME", "Dropped", "Frames", "dropped_frame", "record_frame")

MAX_FRAME = 4096  # bytes: Linux's PIPE_BUF, up to which a write is atomic

# Their first byte is in no UTF-8 text, so that after a torn frame nobody's label passes for one.
_RECORD, _DROPPED = b"\xff\x9a", b"\xff\x9b"
_head = Struct("<2sHI")
_pack = _head.pack


class Dropped(int):
    """In place of records: how many were dropped."""

    __slots__ = ()


def record_frame(record: object) -> bytes:
    """The record's frame. Raises TypeError or ValueError for what JSON can't hold or is too long.

    JSON is the rule because it takes subclasses of the plain types, such as numpy's floats.
    """
    try:
        body = marshal.dumps(record)  # type: ignore[arg-type]  # or ValueError
    except ValueError:
        try:
            body = marshal.dumps(json.loads(json.dumps(record)))
        except RecursionError:
            raise ValueError("it is nested too deeply") from None
    if len(body) > MAX_FRAME - _head.size:
        raise ValueError(f"it has {len(body)} bytes, and {MAX_FRAME - _head.size} is the limit")
    return _pack(_RECORD, len(body), crc32(body)) + body


def dropped_frame(count: int) -> bytes:
    """The frame that tells of ``count`` dropped records."""
    body = marshal.dumps(count)
    return _pack(_DROPPED, len(body), crc32(body)) + body


class Frames:
    """Takes apart what is read, in chunks of any size."""

    def __init__(self) -> None:
        self._rest = b""

    def split(self, chunk: bytes) -> Iterator[Any]:
        """The records and the Dropped counts that ``chunk`` completes.

        What is no frame counts as one dropped record, up to where the next begins: a write was
        torn, as this system does.
        """
        data, at = self._rest + chunk if self._rest else chunk, 0
        while len(data) - at >= _head.size:
            mark, length, checksum = _head.unpack_from(data, at)
            body = data[at + _head.size : at + _head.size + length]
            if mark not in (_RECORD, _DROPPED) or length > MAX_FRAME:
                yield Dropped(1)
                at = _next_mark(data, at + 1)
            elif len(body) < length:
                break
            elif crc32(body) != checksum:  # marshal itself is not safe from what it did not write
                yield Dropped(1)
                at = _next_mark(data, at + 1)
            else:
                value = marshal.loads(body)  # noqa: S302 - our own workers wrote it
                yield Dropped(value) if mark == _DROPPED else value
                at += _head.size + length
        self._rest = data[at:]

    def end(self) -> Iterator[Any]:
        """The same for the end of the pipe."""
        while self._rest:
            yield Dropped(1)
            data, self._rest = self._rest, b""
            yield from self.split(data[_next_mark(data, 1) :])


def _next_mark(data: bytes, at: int) -> int:
    found = [place for mark in (_RECORD, _DROPPED) if (place := data.find(mark, at)) >= 0]
    # A mark's first byte may be the last that was read.
    return min(found, default=max(at, len(data) - (data[-1:] == _RECORD[:1])))
