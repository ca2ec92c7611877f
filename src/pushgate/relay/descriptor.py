"""A file descriptor that is closed only as long as it is ours.

A forked child may have closed everything that it inherited, as Celery's embedded beat does, and the
number may be that of its next socket.
"""

from __future__ import annotations

from contextlib import suppress

with suppress(ImportError):  # on Windows, as in relay.py
    import fcntl
    import posix

__all__ = ("CLEAR_OF", "Descriptor", "move_up")

CLEAR_OF = 10  # ours are not below, so that a child's can be set without replacing one of ours


class Descriptor:
    """The owner of ``number``, which is -1 once that was closed or lost."""

    __slots__ = ("_identity", "number")

    def __init__(self, number: int) -> None:
        self.number = number
        self._identity = _identity(number)

    def check(self) -> bool:
        """Whether the number still means what it meant; if not, it is forgotten."""
        if self.number >= 0 and _identity(self.number) == self._identity:
            return True
        self.number = -1
        return False

    def close(self) -> None:
        """Close it, if it is ours."""
        if self.check():
            number, self.number = self.number, -1
            posix.close(number)


def move_up(number: int) -> int:
    """A duplicate that is not below CLEAR_OF, closed on exec; ``number`` itself is closed."""
    try:
        return fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, CLEAR_OF)
    finally:
        posix.close(number)


def _identity(number: int) -> tuple[int, int] | None:
    try:
        status = posix.fstat(number)
    except OSError:
        return None
    return status.st_dev, status.st_ino
