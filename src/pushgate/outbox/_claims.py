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

__all__ = ("claimed", "turn")

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


@contextmanager
def claimed(path: str, what: str) -> Iterator[bool]:
    """Claim ``what`` for the length of the block: False where another process or thread has it.

    Raises OSError where no claim can be made.
    """
    name = f"{path}.claim-{blake2b(what.encode(), digest_size=8).hexdigest()}"
    fd = _locked(name)
    try:
        yield fd is not None
    finally:
        if fd is not None:
            with suppress(OSError):
                os.unlink(name)
            with suppress(OSError):
                fcntl.flock(fd, fcntl.LOCK_UN)  # a fork may have a copy of the descriptor
            os.close(fd)


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
