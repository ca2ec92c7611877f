"""The children of the prefork pool: how many were lost, how many were recycled.

Ended processes enter, as the pool cleans them up; COUNT records leave.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from billiard.pool import EX_OK, EX_RECYCLE

from pushgate_celery._records import COUNT
from pushgate_celery._wrapped import Wrapped

__all__ = ("Children",)


class Children:
    """Counts the children of one pool that end."""

    def __init__(self, write: Callable[[object], object]) -> None:
        self._write = write
        self._doomed: set[int] = set()
        self._wrapped: Wrapped | None = None
        self.closing = False

    def watch(self, pool: Any) -> None:
        """Begin with a billiard pool, of a kind that tells of its processes."""
        if getattr(pool, "on_process_down", None) is not None:
            self._wrapped = Wrapped(pool, "on_process_down", self._noting)

    def undo(self) -> None:
        """End it."""
        if self._wrapped is not None:
            self._wrapped.undo()

    def doom(self, pid: int) -> None:
        """The child is being killed on purpose: by a hard time limit, or a revocation."""
        if self._wrapped is not None and pid:
            self._doomed.add(pid)

    def _noting(self, original: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def on_process_down(process: Any) -> Any:
            self._down(process)
            return original(process)

        return on_process_down

    def _down(self, process: Any) -> None:
        code = process.exitcode
        doomed = process.pid in self._doomed
        self._doomed.discard(process.pid)
        if code == EX_RECYCLE:
            self._write([COUNT, "children_recycled", {}, 1])
        elif code in (None, EX_OK) or doomed or self.closing:
            pass
        elif not getattr(process, "_controlled_termination", False):
            self._write([COUNT, "children_lost", {}, 1])
