"""Runs in children that a shutdown, or the loss of the broker, cut off: not ended, not going on.

Requests of the worker's main process enter; the names of the tasks that did not end leave.
"""

from __future__ import annotations

from typing import Any

from billiard.pool import ApplyResult
from celery.worker import state

__all__ = ("CutOff",)


class CutOff:
    """Keeps requests until it is known whether their runs ended by themselves after all.

    Celery sends task_retry also for what finishes within the window of a soft shutdown, and sends
    nothing for acks_late; so neither says what was cut off.
    """

    def __init__(self) -> None:
        self._kept: list[tuple[Any, Any]] = []

    def add(self, request: Any) -> None:
        """A request that was cancelled; None, or one that no child runs, is nothing."""
        if request is None or any(kept is request for kept, _ in self._kept):
            return
        reference = request._apply_result
        result = reference and reference()
        if isinstance(result, ApplyResult):
            self._kept.append((request, result))

    def add_active(self) -> None:
        """Every request that is running."""
        for request in tuple(state.active_requests):
            self.add(request)

    def settle(self, *, finally_: bool = False) -> list[Any]:
        """The tasks of the runs that did not end, each run once.

        What is not known yet is kept for the next time, or counts as cut off if this is the last.
        """
        cut_off = []
        kept = []
        for request, result in self._kept:
            if getattr(request, "_pushgate_ended", False):
                continue
            if result.ready():
                if not result.successful():  # else the child got to the end of it
                    cut_off.append(request.task)
            elif finally_:
                cut_off.append(request.task)
            else:
                kept.append((request, result))
        self._kept = kept
        return cut_off
