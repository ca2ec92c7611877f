"""The outbox's file, opened for one piece of work at a time, whatever is wrong with it.

Enters: pieces of work. Leaves: what they return. Nothing that is wrong with the file is raised: it
is said, and there is another result for that case.
"""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, TypeVar

from ._claims import turn
from ._file import (
    UnusableError,
    check_kind,
    connect,
    is_corruption,
    is_locked,
    make_folder,
    move_aside,
)
from ._forks import no_fork
from ._peek import is_empty, mark, unmark
from ._said import say_once
from ._spool import is_spooling, read, remove, write
from ._store import transaction

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ._store import Store
    from ._values import Note

    Say = Callable[[str], object] | None

__all__ = ("Book",)

_WAIT = 2.0  # seconds, for other processes that write to the file
_TURN = 0.02  # seconds, for the same; then what is to be kept is written to a file of its own

T = TypeVar("T")


class Book:
    """The file ``path``. ``say`` gets lines, each once an hour; None is for the log."""

    def __init__(self, path: str, say: Say) -> None:
        self.path = path
        self._say = say

    @contextmanager
    def reading(self) -> Iterator[Store]:
        """A transaction that sees one state of the file. Raises FileNotFoundError without one."""
        with (
            no_fork(),
            connect(self.path, wait=_WAIT, create=False) as connection,
            transaction(connection, write=False) as store,
        ):
            yield store

    @contextmanager
    def writing(self, *, wait: float = _WAIT) -> Iterator[Store]:
        """A transaction whose changes are on disk when the block has ended.

        Waits up to ``wait`` seconds for its turn. What others have noted in files of their own goes
        into the database first.
        """
        check_kind(self.path)  # before there is a lock beside it
        make_folder(self.path)
        with turn(self.path, wait=wait), no_fork():
            notes, files = read(self.path)
            with (
                connect(self.path, wait=wait, create=True) as connection,
                transaction(connection, write=True) as store,
            ):
                for note in notes:
                    store.apply(note, time.time())
                yield store
                if is_left := not store.is_empty:
                    mark(self.path)
            if not is_left:
                unmark(self.path)
            remove(self.path, files)

    def record(self, notes: Sequence[Note]) -> bool:
        """Whether the notes are on disk now: all of them, or none."""

        def put() -> bool:
            try:
                with self.writing(wait=_TURN) as store:
                    for note in notes:
                        store.apply(note, time.time())
            except (TimeoutError, sqlite3.OperationalError) as error:
                if not is_locked(error):
                    raise
                write(self.path, notes)
            return True

        return self.tried(put, otherwise=False) if notes else True

    def absorb(self) -> None:
        """What others have noted in files of their own goes into the database."""
        if is_spooling(self.path):
            with self.writing():
                pass

    def tidy(self) -> None:
        """Take away the marker of a process that was killed before it did that."""
        if is_empty(self.path):
            return
        with self.reading() as store:
            is_done = store.is_empty
        if is_done:
            with self.writing():
                pass

    def tried(self, work: Callable[[], T], *, otherwise: T) -> T:
        """What ``work`` returns; ``otherwise`` where the file can't be used, which is said."""
        for is_last in (False, True):
            try:
                return work()
            except Exception as error:
                if not self._is_mended(error) or is_last:
                    return otherwise
        return otherwise

    def _is_mended(self, error: Exception) -> bool:
        """Say what is wrong with the file: whether there is room for a new one now."""
        if isinstance(error, sqlite3.Error) and is_corruption(error):
            try:
                with no_fork():
                    aside = move_aside(self.path)
            except (OSError, UnusableError) as trouble:
                error = trouble
            else:
                if aside is not None:
                    text = f"the outbox {self.path} is broken ({error}); it is now {aside}"
                    say_once(f"{text}, and a new one is begun", self._say)
                return True
        if isinstance(error, FileNotFoundError) and error.filename == self.path:
            with suppress(OSError), turn(self.path, wait=_TURN):
                if not os.path.exists(self.path):  # somebody has moved it aside, or removed it
                    unmark(self.path)
            return False
        if is_locked(error):
            return False  # nothing is lost: what is to be kept does not wait for it
        # Without the name of a lock file, with which the same would be said again and again.
        why = getattr(error, "strerror", None) or error
        say_once(
            f"the outbox {self.path} can't be used: {why}; what is not delivered is lost; set"
            " PUSHGATE_OUTBOX to a file of your own, or to off",
            self._say,
        )
        return False
