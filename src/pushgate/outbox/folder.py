"""The outbox's folder: for each gateway and group some files, and for each gateway and user a lock.

A file is written once, under a name of its own, and never changed: so whoever stores something
waits for nobody. Files are taken away only by the process that holds the gateway's lock. A file
that is broken, or that somebody planted, is moved aside and logged: it costs its own group only.
Files of other names are left alone: a user's own folder may have been named by mistake. So are
those of other users, who may share a folder of root's.
"""

from __future__ import annotations

import errno
import os
import re
import time
from contextlib import contextmanager, suppress
from functools import reduce
from typing import TYPE_CHECKING, TypeVar

from ..errors import DeliveryError, PushError
from .failure_texts import waiting_error
from .files import (
    TEMPORARY,
    check_folder,
    locked,
    make_private_folder,
    open_private,
    sync_folder,
    unlock,
    write_file,
)
from .record import SUFFIX, OtherVersionError, Record, url_prefix

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ..log import RateLimitedLogger

T = TypeVar("T")

_MOST_FILES = 10_000
_MOST_BYTES = 256 * 1024**2
_MOST_OF_A_GROUP = 8  # files; then they are merged into one
_LONG_WAIT = 5.0  # seconds, for another process that delivers
_ABANDONED = 60.0  # seconds; a file that is written for so long has lost its writer
_NAME = re.compile(rf"[0-9a-f]{{12}}-[0-9a-f]{{32}}\.[0-9a-f-]+{re.escape(SUFFIX)}")
_PLANTED = (errno.ELOOP, errno.EINVAL, errno.EISDIR, errno.ENXIO, errno.EPERM)


class Folder:
    """The folder ``path``, which need not exist. Most methods raise OSError."""

    def __init__(self, path: str, log: RateLimitedLogger) -> None:
        self.path = path
        self._log = log
        self._of_others: set[str] = set()  # files of another version or user that were met

    def attempt(self, work: Callable[[], T], *, is_lost: bool = False) -> T | None:
        """What ``work`` returns. None where it fails, which is logged.

        ``is_lost``: what was to be stored is then lost.
        """
        try:
            return work()
        except Exception as error:
            self.log_failure(error, is_lost=is_lost)
        return None

    def log_failure(self, error: Exception, *, is_lost: bool = False) -> None:
        """Log what failed here; ``is_lost``: so what was to be stored is lost."""
        if isinstance(error, PushError):
            self._log.warning(f"the outbox {self.path} can't hold a push, which is lost: {error}")
            return
        why = getattr(error, "strerror", None) or error
        fate = "what is not delivered is lost" if is_lost else "what waits there stays"
        advice = "set PUSHGATE_OUTBOX to a folder of your own, or to off"
        self._log.warning(f"the outbox {self.path} can't be used: {why}; {fate}; {advice}")

    def names(self, prefix: str = "") -> list[str]:
        """The files in which something waits and whose names begin so, the oldest of a group first.

        ``prefix`` is that of a gateway or of a group. Without those that :meth:`load` has found to
        be of another version or user.
        """
        found = self._all_names().difference(self._of_others)
        return sorted(n for n in found if n.startswith(prefix) and _NAME.fullmatch(n))

    def load(self, prefix: str) -> list[tuple[Record, list[str]]]:
        """What waits for each group of :meth:`names`, and the files that say so."""
        while True:
            groups: dict[str, list[str]] = {}
            for name in self.names(prefix):
                groups.setdefault(name.partition(".")[0], []).append(name)
            with suppress(FileNotFoundError):  # it was delivered meanwhile, or merged: look again
                joined = [self._joined(names) for names in groups.values()]
                return [(record, names) for record, names in joined if record is not None]

    def add(self, record: Record) -> str:
        """Write a further file; return its name.

        The file is on disk when this returns. Its name survives a power cut after :meth:`sync`.
        """
        make_private_folder(self.path)
        data = record.to_bytes()
        self._refuse_too_much(len(data))
        name = f"{record.stem}.{time.time_ns()}-{os.urandom(4).hex()}{SUFFIX}"
        write_file(self._path(name), data)
        return name

    def replace(self, names: Iterable[str], record: Record) -> None:
        """Write ``record``, if it says anything, and remove the files ``names``: it is in place of
        them. The gateway's lock must be held."""
        if not record.is_empty:
            self.add(record)
            self.sync()
        self.remove(names)

    def remove(self, names: Iterable[str]) -> None:
        """Remove files, in this order. The gateway's lock must be held."""
        for name in names:
            with suppress(FileNotFoundError):
                os.unlink(self._path(name))

    def merge(self, url: str, stem: str) -> None:
        """Have a group's files stay few; does nothing while another process has the lock."""
        if len(self.names(stem)) > _MOST_OF_A_GROUP:
            with suppress(DeliveryError), self.locked(url):
                for record, names in self.load(stem):
                    self.replace(names, record)

    def readdress(self, old_url: str, new_url: str) -> None:
        """Have what waits for ``old_url`` wait for ``new_url``.

        Raises DeliveryError while another process delivers it.
        """
        with self.locked(old_url, wait=_LONG_WAIT):
            for record, names in self.load(url_prefix(old_url)):
                self.replace(names, record._replace(url=new_url))

    def sync(self) -> None:
        """Have new files survive a power cut."""
        sync_folder(self.path)

    def tidy(self) -> None:
        """Remove what killed writers have left."""
        for name in self._all_names():
            if name.endswith(TEMPORARY) and _NAME.match(name):
                with suppress(OSError):
                    age = time.time() - os.lstat(self._path(name)).st_mtime
                    if not -_ABANDONED < age < _ABANDONED:
                        os.unlink(self._path(name))

    @contextmanager
    def locked(self, url: str, *, wait: float = 0.0) -> Iterator[int]:
        """The lock of the one that delivers to a gateway what this user has on this host.

        Raises DeliveryError where another process has it after ``wait`` seconds.
        """
        check_folder(self.path)
        name = f"{url_prefix(url)}lock-{os.geteuid()}"
        try:
            fd = locked(self._path(name), create=True, wait=wait)
        except OSError as error:
            self._refuse_planted(name, error)
            fd = locked(self._path(name), create=True, wait=wait)
        if fd is None:
            text = "another process of this host is delivering what waits in the outbox"
            raise waiting_error(text, url)
        try:
            yield fd
        finally:
            unlock(fd)

    def _all_names(self) -> set[str]:
        try:
            check_folder(self.path)
            return set(os.listdir(self.path))
        except FileNotFoundError:
            return set()

    def _joined(self, names: list[str]) -> tuple[Record | None, list[str]]:
        """The record that all of these make, and those of them that could be read."""
        now = time.time()
        read = [(name, record) for name in names if (record := self._read(name)) is not None]
        if not read:
            return None, []
        # What was stored before the clock was set back is older than all else.
        records = sorted((record for _, record in read), key=lambda record: record.since <= now)
        return reduce(lambda one, more: one.joined(more, now), records), [name for name, _ in read]

    def _read(self, name: str) -> Record | None:
        """None for a file that had to be moved aside, or is of another version or user."""
        try:
            fd = open_private(self._path(name), os.O_RDONLY)
        except OSError as error:
            if os.lstat(self._path(name)).st_uid == os.geteuid():
                self._refuse_planted(name, error)
            else:
                if error.errno not in (errno.EPERM, errno.EACCES):  # of who shares the folder
                    text = f"can't be used: {error.strerror}; it is another user's, and stays"
                    self._log.warning(f"in the outbox, {self._path(name)} {text}")
                self._of_others.add(name)
            return None
        try:
            with open(fd, "rb") as file:
                record = Record.from_bytes(file.read())
        except OtherVersionError:
            text = "holds files of another version of pushgate; what waits in them stays"
            self._log.warning(f"the outbox {self.path} {text}")
            self._of_others.add(name)
            return None
        if record is not None and name.startswith(record.stem):
            return record
        self._move_aside(name, "it is broken")
        return None

    def _refuse_too_much(self, size: int) -> None:
        """Raise OSError where the folder would grow over its bounds."""
        is_small = size <= _MOST_BYTES // _MOST_FILES  # so many of these are within both bounds
        total = 0
        with os.scandir(self.path) as entries:
            for number, entry in enumerate(entries, 1):
                if number > _MOST_FILES:
                    raise OSError(errno.ENOSPC, f"it is full: it holds {_MOST_FILES} files")
                if not is_small:
                    with suppress(FileNotFoundError):
                        total += entry.stat(follow_symlinks=False).st_size
        if total + size > _MOST_BYTES:
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
