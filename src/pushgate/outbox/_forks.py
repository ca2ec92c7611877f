"""No fork while a thread of this process is inside SQLite.

SQLite's process-wide mutexes are copied as they are: a child of a fork at the wrong moment hangs
for ever at its first use of any database (seen: 7 of 150 children, while a thread of the parent
kept pushes). https://sqlite.org/howtocorrupt.html forbids only to carry a connection over a fork.

Enters: a piece of work with SQLite, as a block. Leaves: the same, while ``os.fork`` waits for its
end; only so long, for a disk that hangs must stop nobody.
"""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ("no_fork",)

_LONGEST = 2.0  # seconds


class _Lock:
    """One at a time: a piece of work, or a fork."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._is_ours = False

    @contextmanager
    def held(self) -> Iterator[None]:
        lock = self._lock  # a child has another
        with lock:
            yield

    def before(self) -> None:
        self._is_ours = self._lock.acquire(timeout=_LONGEST)

    def after_in_parent(self) -> None:
        if self._is_ours:
            self._is_ours = False
            self._lock.release()

    def after_in_child(self) -> None:
        self._lock, self._is_ours = threading.RLock(), False


_LOCK = _Lock()
os.register_at_fork(
    before=_LOCK.before,
    after_in_parent=_LOCK.after_in_parent,
    after_in_child=_LOCK.after_in_child,
)
no_fork = _LOCK.held
