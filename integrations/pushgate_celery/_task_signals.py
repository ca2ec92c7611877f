"""Signals of a task's run, in the process that executes it: the hot path.

START is written when a run begins, and END when its code is over. Where an exception leaves
Celery's tracer, that is CUT: the pusher waits for another word on it.

The pool raises SoftTimeLimitExceeded from a signal handler, inside the code that runs just then.
``Signal.send`` swallows exceptions, so a handler here would keep the limit from the task.
"""

from __future__ import annotations

import fnmatch
import os
import signal
import sys
import threading
from collections.abc import Callable
from datetime import UTC
from itertools import count
from time import perf_counter, time
from typing import Any, NamedTuple

from billiard.exceptions import SoftTimeLimitExceeded
from celery.utils.time import maybe_iso8601

from pushgate import RateLimitedLogger
from pushgate_celery._per_run import PerRunSpec, spec_of
from pushgate_celery._queues import queue_finder
from pushgate_celery._run_ends import other_end
from pushgate_celery._stamp import HEADER
from pushgate_celery._task_records import END, START

_CELERYS_OWN = "celery."  # celery.chord_unlock retries itself for as long as a chord's header runs
_PAUSE = 0.05  # seconds, until the task itself runs


def log_failure(log: RateLimitedLogger, doing: str, error: BaseException) -> None:
    """Log that we failed at something, once an hour for each kind of error."""
    log.warning(
        f"{doing} failed, which the task does not notice but the metrics may lack:"
        f" {type(error).__name__}: {error}",
        subject=(doing, type(error).__name__),
    )


class _Facts(NamedTuple):
    """What does not change from one run of a task to the next."""

    name: str
    after_loss: int
    per_run: PerRunSpec | None


class TaskSignals:
    """The handlers. ``eager`` says whether tasks that are executed eagerly count.

    ``tasks`` are patterns of the names to observe, None for all but Celery's own. ``pid`` is that
    of this process: a child of the prefork pool sets it. ``open`` are the numbers of the runs that
    go on in the main process. A run in progress is on the task's request, as ``_pushgate_run``: a
    TaskRun's fields, when it began, the exception that was being handled around it, and what takes
    records; None once its code is over.
    """

    def __init__(
        self,
        app: Any,
        tasks: tuple[str, ...] | None,
        write: Callable[[object], object],
        log: RateLimitedLogger,
        *,
        eager: bool,
    ) -> None:
        self._app = app
        self._patterns = tasks
        self._write = write
        self._log = log
        self._eager = eager
        self._queue_of = queue_finder(app)
        self._facts: dict[str, _Facts | None] = {}
        self._next = count(1).__next__
        self.pid = self._main = os.getpid()
        self.open: set[int] = set()
        # The request that a child of the prefork pool runs: quicker to find than by the stack.
        self._current: Any = None

    def observes(self, name: str) -> bool:
        """Whether tasks of this name are observed: Celery's own only where a pattern says so."""
        if self._patterns is None:
            return not name.startswith(_CELERYS_OWN)
        return any(
            fnmatch.fnmatchcase(name, pattern)
            and (pattern.startswith(_CELERYS_OWN) or not name.startswith(_CELERYS_OWN))
            for pattern in self._patterns
        )

    def prerun(self, sender: Any, args: Any = None, kwargs: Any = None, **_: object) -> None:
        """task_prerun."""
        request = None
        try:
            request = sender.request_stack.top
            self._begin(request, sender, args, kwargs)
        except SoftTimeLimitExceeded:  # sent once, and too early for the task
            _send_again(lambda: getattr(request, "_pushgate_run", ()) is None)
            if request is not None and not hasattr(request, "_pushgate_run"):
                self.prerun(sender, args, kwargs)
        except Exception as error:
            log_failure(self._log, "noting that a task starts", error)

    def _begin(self, request: Any, task: Any, args: Any, kwargs: Any) -> None:
        fields = request.__dict__
        name = task.name
        try:
            facts = self._facts[name]
        except KeyError:
            facts = self._facts[name] = self._look_at(task, name)
        if facts is None or (fields.get("is_eager") and not self._eager):
            self._current = None  # it may run in another one: the stack knows which of them ends
            return
        delivery = fields.get("delivery_info") or {}
        # The default exchange routes to the queue of that name.
        # https://www.rabbitmq.com/tutorials/amqp-concepts#exchange-default
        exchange, queue = delivery.get("exchange"), delivery.get("routing_key") or ""
        if exchange:
            queue = self._queue_of(exchange, queue)
        stamp = fields.get(HEADER)  # protocol 2 puts custom headers beside its own
        if stamp is None and (headers := fields.get("headers")):
            stamp = headers.get(HEADER)
        eta = fields.get("eta")
        number = self._next()
        record = (
            self.pid,
            number,
            fields.get("id"),
            name,
            queue,
            time(),
            fields.get("retries"),
            delivery.get("redelivered"),
            stamp[:3] if type(stamp) is list else None,
            None if eta is None else self._timestamp(eta),
            facts.after_loss,
            facts.per_run and self._own(facts.per_run, task, args, kwargs),
        )
        request._pushgate_run = (record, perf_counter(), sys.exception(), self._write)
        if self.pid == self._main:
            self.open.add(number)
        else:
            self._current = request
        self._write((START, record))

    def postrun(
        self,
        sender: Any,
        state: str | None = None,
        retval: Any = None,
        **_: object,
    ) -> None:
        """task_postrun. Celery sends it in a ``finally``, so sys.exception() is what is raised."""
        request = None
        try:
            request = self._current
            if request is None:
                request = sender.request_stack.top
            run = request.__dict__.get("_pushgate_run")
            if run is None:
                return
            record, began, outer, write = run
            duration = perf_counter() - began
            raised = sys.exception()
            if raised is outer:
                raised = None
            if raised is None and state == "SUCCESS":
                write((END, record, "success", "", time(), duration))
            else:
                in_child = self.pid != self._main
                kind, ended, cause, rest = other_end(state, retval, raised, in_child=in_child)
                write((kind, record, ended, cause, time(), duration, *rest))
            request._pushgate_run = self._current = None
            if self.open:
                self.open.discard(record[1])
        except SoftTimeLimitExceeded:  # sent once, and too late for the task
            if request is not None and request._pushgate_run is not None:
                self.postrun(sender, state, retval)
        except Exception as error:
            log_failure(self._log, "noting that a task ended", error)

    def _own(self, spec: PerRunSpec, task: Any, args: Any, kwargs: Any) -> object:
        """The group of one run, where its task's grouping can name it."""
        try:
            return spec.of_run(task, args, kwargs)
        except SoftTimeLimitExceeded:
            raise
        except Exception as error:
            log_failure(self._log, f"naming a run of {task.name}, as per_run asks,", error)
            return None

    def _look_at(self, task: Any, name: str) -> _Facts | None:
        if not self.observes(name):
            return None
        after_loss = bool(task.acks_late) + bool(task.acks_late and task.reject_on_worker_lost)
        return _Facts(name, after_loss, spec_of(task))

    def _timestamp(self, eta: object) -> float | None:
        try:
            moment: Any = maybe_iso8601(eta)  # type: ignore[arg-type,unused-ignore]
            if moment.tzinfo is None:
                zone = UTC if self._app.conf.enable_utc else self._app.timezone
                moment = moment.replace(tzinfo=zone)
            return float(moment.timestamp())
        except (AttributeError, TypeError, ValueError, OverflowError):
            return None


def _send_again(is_over: Callable[[], bool]) -> None:
    """The limit was reached before the task's own code began: raise it again in the task."""

    def send() -> None:
        if not is_over():
            os.kill(pid, signal.SIGUSR1)  # as billiard/pool.py has it

    pid = os.getpid()
    timer = threading.Timer(_PAUSE, send)
    timer.daemon = True
    timer.start()
