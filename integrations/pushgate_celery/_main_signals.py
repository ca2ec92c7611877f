"""What only the worker's main process learns: limits, lost children, revocations.

Nothing here runs for a task that goes well. The pusher knows which run is meant, and whether its
end is known already.
"""

from __future__ import annotations

from collections.abc import Callable
from time import time
from typing import Any

from billiard.pool import EX_OK, EX_RECYCLE
from celery.exceptions import Reject
from celery.worker import state

from pushgate import RateLimitedLogger
from pushgate_celery._run_ends import class_name
from pushgate_celery._task_records import COUNT, GONE, TOLD
from pushgate_celery._task_signals import log_failure
from pushgate_celery._wrapped import wrap


def is_ending() -> bool:
    """Whether the worker was told to stop."""
    flags = (state.should_stop, state.should_terminate)
    return any(flag is not None and flag is not False for flag in flags)


class MainSignals:
    """The handlers. ``observes`` says whether tasks of a name are observed.

    ``undo`` ends what ``watch`` began.
    """

    def __init__(
        self,
        observes: Callable[[str], bool],
        write: Callable[[object], object],
        log: RateLimitedLogger,
    ) -> None:
        self._observes = observes
        self._write = write
        self._log = log
        self.undo: Callable[[], None] = lambda: None

    def failure(self, sender: Any, task_id: str, exception: Any = None, **_: object) -> None:
        """task_failure, of a run that task_postrun does not tell the end of."""
        try:
            if not isinstance(exception, Reject):
                self._tell(sender, task_id, sender.request_stack.top, "failure", exception)
        except Exception as error:
            log_failure(self._log, "noting that a task failed", error)

    def retry(self, sender: Any, request: Any, reason: Any = None, **_: object) -> None:
        """task_retry. Without a reason the worker is ending and has handed the task back."""
        try:
            if reason is not None:
                cause = getattr(reason, "exc", None)
                self._tell(sender, request.id, request, "retry", cause)
        except Exception as error:
            log_failure(self._log, "noting that a task is retried", error)

    def revoked(
        self,
        sender: Any,
        request: Any,
        terminated: bool = False,
        expired: bool = False,
        **_: object,
    ) -> None:
        """task_revoked: before it ran, or with ``terminated`` while it did."""
        try:
            if self._observes(sender.name):
                reason = "terminated" if terminated else "expired" if expired else "revoked"
                self._write((COUNT, "celery_task_revoked", (sender.name, reason)))
                if terminated:
                    self._tell(sender, request.id, None, "revoked", None)
        except Exception as error:
            log_failure(self._log, "noting that a task was revoked", error)

    def unknown(self, **_: object) -> None:
        """task_unknown: a message for a task that is not registered."""
        self._write((COUNT, "celery_task_unknown", ()))

    def rejected(self, **_: object) -> None:
        """task_rejected: a message that is no task."""
        self._write((COUNT, "celery_task_message_rejected", ()))

    def watch(self, pool: Any) -> None:
        """Learn of children that end, of a billiard pool; Celery sends no signal for that."""
        if hasattr(pool, "on_process_down"):
            self.undo()
            self.undo = wrap(pool, "on_process_down", self._noting)

    def _tell(self, task: Any, task_id: str, context: Any, ended: str, cause: Any) -> None:
        if not self._observes(task.name):
            return
        is_its_own = context is not None and context.id == task_id
        if is_its_own and (context.is_eager or getattr(context, "_pushgate_run", None) is not None):
            return  # task_postrun tells it
        name = "" if cause is None else class_name(cause)
        self._write((TOLD, task_id, task.name, ended, name, time(), None))

    def _noting(self, original: Callable[[Any], Any] | None) -> Callable[[Any], Any]:
        def on_process_down(process: Any) -> Any:
            self._down(process)
            return None if original is None else original(process)

        return on_process_down

    def _down(self, process: Any) -> None:
        is_bad = process.exitcode not in (None, EX_OK, EX_RECYCLE)
        terminates = state.should_terminate is not None and state.should_terminate is not False
        is_wanted = terminates or bool(getattr(process, "_job_terminated", False))
        is_lost = is_bad and not (is_wanted or getattr(process, "_controlled_termination", False))
        self._write((GONE, process.pid, is_lost, is_wanted))
