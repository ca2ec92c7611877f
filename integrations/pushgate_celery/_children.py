"""The children of the prefork pool: how many died in a task."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from billiard.pool import EX_OK, EX_RECYCLE
from celery.worker import state

from pushgate_celery._task_records import COUNT
from pushgate_celery._wrapped import Wrapped

__all__ = ("Children",)


class Children:
    """Counts the children of one pool that are lost."""

    def __init__(self, write: Callable[[object], object]) -> None:
        self._write = write
        self._doomed: set[int] = set()
        self._wrapped: Wrapped | None = None

    def watch(self, pool: Any) -> None:
        """Watch a billiard pool, if it is of a kind that reports ended processes."""
        if getattr(pool, "on_process_down", None) is not None:
            self._wrapped = Wrapped(pool, "on_process_down", self._noting)

    def undo(self) -> None:
        """Stop watching."""
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
        is_killed_on_purpose = (
            process.pid in self._doomed
            or getattr(process, "_controlled_termination", False)
            or not (state.should_terminate is None or state.should_terminate is False)
        )
        self._doomed.discard(process.pid)
        if process.exitcode not in (None, EX_OK, EX_RECYCLE) and not is_killed_on_purpose:
            self._write([COUNT, "children_lost", {}, 1])
