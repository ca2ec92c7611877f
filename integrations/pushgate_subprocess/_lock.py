"""A lock file that keeps two runs of a job apart, even when the wrapper of the first was killed.

flock(2) belongs to the open file, which this process and all that inherit the descriptor share: the
lock lasts until `release`, or until the last of them has ended.
"""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import suppress

from pushgate import open_private
from pushgate_subprocess._descriptors import move_up

# Scripts use the low numbers (`exec 3>&1`) and flock(1)'s manual uses 200; closing one of those
# by accident would lose the lock.
_OUT_OF_THE_WAY = 100

_FIRST_PAUSE = 0.01
_LONGEST_PAUSE = 0.25


def acquire(path: str | os.PathLike[str], *, wait_seconds: float = 0.0) -> int | None:
    """Lock the file `path`, made with mode 0600 if need be; return its descriptor.

    Returns None when another run still holds it after `wait_seconds`. The descriptor is closed
    on exec unless the command is told to inherit it. Our process id is noted in the file.

    Raises OSError when the file can't be opened, is a symbolic link or no regular file, or belongs
    to another user.
    """
    deadline = time.monotonic() + wait_seconds
    while True:
        fd = open_private(path, os.O_RDWR | os.O_CREAT)
        try:
            is_locked = try_lock(fd, deadline)
            is_current = is_locked and _is_at(path, fd)
        except BaseException:
            os.close(fd)
            raise
        if is_current:
            record(fd, os.getpid())
            return _out_of_the_way(fd)
        os.close(fd)
        if not is_locked:
            return None
        # A cleaner removed the file while we waited: the next run has locked another one.


def _is_at(path: str | os.PathLike[str], fd: int) -> bool:
    try:
        return os.path.samestat(os.lstat(path), os.fstat(fd))
    except FileNotFoundError:
        return False


def try_lock(fd: int, deadline: float) -> bool:
    """Lock the open file or folder `fd`; whether that was done by `deadline`. Raises OSError."""
    # flock(2) has no time limit but a signal, and signals are not ours to use in a thread of
    # another program; so this asks again, at most four times a second.
    pause = _FIRST_PAUSE
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            time.sleep(min(pause, left))
            pause = min(pause * 2, _LONGEST_PAUSE)
        else:
            return True


def _out_of_the_way(fd: int) -> int:
    for at_least in (_OUT_OF_THE_WAY, 10):
        try:
            copy = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, at_least)
        except OSError:  # RLIMIT_NOFILE is lower
            continue
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


def holders(path: str | os.PathLike[str]) -> tuple[int, ...]:
    """Return the process ids noted in the lock file `path`, or () when there are none."""
    try:
        fd = open_private(path, os.O_RDONLY)
    except OSError:
        return ()
    try:
        content = os.pread(fd, 65, 0)
    finally:
        os.close(fd)
    return tuple(int(pid) for pid in content.split()) if _only_pids(content) else ()


def _only_pids(content: bytes) -> bool:
    return len(content) < 65 and not content.strip(b"0123456789 \n")


def release(fd: int, *, inherited: bool = True) -> None:
    """Give the lock back, also for those that inherited `fd`: a daemon that the job left.

    Without `inherited` they keep it: what a time limit left of the job may still be at work.
    """
    try:
        if inherited:
            fcntl.flock(fd, fcntl.LOCK_UN)
    finally:
        os.close(fd)
