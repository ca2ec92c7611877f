"""Records on the pipe: each short enough that Linux writes it whole or not at all.

https://man7.org/linux/man-pages/man7/pipe.7.html, PIPE_BUF. A read that asks for all that the pipe
may hold takes whole records only, so that a pusher's successor begins with a whole one. A record is
two bytes of length and what marshal writes. Both ends are one interpreter, and JSON takes six times
as long, twice for each task.
"""

from __future__ import annotations

import json
import marshal
import select
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

PIPE_BYTES = 1 << 20  # Linux lets anyone have so much; the default of 64 KiB is some 500 records
MAX_RECORD = min(4096, getattr(select, "PIPE_BUF", 512))  # bytes, with the length

_LENGTH, _COUNT = 2, 4  # bytes
_VERSION = 2  # of marshal: later ones look for objects that repeat, which takes longer
_OURS = bytes(_LENGTH)  # in place of a length: a count of dropped records follows
STOP = _OURS + bytes(_COUNT)
"""Says that the relay was closed."""


class Dropped(int):
    """In place of records: how many were dropped; 0 stands for STOP."""

    __slots__ = ()


def record_line(record: object) -> bytes:
    """The record's bytes. Raises TypeError or ValueError for what JSON can't hold or is too long.

    JSON is the rule because it takes subclasses of the plain types, such as numpy's floats.
    """
    try:
        body = marshal.dumps(record, _VERSION)  # type: ignore[arg-type]  # or ValueError
    except ValueError:
        try:
            body = marshal.dumps(json.loads(json.dumps(record)), _VERSION)
        except RecursionError:
            raise ValueError("it is nested too deeply") from None
    length = len(body)
    if length > MAX_RECORD - _LENGTH:
        raise ValueError(f"it has {length + _LENGTH} bytes, and {MAX_RECORD} is the limit")
    return length.to_bytes(_LENGTH, "little") + body


def dropped_line(count: int) -> bytes:
    """The bytes that tell of ``count`` dropped records."""
    return _OURS + min(count, 2**32 - 1).to_bytes(_COUNT, "little")


def records_of(data: bytes) -> Iterator[Any]:
    """The records and the Dropped counts in ``data``, which ends with a whole one."""
    at = 0
    while at + _LENGTH <= len(data):
        length = data[at] | data[at + 1] << 8
        begin = at + _LENGTH
        at = begin + (length or _COUNT)
        body = data[begin:at]
        if not length:
            yield Dropped(int.from_bytes(body, "little"))
            continue
        try:
            record = marshal.loads(body)  # noqa: S302 - our own workers wrote it
        except (ValueError, EOFError, TypeError):
            record = Dropped(1)
        yield record
