"""A file descriptor that is closed or written only as long as it is ours.

A task or a forked child may have closed everything that it inherited, as Celery's embedded beat
does, and the number may be that of its next socket.
"""

from __future__ import annotations

from contextlib import suppress

with suppress(ImportError):  # on Windows, as in relay.py
    import fcntl
    import posix
    import resource

_FAR_UP = 500  # a process that closed our descriptor opens so many before it has its number again


class Descriptor:
    """The owner of ``number``, which is -1 once that was closed or lost."""

    __slots__ = ("_identity", "_path", "number")

    def __init__(self, number: int) -> None:
        self.number = number
        self._identity = _identity(number)
        self._path = f"/proc/{posix.getpid()}/fd/{number}" if number >= 0 else ""

    def check(self) -> bool:
        """Whether the number still means what it meant; if not, it is forgotten."""
        if self.number >= 0 and _identity(self.number) == self._identity:
            return True
        self.number = -1
        return False

    def reopen(self) -> bool:
        """In a child that lost a pipe's write end: open it again by that of its first process.

        Whether that was done. https://man7.org/linux/man-pages/man5/proc_pid_fd.5.html
        """
        with suppress(OSError):
            number = move_up(posix.open(self._path, posix.O_WRONLY | posix.O_NONBLOCK))
            if _identity(number) == self._identity:
                self.number = number
                return True
            posix.close(number)
        return False

    def close(self) -> None:
        """Close it for good, if it is ours."""
        self._path = ""
        if self.check():
            number, self.number = self.number, -1
            posix.close(number)


def move_up(number: int) -> int:
    """A duplicate with a high number, closed on exec; ``number`` itself is closed."""
    try:
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        lowest = _FAR_UP if limit < 0 else min(_FAR_UP, limit // 2)
        return fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, lowest)
    finally:
        posix.close(number)


def _identity(number: int) -> tuple[int, int] | None:
    try:
        status = posix.fstat(number)
    except OSError:
        return None
    return status.st_dev, status.st_ino
