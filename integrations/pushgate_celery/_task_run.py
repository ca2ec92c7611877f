"""One run of a task: what is known when it starts, and the record of how it ended."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Mapping
from datetime import UTC
from time import perf_counter, time
from typing import Any

from celery.utils.time import maybe_iso8601

from pushgate import RateLimitedLogger
from pushgate_celery._per_run import PerRunSpec, spec_of
from pushgate_celery._queues import Queues
from pushgate_celery._stamp import read
from pushgate_celery._task_records import END, START, State

__all__ = ("Facts", "Run", "RunFactory", "class_name", "log_failure")

_NO_IDENTIFIER = re.compile(r"\W")


def class_name(error: object) -> str:
    """The name of an exception's class. It may come from a message, hence capped and cleaned."""
    return _NO_IDENTIFIER.sub("_", type(error).__name__)[:80]


def log_failure(log: RateLimitedLogger, doing: str, error: BaseException) -> None:
    """Log that we failed at something, once an hour for each kind of error."""
    log.warning(
        f"{doing} failed, which the task does not notice but the metrics may lack:"
        f" {type(error).__name__}: {error}",
        subject=(doing, type(error).__name__),
    )


class Facts:
    """What does not change from one run of a task to the next."""

    __slots__ = ("name", "per_run")

    def __init__(self, name: str, per_run: PerRunSpec | None) -> None:
        self.name = name
        self.per_run = per_run


class Run:
    """A run in progress; it lives on the task's request, as ``_pushgate_run``.

    ``outer`` is the id of the exception that was being handled around it, if any; ``ended`` says
    that its code is over. ``write`` takes its records.
    """

    __slots__ = (
        "began",
        "ended",
        "first_published_at",
        "interval",
        "outer",
        "per_run",
        "queue",
        "started_at",
        "task",
        "try_number",
        "wait",
        "write",
    )

    task: str
    queue: str
    started_at: float | None
    began: float | None
    wait: float | None
    first_published_at: float | None
    interval: float | None
    try_number: int
    per_run: list[object] | None
    outer: int | None
    ended: bool
    write: Callable[[object], object]

    def start_record(self, redelivered: bool) -> list[object]:
        """START."""
        return [
            START,
            self.task,
            self.started_at,
            self.interval,
            redelivered,
            self.queue,
            self.per_run,
        ]

    def end_record(self, state: State, exception: str = "") -> list[object]:
        """END, as of now."""
        now = time()
        latency = None
        if state == "success" and self.first_published_at is not None:
            latency = max(0.0, now - self.first_published_at)
        return [
            END,
            self.task,
            self.queue,
            state,
            exception,
            self.started_at,
            now,
            None if self.began is None else perf_counter() - self.began,
            self.wait,
            latency,
            self.try_number,
            self.interval,
            self.per_run,
        ]


class RunFactory:
    """Makes the runs of one app's tasks.

    ``tasks`` are patterns of the names to observe, None for all. ``write`` takes records.
    """

    def __init__(
        self,
        app: Any,
        tasks: tuple[str, ...] | None,
        write: Callable[[object], object],
        log: RateLimitedLogger,
    ) -> None:
        self._app = app
        self._patterns = tasks
        self._write = write
        self._log = log
        self._queues = Queues(app)
        self._facts: dict[str, Facts | None] = {}

    def facts(self, task: Any) -> Facts | None:
        """What is known of a task; None for one that is not observed."""
        try:
            return self._facts[task.name]
        except KeyError:
            return self._facts.setdefault(task.name, self._look_at(task))

    def observes(self, name: str) -> bool:
        """Whether tasks of this name are observed."""
        patterns = self._patterns
        return patterns is None or any(fnmatch.fnmatchcase(name, one) for one in patterns)

    def run(
        self, facts: Facts, fields: Mapping[str, Any], started_at: float | None, outer: int | None
    ) -> Run:
        """The run that ``fields`` of a request describe, begun at ``started_at`` (Unix time)."""
        run = Run()
        run.task = facts.name
        run.started_at = started_at
        run.began = None
        run.queue = self._queues.of(fields.get("delivery_info"))
        run.try_number = (fields.get("retries") or 0) + 1
        due, run.first_published_at, run.interval = read(fields)
        run.wait = None
        if due is not None and started_at is not None:
            if fields.get("eta") is not None:
                due = max(due, self._timestamp(fields["eta"]) or due)
            run.wait = started_at - due if started_at > due else 0.0  # clocks may differ
        run.outer = outer
        run.ended = False
        run.write = self._write
        run.per_run = None
        return run

    def name_run(self, run: Run, spec: PerRunSpec, task: Any, args: Any, kwargs: Any) -> None:
        """Give the run a group of its own, where its task's grouping can."""
        try:
            run.per_run = spec.of_run(task, args, kwargs)
        except Exception as error:
            log_failure(self._log, f"naming a run of {run.task}, as per_run asks,", error)

    def _look_at(self, task: Any) -> Facts | None:
        name = task.name if task.name in self._app.tasks else "<unknown>"
        if not self.observes(name):
            return None
        return Facts(name, spec_of(task))

    def _timestamp(self, eta: object) -> float | None:
        try:
            moment: Any = maybe_iso8601(eta)  # type: ignore[arg-type,unused-ignore]
            if moment.tzinfo is None:
                zone = UTC if self._app.conf.enable_utc else self._app.timezone
                moment = moment.replace(tzinfo=zone)
            return float(moment.timestamp())
        except (AttributeError, TypeError, ValueError, OverflowError):
            return None
