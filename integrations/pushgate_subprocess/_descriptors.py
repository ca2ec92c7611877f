"""File descriptors that stay out of the command's way, and waiting for them without polling."""

from __future__ import annotations

import os
import select
import sys
import time
from _thread import start_new_thread
from fcntl import F_DUPFD_CLOEXEC, fcntl
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

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


def wait_ready(interest: Mapping[int, int], deadline: float | None) -> set[int]:
    """Sleep until one of the descriptors won't block, or `deadline` has come; return those.

    `interest` is READ or WRITE by descriptor; `deadline` is on time.monotonic()'s clock. A hang-up
    or an error counts as ready: the read or write that follows tells which it was.
    """
    poller = select.poll()
    for fd, events in interest.items():
        poller.register(fd, events)
    if deadline is None:
        return {fd for fd, _ in poller.poll()}
    seconds = max(0.0, min(deadline - time.monotonic(), _LONGEST_WAIT))
    # Rounded up: waking a fraction of a millisecond early would spin until the time has come.
    return {fd for fd, _ in poller.poll(int(seconds * 1000 + 0.999))}


def exit_descriptor(pid: int, spare: tuple[int, int]) -> int:
    """Return a descriptor that turns readable when the child `pid` ends, without reaping it.

    `spare` is a `pipe` from before the child was started, so that running out of descriptors
    fails when nothing runs yet; this function uses or closes it.
    """
    read_end, write_end = spare
    if sys.platform != "darwin":
        try:
            pidfd = move_up(os.pidfd_open(pid))
        except OSError:
            pass  # before Linux 5.3, or a container's seccomp profile forbids it
        else:
            os.close(read_end)
            os.close(write_end)
            return pidfd
    try:
        start_new_thread(_announce_exit, (pid, write_end))
    except RuntimeError:  # no thread to be had: readable at once, and wait4 sleeps instead
        os.close(write_end)
    return read_end


def _announce_exit(pid: int, write_end: int) -> None:
    """Write to and close `write_end`, which this thread owns, once the child has ended."""
    try:
        if sys.platform == "darwin":  # where waitid came with Python 3.13
            queue = select.kqueue()
            watch = select.kevent(pid, select.KQ_FILTER_PROC, select.KQ_EV_ADD, select.KQ_NOTE_EXIT)
            queue.control([watch], 1)
            queue.close()
        else:
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    except OSError:
        # ECHILD and ESRCH mean that it is already gone. macOS reports ESRCH for a child that has
        # exited and is not reaped yet: https://github.com/libuv/libuv/pull/3451
        pass
    os.write(write_end, b"x")
    os.close(write_end)
