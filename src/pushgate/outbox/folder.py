"""The outbox's folder: a file for each gateway and group, and a lock for the one that delivers.

A file is replaced as a whole, under a lock of its own that lasts for milliseconds. A file that is
broken, or that somebody planted, is moved aside and logged: it costs its own group only.
"""

from __future__ import annotations

import errno
import os
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, TypeVar

from ..errors import PushError
from .files import (
    TEMPORARY,
    check_folder,
    locked,
    make_private_folder,
    open_private,
    replace_file,
    sync_folder,
    unlock,
)
from .record import SUFFIX, BrokenFileError, OtherVersionError, Record, url_prefix

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..log import RateLimitedLogger

__all__ = ("DeliveryLock", "Folder")

T = TypeVar("T")

_WAIT = 3.0  # seconds, for others that write to the same file
_MOST_FILES = 10_000
_MOST_BYTES = 256 * 1024**2
_ABANDONED = 60.0  # seconds; a file that is written for so long has lost its writer
_PLANTED = (errno.ELOOP, errno.EINVAL, errno.EISDIR, errno.ENXIO, errno.EPERM)
_LONGEST_PAUSE = 600.0  # seconds; a pause that ends later was noted by a clock that was set back


class Folder:
    """The folder ``path``, which need not exist. All methods but ``attempt`` raise OSError."""

    def __init__(self, path: str, log: RateLimitedLogger) -> None:
        self.path = path
        self._log = log

    def attempt(self, work: Callable[[], T], *, is_lost: bool = False) -> T | None:
        """What ``work`` returns. None where it fails, which is logged.

        ``is_lost``: what was to be stored is then lost.
        """
        try:
            return work()
        except PushError as error:
            self._log.warning(f"the outbox {self.path} can't hold a push, which is lost: {error}")
        except Exception as error:
            why = getattr(error, "strerror", None) or error
            fate = "what is not delivered is lost" if is_lost else "what waits there stays"
            advice = "set PUSHGATE_OUTBOX to a folder of your own, or to off"
            self._log.warning(f"the outbox {self.path} can't be used: {why}; {fate}; {advice}")
        return None

    def names(self, url: str | None = None) -> list[str]:
        """The files in which something waits, for one gateway or for any."""
        prefix = "" if url is None else url_prefix(url)
        return [n for n in self._all_names() if n.startswith(prefix) and n.endswith(SUFFIX)]

    def has(self, name: str) -> bool:
        """Whether something may wait in the file ``name``."""
        return os.path.lexists(self._path(name))

    def read(self, name: str) -> tuple[Record | None, bytes]:
        """What waits in a file, and the file's content. None where nothing does."""
        data = b""
        try:
            fd = open_private(self._path(name), os.O_RDONLY)
            try:
                data = _content(fd)
            finally:
                os.close(fd)
            return self._parsed(name, data), data
        except FileNotFoundError:
            return None, b""
        except BrokenFileError:
            with self._locked(name, create=False) as locked_fd:
                if locked_fd is not None and _content(locked_fd) == data:
                    self._move_aside(name, "it is broken")
        except OSError as error:
            self._refuse_planted(name, error)
        return None, b""

    def update(
        self,
        name: str,
        change: Callable[[Record | None], Record | None],
        *,
        create: bool = True,
    ) -> None:
        """Replace what waits in a file by what ``change`` makes of it.

        It gets None where nothing waits; where that is so and ``create`` is False, it is not
        called. On disk when this returns; a new file only after :meth:`sync`.
        """
        if create:
            make_private_folder(self.path)
        while True:
            with self._locked(name, create=create) as fd:
                if fd is None:
                    return
                data = _content(fd)
                try:
                    before = self._parsed(name, data)
                except BrokenFileError:
                    self._move_aside(name, "it is broken")
                    continue
                try:
                    after = change(before) if create or before else None
                    if after is not None and not after.is_empty:
                        if after != before:
                            self._write(name, after.to_bytes(), len(data))
                        return
                except BaseException:
                    if not data:
                        with suppress(OSError):
                            os.unlink(self._path(name))
                    raise
                os.unlink(self._path(name))
                return

    def remove(self, name: str, content: bytes) -> bool:
        """Remove a file: whether it still had this content. Gone is gone."""
        with self._locked(name, create=False) as fd:
            if fd is None:
                return True
            if _content(fd) != content:
                return False
            os.unlink(self._path(name))
            return True

    def sync(self) -> None:
        """Have new files survive a power cut."""
        sync_folder(self.path)

    def tidy(self) -> None:
        """Remove what killed writers have left."""
        for name in self._all_names():
            path = self._path(name)
            with suppress(OSError):
                if name.endswith(TEMPORARY):
                    age = time.time() - os.lstat(path).st_mtime
                    if not -_ABANDONED < age < _ABANDONED:
                        os.unlink(path)
                elif name.endswith(SUFFIX) and os.lstat(path).st_size == 0:
                    self.remove(name, b"")

    def delivering(self, url: str, *, wait: float = 0.0) -> DeliveryLock | None:
        """The lock of the one on this host that delivers to a gateway, to be used in ``with``.

        None where another one has it after ``wait`` seconds.
        """
        check_folder(self.path)
        fd = self._lock(f"{url_prefix(url)}lock", create=True, wait=wait)
        return None if fd is None else DeliveryLock(fd)

    def _all_names(self) -> list[str]:
        try:
            check_folder(self.path)
            return sorted(os.listdir(self.path))
        except FileNotFoundError:
            return []

    @contextmanager
    def _locked(self, name: str, *, create: bool) -> Iterator[int | None]:
        """None where there is no file and ``create`` is False."""
        try:
            fd = self._lock(name, create=create, wait=_WAIT)
        except FileNotFoundError:
            if create:  # the whole folder was removed
                raise
            yield None
            return
        if fd is None:
            raise TimeoutError(errno.ETIMEDOUT, "other processes write to it all the time")
        try:
            yield fd
        finally:
            unlock(fd)

    def _lock(self, name: str, *, create: bool, wait: float) -> int | None:
        try:
            return locked(self._path(name), create=create, wait=wait)
        except OSError as error:
            self._refuse_planted(name, error)
        return locked(self._path(name), create=create, wait=wait)

    def _parsed(self, name: str, data: bytes) -> Record | None:
        """Raises BrokenFileError; OSError for a file of another version."""
        if not data:  # its writer is at it, or was killed
            return None
        try:
            record = Record.from_bytes(data)
        except OtherVersionError:
            text = f"{name} is of another version of pushgate, and is left alone"
            raise OSError(errno.EPROTO, text) from None
        if record.file_name != name:
            raise BrokenFileError
        return record

    def _write(self, name: str, data: bytes, size_before: int) -> None:
        self._refuse_too_much(len(data), size_before)
        replace_file(self._path(name), data)

    def _refuse_too_much(self, size: int, size_before: int) -> None:
        """Raise OSError where the folder would grow over its bounds."""
        is_small = size <= _MOST_BYTES // _MOST_FILES  # so many of these are within both bounds
        if size <= size_before or (size_before and is_small):
            return
        total = 0
        with os.scandir(self.path) as entries:
            for number, entry in enumerate(entries, 1):
                if number > _MOST_FILES + 1:  # the new one is there already, and empty
                    raise OSError(errno.ENOSPC, f"it is full: it holds {_MOST_FILES} files")
                if not is_small:
                    with suppress(FileNotFoundError):
                        total += entry.stat(follow_symlinks=False).st_size
        if total - size_before + size > _MOST_BYTES:
            raise OSError(errno.ENOSPC, f"it is full: it may hold {_MOST_BYTES >> 20} MiB")

    def _refuse_planted(self, name: str, error: OSError) -> None:
        """Move a file aside that cannot be ours. Raises other errors."""
        if error.errno not in _PLANTED:
            raise error
        self._move_aside(name, error.strerror or "it can't be opened")

    def _move_aside(self, name: str, reason: str) -> None:
        aside = f"{self._path(name)}.aside-{time.time_ns()}"
        os.rename(self._path(name), aside)
        fate = ", and what waited in it is lost" if name.endswith(SUFFIX) else ""
        line = f"in the outbox, {self._path(name)} can't be used: {reason}; it is now {aside}{fate}"
        self._log.warning(line)

    def _path(self, name: str) -> str:
        return os.path.join(self.path, name)


class DeliveryLock:
    """Held while delivering to one gateway. Its file holds until when nobody needs to try again."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def __enter__(self) -> DeliveryLock:
        return self

    def __exit__(self, *_: object) -> None:
        unlock(self._fd)

    def pauses(self, now: float) -> bool:
        """Whether it is too early for a flush that nobody has asked for."""
        try:
            until = float(_content(self._fd))
        except ValueError:
            return False
        return now < until <= now + _LONGEST_PAUSE

    def pause(self, until: float) -> None:
        """Note the time, in Unix seconds, before which no such flush is needed."""
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, b"%.3f" % until, 0)


def _content(fd: int) -> bytes:
    return os.pread(fd, os.fstat(fd).st_size, 0)
