"""Who delivers: one at a time for each group, and one flush at a time for each gateway.

Enters: the outbox's path and what is to be claimed. Leaves: a lock file beside it, while the claim
lasts. A lock of flock(2) ends with its process, however that ends, so that no clock has to say
when; and unlike a note in the database it costs no write to the disk.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from contextlib import contextmanager, suppress
from hashlib import blake2b
from random import uniform
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ("Claim", "claimed", "turn")

_LONGEST_PAUSE = 0.004  # seconds
_TAKEN = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)


@contextmanager
def turn(path: str, *, wait: float) -> Iterator[None]:
    """Wait for the turn to write to the file, for the length of the block.

    SQLite would wait as well, but in pauses of up to 100 ms, in which those that have just begun go
    first: of twenty processes that write all the time, some would wait for ever. Raises
    TimeoutError after ``wait`` seconds, OSError where there can be no lock.
    """
    fd = os.open(f"{path}.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    ends = time.monotonic() + wait
    try:
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as error:
                if error.errno not in _TAKEN:
                    raise
            if time.monotonic() >= ends:
                raise TimeoutError(errno.ETIMEDOUT, "other processes write to it all the time")
            time.sleep(uniform(_LONGEST_PAUSE / 4, _LONGEST_PAUSE))  # noqa: S311 - no secret
        yield
    finally:
        with suppress(OSError):
            fcntl.flock(fd, fcntl.LOCK_UN)  # a fork may have a copy of the descriptor
        os.close(fd)


class Claim:
    """What one has claimed. ``left`` is what the one before had noted when it was killed."""

    def __init__(self, name: str, fd: int) -> None:
        self._name = name
        self._fd = fd
        self.left = _content(fd)

    def note(self, text: bytes) -> None:
        """Leave ``text`` in place of ``left`` for the next one, unless ``settle`` is called.

        It outlives this process, but not a power cut, since it is not synced. Raises OSError.
        """
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, text, 0)
        self.left = text

    def settle(self) -> None:
        """Leave nothing."""
        self.left = b""

    def release(self) -> None:
        """End it."""
        if not self.left:
            with suppress(OSError):
                os.unlink(self._name)
        with suppress(OSError):
            fcntl.flock(self._fd, fcntl.LOCK_UN)  # a fork may have a copy of the descriptor
        os.close(self._fd)


@contextmanager
def claimed(path: str, what: str) -> Iterator[Claim | None]:
    """Claim ``what`` for the length of the block: None where another process or thread has it.

    Raises OSError where no claim can be made.
    """
    name = f"{path}.claim-{blake2b(what.encode(), digest_size=8).hexdigest()}"
    fd = _locked(name)
    claim = None if fd is None else Claim(name, fd)
    try:
        yield claim
    finally:
        if claim is not None:
            claim.release()


def _content(fd: int) -> bytes:
    with suppress(OSError):
        return os.pread(fd, os.fstat(fd).st_size, 0)
    return b""


def _locked(name: str) -> int | None:
    while True:
        fd = os.open(name, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_still(name, fd):
                return fd
        except OSError as error:
            os.close(fd)
            if error.errno in _TAKEN:
                return None
            raise
        os.close(fd)  # whose claim it was had just removed it


def _is_still(name: str, fd: int) -> bool:
    try:
        return os.path.samestat(os.stat(name), os.fstat(fd))
    except FileNotFoundError:
        return False
