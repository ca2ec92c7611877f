"""task_prerun and task_postrun, in the process that executes a task: the hot path.

An END record is written for each run whose end is certain here. Others stay in ``unfinished``, for
a task_failure or task_revoked that comes later, or for the main process where this one is killed.
"""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Callable
from time import perf_counter, time
from typing import Any

from celery.exceptions import Reject, Retry, WorkerShutdown, WorkerTerminate

from pushgate import RateLimitedLogger
from pushgate_celery._soft_limits import SoftTimeLimitExceeded, send_again
from pushgate_celery._task_records import State
from pushgate_celery._task_run import Run, RunFactory, class_name, log_failure

__all__ = ("Executing", "Unfinished")

_STATES: dict[str, State] = {
    "FAILURE": "failure",
    "RETRY": "retry",
    "IGNORED": "ignored",
    "REJECTED": "rejected",
}
_MAX_UNFINISHED = 1000


class Unfinished:
    """Runs that have ended with an outcome that is not known yet, by task id. Bounded."""

    def __init__(self) -> None:
        self._runs: OrderedDict[str, Run] = OrderedDict()

    def add(self, task_id: str, run: Run) -> None:
        """Keep a run; the oldest of too many is forgotten."""
        self._runs[task_id] = run
        if len(self._runs) > _MAX_UNFINISHED:
            self._runs.popitem(last=False)

    def take(self, task_id: str) -> Run | None:
        """The run, which is then forgotten."""
        return self._runs.pop(task_id, None)


class Executing:
    """The handlers. ``eager`` says whether tasks that are executed eagerly count.

    ``ended`` is called with the id of a task whose run has ended here, where the main process is
    this one; ``in_child`` is set in children of the prefork pool. ``open`` are the runs that go on
    in the main process.
    """

    def __init__(
        self,
        runs: RunFactory,
        write: Callable[[object], object],
        log: RateLimitedLogger,
        *,
        eager: bool,
        unfinished: Unfinished,
        ended: Callable[[str], object],
    ) -> None:
        self._runs = runs
        self._write = write
        self._log = log
        self._eager = eager
        self._ended = ended
        self.in_child = False
        self.open: set[Run] = set()
        self._unfinished = unfinished

    def prerun(self, sender: Any, args: Any = None, kwargs: Any = None, **_: object) -> None:
        """task_prerun."""
        request = run = None
        try:
            request = sender.request_stack.top
            fields = vars(request)
            facts = self._runs.facts(sender)
            if facts is None or (fields.get("is_eager") and not self._eager):
                return
            outer = sys.exc_info()[1]
            run = self._runs.run(facts, fields, time(), None if outer is None else id(outer))
            request._pushgate_run = run
            if not self.in_child:
                self.open.add(run)
            if facts.per_run is not None:
                self._runs.name_run(run, facts.per_run, sender, args, kwargs)
            run.began = perf_counter()
            delivery = fields.get("delivery_info")
            self._write(run.start_record(bool(delivery and delivery.get("redelivered"))))
        except SoftTimeLimitExceeded:
            send_again(lambda: run is not None and run.ended)
        except Exception as error:
            log_failure(self._log, "noting that a task starts", error)

    def postrun(
        self, sender: Any, task_id: str, state: str | None = None, retval: Any = None, **_: object
    ) -> None:
        """task_postrun. Celery sends it in a ``finally``, so sys.exc_info() has what is raised."""
        try:
            run = getattr(sender.request_stack.top, "_pushgate_run", None)
            if run is None or run.ended:
                return
            raised = sys.exc_info()[1]
            if raised is not None and id(raised) == run.outer:
                raised = None
            try:
                self._finish(run, task_id, state, retval, raised)
            except SoftTimeLimitExceeded:  # sent once, and too late for the task
                if not run.ended:
                    self._finish(run, task_id, state, retval, raised)
        except Exception as error:
            log_failure(self._log, "noting that a task ended", error)

    def _finish(
        self,
        run: Run,
        task_id: str,
        state: str | None,
        retval: Any,
        raised: BaseException | None,
    ) -> None:
        self.open.discard(run)
        if raised is not None:
            self._cut_short(run, task_id, raised)
        elif state == "SUCCESS":
            self._end(run, task_id, "success", "")
        elif state in _STATES:
            self._end(run, task_id, _STATES[state], _blamed(state, retval))
        else:
            self._unfinished.add(task_id, run)
        run.ended = True

    def _cut_short(self, run: Run, task_id: str, raised: BaseException) -> None:
        """An exception left Celery's tracer: an error after the task, or one that kills it."""
        if isinstance(raised, Reject):  # of on_success or after_return
            self._end(run, task_id, "rejected", _blamed("REJECTED", raised))
        elif self.in_child or not isinstance(raised, (SystemExit, KeyboardInterrupt)):
            # An Exception becomes a task_failure, here or in the main process; a limit, a
            # revocation and the child's death are told by the main process.
            self._unfinished.add(task_id, run)
        elif isinstance(raised, (WorkerShutdown, WorkerTerminate)):
            self._ended(task_id)  # it is handed back, and will run again
        else:  # in a thread or greenlet no other signal comes
            self._end(run, task_id, "failure", class_name(raised))

    def _end(self, run: Run, task_id: str, state: State, exception: str) -> None:
        if not self.in_child:
            self._ended(task_id)
        self._write(run.end_record(state, exception))


def _blamed(state: str, retval: object) -> str:
    if state == "FAILURE":
        return class_name(retval)
    if isinstance(retval, Retry) and retval.exc is not None:
        return class_name(retval.exc)
    if isinstance(retval, Reject) and isinstance(retval.reason, BaseException):
        return class_name(retval.reason)
    return ""
