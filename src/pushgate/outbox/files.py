"""Files that hold our state: opened so that nobody else can have planted them."""

from __future__ import annotations

import errno
import os
import stat
import time
from contextlib import suppress

with suppress(ImportError):  # on Windows an Outbox refuses to be made
    import fcntl

TEMPORARY = ".new"  # ends the name of a file that is being written
_PAUSE, _LONGEST_PAUSE = 0.004, 0.25  # seconds, between two looks at a lock


def open_private(path: str | os.PathLike[str], flags: int, mode: int = 0o600) -> int:
    """Open a regular file that belongs to us or to root, without following a symbolic link.

    ``flags`` and ``mode`` are those of ``os.open``. Returns a descriptor that is closed on exec and
    does not block. Do not pass ``O_TRUNC``: it would act before the checks.

    Raises OSError: what ``os.open`` raises; ELOOP for a symbolic link, EINVAL for another kind of
    file, EPERM for the file of another user. ``strerror`` is a text for a person.
    """
    path = os.fspath(path)
    if not hasattr(os, "O_NOFOLLOW"):
        text = "no file can be opened safely on this system, which is not a POSIX system"
        raise OSError(errno.ENOTSUP, text, path)
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


def make_private_folder(path: str) -> None:
    """Make the folder ``path`` for us alone, unless it is there. Its parents are made as well.

    Raises OSError, whose ``strerror`` is a text for a person: also for a symbolic link, for a file,
    and for the folder of another user.
    """
    with suppress(FileNotFoundError):
        check_folder(path)
        return
    os.makedirs(path, mode=0o700, exist_ok=True)
    sync_folder(os.path.dirname(path))
    check_folder(path)


def check_folder(path: str) -> None:
    """Raise OSError if ``path`` is not a folder of ours or of root's."""
    try:
        found = os.lstat(path)
    except NotADirectoryError as error:
        error.strerror = "it is in a file, which is not a folder"
        raise
    if stat.S_ISLNK(found.st_mode):
        raise OSError(errno.ELOOP, "it is a symbolic link; name the folder itself", path)
    if not stat.S_ISDIR(found.st_mode):
        raise NotADirectoryError(errno.ENOTDIR, "it is not a folder", path)
    if found.st_uid not in (os.geteuid(), 0):
        raise PermissionError(errno.EPERM, "it belongs to another user", path)


def write_file(path: str, data: bytes) -> None:
    """Make the file ``path`` with this content, whole or not at all, also over a power cut.

    Its name survives a power cut only after :func:`sync_folder`. Raises OSError.
    """
    temporary = f"{path}{TEMPORARY}"
    fd = open_private(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    try:
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(fd, view) :]
            os.fsync(fd)
        finally:
            os.close(fd)
        os.rename(temporary, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise


def sync_folder(path: str) -> None:
    """Have the names in a folder survive a power cut. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some file systems can't
            raise
    finally:
        os.close(fd)


def locked(path: str, *, create: bool, wait: float) -> int | None:
    """A descriptor of the file ``path``, locked by flock(2): close it with :func:`unlock`.

    Returns None where another thread or process has the lock after ``wait`` seconds. The lock ends
    with its process. Raises OSError as :func:`open_private` does.
    """
    ends = time.monotonic() + wait
    while True:
        fd = open_private(path, os.O_RDWR | (os.O_CREAT if create else 0))
        try:
            is_ours = _flock(fd, ends)
            if is_ours and _is_still(path, fd):
                return fd
        except BaseException:
            os.close(fd)
            raise
        unlock(fd)  # if it was ours: somebody has removed the file meanwhile
        if not is_ours:
            return None


def unlock(fd: int) -> None:
    """End a lock. A fork may have a copy of the descriptor: closing it would not be enough."""
    with suppress(OSError):
        fcntl.flock(fd, fcntl.LOCK_UN)
    os.close(fd)


def _flock(fd: int, ends: float) -> bool:
    # flock(2) has no time limit but a signal, and signals are not ours to use in a thread of
    # another program.
    began = time.monotonic()
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            now = time.monotonic()
            if now >= ends:
                return False
            jitter = _PAUSE * (os.urandom(1)[0] + 64) / 320  # not all at the same moment
            time.sleep(min(max(jitter, (now - began) / 100), _LONGEST_PAUSE, ends - now))
        else:
            return True


def _is_still(path: str, fd: int) -> bool:
    try:
        return os.path.samestat(os.lstat(path), os.fstat(fd))
    except FileNotFoundError:
        return False
