"""Whether anything may wait, without a look into the database: what every push costs meanwhile.

Enters: a path. Leaves: a bool. A marker file lies beside the database while something waits in it:
made before the transaction ends that adds the first, removed after the one that takes the last. So
a crash leaves a marker too many at worst.

The database itself must not be opened for that: closing any descriptor of it would take away the
locks of SQLite in another thread. https://sqlite.org/howtocorrupt.html, section 2.2
"""

from __future__ import annotations

import os
from contextlib import suppress

__all__ = ("FILE_NAME", "is_empty", "mark", "unmark")

FILE_NAME = "outbox.sqlite3"
"""Of the database, in the state directory, where no other file was chosen."""


def is_empty(path: str) -> bool:
    """False also where that can't be told. Never raises."""
    return not (os.path.lexists(f"{path}.waiting") or os.path.lexists(f"{path}.spool"))


def mark(path: str) -> None:
    """Something waits, or will once the transaction has ended. Raises OSError."""
    try:
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
        os.close(os.open(f"{path}.waiting", flags, 0o600))
    except FileExistsError:
        return
    folder = os.open(os.path.dirname(path), os.O_RDONLY | os.O_CLOEXEC)
    try:  # a power cut must not take it and leave what is in the database
        os.fsync(folder)
    finally:
        os.close(folder)


def unmark(path: str) -> None:
    """Nothing waits in the database any more."""
    with suppress(OSError):
        os.unlink(f"{path}.waiting")
