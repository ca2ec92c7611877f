"""Write the wrapper's own lines to stderr. Never raises."""

from __future__ import annotations

import os
import select
import time
from contextlib import suppress

from pushgate_subprocess._descriptors import WRITE, wait_ready

_LONGEST_WAIT = 1.0  # seconds, for a reader of our stderr


def occupy_standard_streams() -> None:
    """Open /dev/null for the standard streams that are closed, once the command has started.

    Otherwise a socket of ours becomes descriptor 2, and lines for a person go there.
    """
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def write_line(text: str) -> None:
    """Write one line to stderr; stdout is the command's alone. A name may hold anything."""
    line = "".join([c if c.isprintable() else ascii(c)[1:-1] for c in text])
    data = line.encode("utf-8", "backslashreplace")[: select.PIPE_BUF - 1] + b"\n"
    with suppress(OSError):  # stderr is closed or full
        # A pipe that is ready takes PIPE_BUF bytes at once; one that nobody reads must not hold us.
        if wait_ready([2], time.monotonic() + _LONGEST_WAIT, events=WRITE):
            os.write(2, data)
