"""What the wrapper writes: its own lines, and what it held back of the command's output.

Options and lines enter; sinks and bytes on the standard streams leave. Nothing here raises.
"""

from __future__ import annotations

import os
import select

from pushgate_subprocess._descriptors import WRITE, ready
from pushgate_subprocess._lean import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pushgate_subprocess._capture import Spool, Tail
    from pushgate_subprocess._options import RunOptions

__all__ = ("occupy_standard_streams", "replay", "sinks", "write_line")

_PATIENCE = 1.0  # seconds


def sinks(options: RunOptions) -> tuple[Spool, Spool] | tuple[Tail, Tail] | tuple[()]:
    if options.tail_bytes is not None:
        from pushgate_subprocess._capture import Tail

        return Tail(options.tail_bytes), Tail(options.tail_bytes)
    if options.quiet_on_success:
        from pushgate_subprocess._capture import Spool

        return Spool(), Spool()
    return ()


def replay(held_back: Sequence[Spool | Tail]) -> None:
    """Write the command's stdout and stderr where they would have gone."""
    for fd, sink in enumerate(held_back, start=1):
        try:  # noqa: SIM105 - contextlib is an import before the command's start
            sink.replay(fd)
        except OSError:
            pass  # whoever read our output is gone


def occupy_standard_streams() -> None:
    """Once the command has them as they were: or our sockets become 2, and messages go there."""
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def write_line(text: str) -> None:
    """One line on stderr; stdout is the command's alone. A name may hold anything."""
    line = "".join([c if c.isprintable() else ascii(c)[1:-1] for c in text])
    data = line.encode("utf-8", "backslashreplace")[: select.PIPE_BUF - 1] + b"\n"
    try:
        # A pipe that is ready takes PIPE_BUF bytes at once; one that nobody reads must not hold us.
        if ready({2: WRITE}, _PATIENCE):
            os.write(2, data)
    except OSError:
        pass  # stderr is closed or full
