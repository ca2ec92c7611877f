"""Files that hold our state: opened so that nobody else can have planted them."""

from __future__ import annotations

import errno
import os
import stat

__all__ = ("open_private",)


def open_private(path: str | os.PathLike[str], flags: int, mode: int = 0o600) -> int:
    """Open a regular file that belongs to us or to root, without following a symbolic link.

    ``flags`` and ``mode`` are those of ``os.open``. Returns a descriptor that is closed on exec and
    does not block. Do not pass ``O_TRUNC``: it would act before the checks.

    Raises OSError: what ``os.open`` raises; ELOOP for a symbolic link, EINVAL for another kind of
    file, EPERM for the file of another user. ``strerror`` is a text for a person.
    """
    path = os.fspath(path)
    # O_NONBLOCK: opening a FIFO must not wait for its other end.
    safe = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        fd = os.open(path, flags | safe, mode)
    except OSError as error:
        if error.errno == errno.ELOOP:
            error.strerror = "it is a symbolic link"
        raise
    found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode):
        os.close(fd)
        raise OSError(errno.EINVAL, "it is not a regular file", path)
    if found.st_uid not in (os.geteuid(), 0):
        os.close(fd)
        raise PermissionError(errno.EPERM, "it belongs to another user", path)
    return fd
