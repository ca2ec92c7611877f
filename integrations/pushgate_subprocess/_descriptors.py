"""File descriptors that stay out of the command's way, and waiting for them without polling."""

from __future__ import annotations

import os
import select
import time
from fcntl import F_DUPFD_CLOEXEC, fcntl

TYPE_CHECKING = False  # type checkers take it for typing's, which would delay the command
if TYPE_CHECKING:
    from collections.abc import Iterable

READ = select.POLLIN
WRITE = select.POLLOUT

# poll(2) takes milliseconds in a C int, 24 days at most; waking once a day costs nothing.
_LONGEST_WAIT = 86_400.0


def move_up(fd: int, *, at_least: int = 3) -> int:
    """Return `fd` itself or, when it is below `at_least`, a duplicate above it (`fd` is closed).

    When this process was started with a standard stream closed, the kernel hands out 0, 1 or 2
    for the next file; left there, the command would inherit our pipe as its standard input.
    Duplicates are closed on exec. Raises OSError when no descriptor is left.
    """
    if fd >= at_least:
        return fd
    try:
        return fcntl(fd, F_DUPFD_CLOEXEC, at_least)
    finally:
        os.close(fd)


def pipe() -> tuple[int, int]:
    """Return (read end, write end) of a new pipe, both above the standard streams."""
    read_end, write_end = os.pipe()
    return move_up(read_end), move_up(write_end)


def check_left(count: int) -> None:
    """Raise OSError unless `count` more descriptors can be opened."""
    opened: list[int] = []
    try:
        while len(opened) < count:
            opened += os.pipe()
    finally:
        for fd in opened:
            os.close(fd)


def wait_ready(fds: Iterable[int], deadline: float | None, *, events: int = READ) -> set[int]:
    """Sleep until one of `fds` won't block, or `deadline` has come; return those that won't.

    `events` is READ or WRITE; `deadline` is on time.monotonic()'s clock. A hang-up or an error
    counts as ready: the read or write that follows tells which it was.
    """
    poller = select.poll()
    for fd in fds:
        poller.register(fd, events)
    if deadline is None:
        return {fd for fd, _ in poller.poll()}
    seconds = max(0.0, min(deadline - time.monotonic(), _LONGEST_WAIT))
    # Rounded up: waking a fraction of a millisecond early would spin until the time has come.
    return {fd for fd, _ in poller.poll(int(seconds * 1000 + 0.999))}
