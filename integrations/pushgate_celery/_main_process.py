"""What only the worker's main process learns of tasks: limits, lost children, revocations.

It writes END records for runs that the executing process could not report, and COUNT records. Where
a pool executes in this very process, :class:`Executing` comes first.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable
from typing import Any
from weakref import WeakValueDictionary

from celery.exceptions import Reject, TimeLimitExceeded

from pushgate import RateLimitedLogger
from pushgate_celery._executing import Unfinished
from pushgate_celery._task_records import COUNT, State
from pushgate_celery._task_run import Run, RunFactory, class_name, log_failure

__all__ = ("MainProcess",)

_MAX_REMEMBERED = 1000


class MainProcess:
    """The handlers. ``killed`` is called with the process id of a child that dies on purpose."""

    def __init__(
        self,
        runs: RunFactory,
        write: Callable[[object], object],
        log: RateLimitedLogger,
        *,
        killed: Callable[[int], None],
    ) -> None:
        self._runs = runs
        self._write = write
        self._log = log
        self._killed = killed
        self._pid = os.getpid()
        self._requests: WeakValueDictionary[str, Any] = WeakValueDictionary()
        self._told: OrderedDict[tuple[str, int], None] = OrderedDict()
        self.unfinished = Unfinished()

    def received(self, request: Any, **_: object) -> None:
        """task_received: keep a weak reference to the request, for signals without it."""
        try:
            self._requests[request.id] = request
        except Exception as error:
            log_failure(self._log, "noting that a task was received", error)

    def ended(self, task_id: str) -> None:
        """The task's run was reported by the executing side, in this process."""
        request = self._requests.get(task_id)
        if request is not None:
            request._pushgate_ended = True

    def failure(self, sender: Any, task_id: str, exception: Any = None, **_: object) -> None:
        """task_failure."""
        try:
            top = sender.request_stack.top
            if isinstance(exception, Reject) or _is_executing(top, task_id):
                return  # postrun writes its end
            if self._late(task_id, "failure", class_name(exception)) or os.getpid() != self._pid:
                return
            request = self._requests.get(task_id)
            if isinstance(exception, TimeLimitExceeded):
                self._killed(getattr(request, "worker_pid", None) or 0)
            self._end(sender, task_id, request, top, "failure", class_name(exception))
        except Exception as error:
            log_failure(self._log, "noting that a task failed", error)

    def retry(self, sender: Any, request: Any, reason: Any = None, **_: object) -> None:
        """task_retry. In the main process: a child was lost, or a task was cut off."""
        try:
            if _is_executing(request, request.id) or os.getpid() != self._pid:
                return
            if reason is not None:
                found = self._requests.get(request.id)
                name = class_name(getattr(reason, "exc", None))
                self._end(sender, request.id, found, request, "retry", name)
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
            facts = self._runs.facts(sender)
            if facts is None:
                return
            reason = "terminated" if terminated else "expired" if expired else "revoked"
            self._write([COUNT, "revoked", {"task": facts.name, "reason": reason}, 1])
            if terminated and not self._late(request.id, "revoked", ""):
                found = self._requests.get(request.id)
                self._killed(getattr(found, "worker_pid", None) or 0)
                self._end(sender, request.id, found, request, "revoked", "")
        except Exception as error:
            log_failure(self._log, "noting that a task was revoked", error)

    def unknown(self, **_: object) -> None:
        """task_unknown: a message for a task that is not registered."""
        self._write([COUNT, "unknown", {}, 1])

    def rejected(self, **_: object) -> None:
        """task_rejected: a message that is no task."""
        self._write([COUNT, "rejected", {}, 1])

    def _late(self, task_id: str, state: State, exception: str) -> bool:
        """Write the end of a run that postrun had to leave open. Whether there was one."""
        run = self.unfinished.take(task_id)
        if run is None:
            return False
        self.ended(task_id)
        self._write(run.end_record(state, exception))
        return True

    def _end(
        self, task: Any, task_id: str, request: Any, context: Any, state: State, exception: str
    ) -> None:
        facts = self._runs.facts(task)
        if facts is None or self._was_told(task_id, request, context):
            return
        if request is not None:
            run = self._runs.run(facts, request.request_dict, request.time_start, None)
        else:
            run = self._runs.run(facts, vars(context) if context is not None else {}, None, None)
        if facts.per_run is not None and request is not None:
            self._runs.name_run(run, facts.per_run, task, request.args, request.kwargs)
        self._write(run.end_record(state, exception))

    def _was_told(self, task_id: str, request: Any, context: Any) -> bool:
        """Whether this end was written before: Celery reports a hard time limit twice."""
        if request is not None:
            told = getattr(request, "_pushgate_ended", False)
            request._pushgate_ended = True
            return bool(told)
        key = task_id, getattr(context, "retries", 0) or 0
        if key in self._told:
            return True
        self._told[key] = None
        if len(self._told) > _MAX_REMEMBERED:
            self._told.popitem(last=False)
        return False


def _is_executing(context: Any, task_id: str) -> bool:
    """Whether it is the request of a run in progress, of which task_postrun will tell."""
    if context is None or context.id != task_id:
        return False
    run: Run | None = getattr(context, "_pushgate_run", None)
    return bool(context.is_eager) or (run is not None and not run.ended)
