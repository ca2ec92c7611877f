"""APScheduler 3 to pushgate: the outcome of the runs of every job, whatever scheduler runs them."""

from __future__ import annotations

import logging
import socket
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from apscheduler import events

from pushgate import JobRun, Outcome, RateLimitedLogger, Status, configured_sink, readers
from pushgate_apscheduler._scheduled_runs import ScheduledJob, job_run, schedule, scheduled_job

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from types import FrameType

    from apscheduler.schedulers.base import BaseScheduler

    from pushgate import GroupingKey, Sink

    Start = tuple[JobRun, float]  # with the time by a monotonic clock

_LOST = "Error running job %s"  # what an executor logs, such as of a run that was killed
_MOST_REMOVED = 10_000  # jobs that are remembered, for their last runs

_log = RateLimitedLogger()


def install(
    scheduler: BaseScheduler, *, sink: Sink | None = None, job: str = "apscheduler"
) -> Callable[[], None]:
    """Report the runs of all jobs of ``scheduler``, which may be running already.

    Without ``sink``, the gateway is that of the environment and of pushgate's configuration file.
    ``job`` is the first label of each group, ``{job="apscheduler", task="…"}``. Returns what
    uninstalls. Raises ValueError for a ``job`` that is no text. Where the gateway is missing or
    wrong, a line of the log says so, and the scheduler works on.
    """
    job = readers.job(job)
    if sink is None and (sink := configured_sink("this scheduler's jobs")) is None:
        return lambda: None
    return _Listener(scheduler, sink, job).uninstall


class _Listener:
    """Hears of jobs from the scheduler's thread, and of ends from those of the executors.

    The lock is held while a run's start and end meet, so that no start is told after its end. An
    end never asks the scheduler for a job: while that shuts down, it waits for the executors'
    threads and lets nobody look.
    """

    def __init__(self, scheduler: BaseScheduler, sink: Sink, name: str) -> None:
        self._scheduler = scheduler
        self._sink = sink
        self._name = name
        self._host = socket.gethostname()
        self._meeting = threading.Lock()
        self._jobs: dict[str, ScheduledJob] = {}
        self._removed: dict[str, ScheduledJob] = {}
        # By the job's id and the run's time. None: its end came before its submission.
        self._runs: dict[tuple[str, datetime | None], Start | None] = {}
        self._durations: dict[GroupingKey, float] = {}
        self._loggers: set[logging.Logger] = set()
        self._handlers: dict[int, Callable[[Any], None]] = {
            events.EVENT_SCHEDULER_STARTED: self._learn_all,
            events.EVENT_JOB_ADDED: self._job_changed,
            events.EVENT_JOB_MODIFIED: self._job_changed,
            events.EVENT_JOB_REMOVED: lambda event: self._forget(event.job_id),
            events.EVENT_ALL_JOBS_REMOVED: self._jobs_removed,
            events.EVENT_JOB_SUBMITTED: self._submitted,
            events.EVENT_JOB_MAX_INSTANCES: self._skipped,
            events.EVENT_JOB_MISSED: self._missed,
            events.EVENT_JOB_EXECUTED: self._ended,
            events.EVENT_JOB_ERROR: self._ended,
        }
        for code, handler in self._handlers.items():
            scheduler.add_listener(handler, code)
        self._learn_all()

    def uninstall(self) -> None:
        for handler in self._handlers.values():
            self._scheduler.remove_listener(handler)
        for logger in self._loggers:
            logger.removeFilter(self._read_log)

    def _learn_all(self, _event: Any = None) -> None:
        for job in self._scheduler.get_jobs():
            self._learn(job)

    def _job_changed(self, event: Any) -> None:
        job = self._scheduler.get_job(event.job_id, event.jobstore)
        if job is not None:
            known = self._learn(job)
            is_modified = event.code == events.EVENT_JOB_MODIFIED  # paused, resumed, …
            if is_modified and not known.runs_once:
                self._sink.started(schedule(known, job.next_run_time))

    def _jobs_removed(self, _event: Any) -> None:
        for job_id in [id_ for id_ in list(self._jobs) if self._scheduler.get_job(id_) is None]:
            self._forget(job_id)

    def _learn(self, job: Any) -> ScheduledJob:
        logger = logging.getLogger(f"apscheduler.executors.{job.executor}")
        logger.addFilter(self._read_log)
        self._loggers.add(logger)
        known = self._jobs[job.id] = scheduled_job(job, self._name)
        return known

    def _forget(self, job_id: str) -> None:
        """The job is removed, as it also is before its last run is submitted."""
        known = self._jobs.pop(job_id, None)
        if known is not None:
            if len(self._removed) >= _MOST_REMOVED:
                self._removed.pop(next(iter(self._removed)), None)
            self._removed[job_id] = known
            if not known.runs_once:
                self._sink.started(schedule(known, None))

    def _job(self, job_id: str) -> ScheduledJob | None:
        return self._jobs.get(job_id) or self._removed.get(job_id)

    def _submitted(self, event: Any) -> None:
        """Runs were handed to an executor, which begins them when a worker of its is free."""
        if (job := self._job(event.job_id)) is None:
            return
        times = event.scheduled_run_times
        run = job_run(job, times[-1], time.time(), self._host)
        mine = (run, time.monotonic())
        if self._runs.pop((event.job_id, None), mine) is None:
            return
        with self._meeting:
            met = [self._meet((event.job_id, fire_time), mine) for fire_time in times]
            if any(start is mine for start in met) and run.started_at is not None:
                self._sink.started(run)

    def _skipped(self, event: Any) -> None:
        if (job := self._job(event.job_id)) is not None:
            run = job_run(job, event.scheduled_run_times[-1], time.time())
            self._sink.finished(run, Outcome(Status.SKIPPED, time.time()))

    def _missed(self, event: Any) -> None:
        """An executor found the run too late to begin. If a start was told, it was none."""
        if (start := self._start(event)) is not None:
            run, _ = start
            if run.started_at is not None:
                usual = self._durations.get(run.key, 0.0)  # what the gateway holds stays
                self._sink.finished(run, Outcome(Status.SKIPPED, run.started_at, usual))
            self._sink.missed_deadline(run, time.time())

    def _ended(self, event: Any) -> None:
        if (start := self._start(event)) is not None:
            self._finish(*start, event.exception)

    def _finish(self, run: JobRun, clock: float, error: BaseException | None) -> None:
        status = Status.SUCCESS if error is None else Status.FAILURE
        exception = "" if error is None else type(error).__name__
        duration = self._durations[run.key] = time.monotonic() - clock
        self._sink.finished(run, Outcome(status, time.time(), duration, exception=exception))

    def _start(self, event: Any) -> Start | None:
        """How the run began that has ended. A short run may end before that is told."""
        with self._meeting:
            start = self._meet((event.job_id, event.scheduled_run_time), None)
        if start is not None or (job := self._job(event.job_id)) is None:
            return start
        began = event.scheduled_run_time.timestamp()
        run = job_run(job, event.scheduled_run_time, began, self._host)
        return run, time.monotonic() - max(0.0, time.time() - began)

    def _meet(self, of: tuple[str, datetime], mine: Start | None) -> Start | None:
        """What the run's other event left. The first of the two leaves its own, and gets it."""
        theirs = self._runs.setdefault(of, mine)
        if theirs is not mine:
            del self._runs[of]
        return theirs

    def _read_log(self, record: logging.LogRecord) -> bool:
        """A filter that lets all pass: of a run whose process was killed, no listener hears."""
        if record.msg == _LOST and record.exc_info and isinstance(record.args, tuple):
            try:
                if _scheduler_that_logs() in (None, self._scheduler):
                    self._lost(str(record.args[0]), record.exc_info[1])
            except Exception as error:  # a mistake of ours would reach the executor
                _log.error(f"a run is not reported: {error!r}", subject=repr(type(error)))
        return True

    def _lost(self, job_id: str, error: BaseException | None) -> None:
        if (job := self._job(job_id)) is None:
            return
        runs = {of: start for of, start in self._runs.copy().items() if of[0] == job_id and start}
        for of in runs:
            self._runs.pop(of, None)
        if not runs:
            self._runs[job_id, None] = None
        start = next(iter(runs.values()), (JobRun(job.key, time.time()), time.monotonic()))
        self._finish(*start, error)


def _scheduler_that_logs() -> Any:
    """That of the executor that logs now: executors of several schedulers have one logger.

    None where it does not show.
    """
    frame: FrameType | None = sys._getframe()
    while frame is not None and frame.f_code.co_name != "_run_job_error":
        frame = frame.f_back
    executor = None if frame is None else frame.f_locals.get("self")
    return getattr(executor, "_scheduler", None)
