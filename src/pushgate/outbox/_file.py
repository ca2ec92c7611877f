"""The outbox's file: made, opened, and moved aside where it is broken.

Enters: a path. Leaves: a connection to a database of ours, or :class:`UnusableError` with what to
change.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from ._claims import turn
from ._peek import FILE_NAME, unmark

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = (
    "UnusableError",
    "check_kind",
    "connect",
    "is_corruption",
    "is_locked",
    "make_folder",
    "move_aside",
)

_APPLICATION = 0x70676F00  # "pgo", and the version of the tables in the last byte
_VERSION = 1
_MAGIC = b"SQLite format 3\0"  # https://sqlite.org/fileformat.html
_WAIT = 2.0  # seconds
_PAGES = 65_536  # of 4 KiB: 256 MiB

_TABLES = (
    """CREATE TABLE groups (
        id INTEGER PRIMARY KEY, url TEXT NOT NULL, labels TEXT NOT NULL, version INTEGER NOT NULL,
        base TEXT, base_at REAL NOT NULL, since REAL NOT NULL,
        tries INTEGER NOT NULL DEFAULT 0, last_error TEXT, UNIQUE (url, labels))""",
    """CREATE TABLE families (
        group_id INTEGER NOT NULL, name TEXT NOT NULL, kind TEXT NOT NULL, body BLOB NOT NULL,
        at REAL NOT NULL, PRIMARY KEY (group_id, name)) WITHOUT ROWID""",
    """CREATE TABLE unanswered (
        id INTEGER PRIMARY KEY, group_id INTEGER NOT NULL, name TEXT NOT NULL,
        fingerprint TEXT NOT NULL)""",
    "CREATE INDEX unanswered_of ON unanswered (group_id, name)",
    "CREATE TABLE pauses (url TEXT PRIMARY KEY, until REAL NOT NULL) WITHOUT ROWID",
)


class UnusableError(Exception):
    """The file can't be used; the text names it and says what to change."""


@contextmanager
def connect(path: str, *, wait: float, create: bool) -> Iterator[sqlite3.Connection]:
    """A connection in autocommit mode, for one piece of work.

    ``wait``, in seconds, is for locks of others. Raises UnusableError, also FileNotFoundError where
    there is no file and ``create`` is False; inside the block, sqlite3.Error.
    """
    if create:
        _create(path)
    elif not os.path.exists(path):
        raise FileNotFoundError(errno.ENOENT, "there is no outbox", path)
    check_kind(path)
    if not os.access(path, os.R_OK):  # SQLite would not say why
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
    # mode=rw: SQLite would make a missing file with the mode of the umask.
    uri = f"file:{_quoted(path)}?mode=rw"
    connection = sqlite3.connect(uri, timeout=wait, isolation_level=None, uri=True)
    try:
        _prepare(connection, path)
        yield connection
    finally:
        connection.close()


def is_locked(error: BaseException) -> bool:
    """Whether others use the file, and it may be free later."""
    return isinstance(error, TimeoutError) or (
        isinstance(error, sqlite3.OperationalError) and "locked" in str(error)
    )


def check_kind(path: str) -> None:
    """Raise UnusableError where ``path`` is there and can't be a database, as a device can't."""
    if os.path.exists(path) and not os.path.isfile(path):
        raise UnusableError(f"{path} is not a regular file")


def make_folder(path: str) -> None:
    """Make the folder that the file ``path`` is in. Raises OSError, UnusableError."""
    folder = os.path.dirname(path)
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
    except FileExistsError:
        raise UnusableError(f"{folder} is not a directory") from None


def _create(path: str) -> None:
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
    with suppress(FileExistsError):
        os.close(os.open(path, flags, 0o600))


def _quoted(path: str) -> str:
    from urllib.parse import quote

    return quote(os.fsencode(path))


def _prepare(connection: sqlite3.Connection, path: str) -> None:
    connection.execute(f"PRAGMA max_page_count = {_PAGES}")
    connection.execute("PRAGMA synchronous = FULL")
    if _is_ours(connection, path):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        if not _is_ours(connection, path):  # another process may have been quicker
            for table in _TABLES:
                connection.execute(table)
            connection.execute(f"PRAGMA application_id = {_APPLICATION + _VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


def _is_ours(connection: sqlite3.Connection, path: str) -> bool:
    """False for an empty file."""
    (found,) = connection.execute("PRAGMA application_id").fetchone()
    if found == _APPLICATION + _VERSION:
        return True
    if found & ~0xFF == _APPLICATION:
        raise UnusableError(
            f"{path} is of another version of pushgate, and is left alone; upgrade this"
        )
    if found or connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        raise UnusableError(f"{path} is a database of something else")
    return False


def is_corruption(error: sqlite3.Error) -> bool:
    """Whether the file's content is to blame, rather than a lock, the disk or our code."""
    text = str(error)
    return type(error) is sqlite3.DatabaseError and ("malformed" in text or "not a da" in text)


def move_aside(path: str) -> str | None:
    """Rename a broken file: its new name, or None where another process has done it already.

    Raises OSError, and UnusableError where the file is none of ours.
    """
    with turn(path, wait=_WAIT):
        try:
            with connect(path, wait=_WAIT, create=False) as connection:
                if connection.execute("PRAGMA integrity_check(1)").fetchone() == ("ok",):
                    return None
        except (UnusableError, FileNotFoundError):
            return None
        except sqlite3.Error as error:
            if not is_corruption(error):
                raise OSError(errno.EIO, str(error)) from error
        if not _was_ours(path):
            raise UnusableError(f"{path} is no outbox, and is left alone")
        aside = _free_name(f"{path}.corrupt-{int(time.time())}")
        with suppress(FileNotFoundError):  # it belongs to the old file, and would spoil the new one
            os.rename(f"{path}-journal", f"{aside}-journal")
        os.rename(path, aside)
        unmark(path)
        return aside


def _was_ours(path: str) -> bool:
    """Not what a setting names by mistake: that may be any file of the system's."""
    if os.path.basename(path) == FILE_NAME:
        return True
    with open(path, "rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC


def _free_name(name: str) -> str:
    number, free = 1, name
    while os.path.lexists(free):
        number, free = number + 1, f"{name}.{number}"
    return free
