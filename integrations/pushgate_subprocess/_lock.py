"""A lock file that keeps two runs of a job apart, even when the wrapper of the first was killed.

flock(2) belongs to the open file, which this process and all that inherit the descriptor share: the
lock lasts until `release`, or until the last of them has ended.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress

from pushgate import locked, open_private, unlock
from pushgate_subprocess._descriptors import move_up

# Scripts use the low numbers (`exec 3>&1`) and flock(1)'s manual uses 200; closing one of those
# by accident would lose the lock.
_OUT_OF_THE_WAY = (100, 10)


def acquire(path: str, *, wait_seconds: float = 0.0) -> int | None:
    """Lock the file `path`, made with mode 0600 if need be; return its descriptor.

    Returns None when another run still holds it after `wait_seconds`. The descriptor is closed
    on exec unless the command is told to inherit it. Our process id is noted in the file.

    Raises OSError when the file can't be opened, is a symbolic link or no regular file, or belongs
    to another user.
    """
    fd = locked(path, create=True, wait=wait_seconds)
    if fd is None:
        return None
    record(fd, os.getpid())
    for at_least in _OUT_OF_THE_WAY:
        with suppress(OSError):  # RLIMIT_NOFILE is lower
            copy = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, at_least)
            os.close(fd)
            return copy
    return move_up(fd)


def record(fd: int, *pids: int) -> None:
    """Note `pids` in the lock file `fd`, for a person who wonders who holds it.

    Leaves a file alone that holds anything else: a script may be its own lock.
    """
    with suppress(OSError):  # a full disk: the lock holds all the same
        if _only_pids(os.pread(fd, 65, 0)):
            os.ftruncate(fd, 0)
            os.pwrite(fd, b" ".join(b"%d" % pid for pid in pids) + b"\n", 0)


def holders(path: str) -> tuple[int, ...]:
    """Return the process ids noted in the lock file `path`, or () when there are none."""
    try:
        fd = open_private(path, os.O_RDONLY)
    except OSError:
        return ()
    try:
        content = os.pread(fd, 65, 0)
    finally:
        os.close(fd)
    return tuple(map(int, content.split())) if _only_pids(content) else ()


def _only_pids(content: bytes) -> bool:
    return len(content) < 65 and not content.strip(b"0123456789 \n")


def release(fd: int, *, inherited: bool = True) -> None:
    """Give the lock back, also for those that inherited `fd`: a daemon that the job left.

    Without `inherited` they keep it: what a time limit left of the job may still be at work.
    """
    if inherited:
        unlock(fd)
    else:
        os.close(fd)
