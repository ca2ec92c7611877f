"""Fields of protobuf messages. Enters: a field's number and value. Leaves: its bytes.

https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

import struct

__all__ = ("double", "integer", "message", "signed", "text")

_VARINT, _FIXED64, _BYTES = 0, 1, 2


def integer(field: int, value: int) -> bytes:
    """A field of a type such as ``uint64``, ``int64`` or an enumeration."""
    return _varint(field << 3 | _VARINT) + _varint(value)


def signed(field: int, value: int) -> bytes:
    """A field of the type ``sint32`` or ``sint64``."""
    return integer(field, 2 * value if value >= 0 else -2 * value - 1)


def double(field: int, value: float) -> bytes:
    """A field of the type ``double``."""
    return _varint(field << 3 | _FIXED64) + struct.pack("<d", value)


def text(field: int, value: str) -> bytes:
    """A field of the type ``string``. Raises UnicodeEncodeError for a lone surrogate."""
    return message(field, value.encode())


def message(field: int | None, value: bytes) -> bytes:
    """A field that holds a message; without a field, a message after its length."""
    tag = b"" if field is None else _varint(field << 3 | _BYTES)
    return tag + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    value &= 0xFFFF_FFFF_FFFF_FFFF  # negative ones are written as their two's complement
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
