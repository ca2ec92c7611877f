"""Reads a file that a setting names, which may be anything."""

from __future__ import annotations

import errno
import os

_MOST_BYTES = 1 << 20


def read_named_file(path: str) -> bytes:
    """What it holds. Raises OSError, also where that is more than a mebibyte, as of /dev/zero."""
    with open(path, "rb", opener=_open_at_once) as file:
        if hasattr(os, "O_NONBLOCK"):
            os.set_blocking(file.fileno(), True)  # a shell's <(command) may not have written yet
        content = file.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise OSError(errno.EFBIG, f"it holds more than {_MOST_BYTES} bytes", path)
    return content


def _open_at_once(path: str, flags: int) -> int:
    """To open a FIFO would wait until somebody writes there."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
