"""Runs of Django's commands and tasks as values of pushgate. Pure."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

from django.core.management.base import CommandError

from pushgate import CommandEnd, GroupingKey, JobRun, Outcome, Status, label_value

if TYPE_CHECKING:
    from datetime import datetime


def command_outcome(error: BaseException | None, ended_at: float, duration: float) -> Outcome:
    """How a command ended that raised ``error``, with the exit status that manage.py has then."""
    exit_code, number, exception = 1, 0, type(error).__name__
    if error is None:
        exit_code = 0
    elif isinstance(error, CommandError):
        exit_code = error.returncode
    elif isinstance(error, SystemExit):
        exit_code = error.code if isinstance(error.code, int) else int(error.code is not None)
        exception = ""  # the exit status says more
    elif isinstance(error, KeyboardInterrupt):
        exit_code, number = 128 + signal.SIGINT, int(signal.SIGINT)
    end = CommandEnd(exit_code, number)
    if exit_code == 0:
        return Outcome(Status.SUCCESS, ended_at, duration, command=end)
    return Outcome(Status.FAILURE, ended_at, duration, command=end, exception=exception)


def task_run(job: str, result: Any, host: str) -> JobRun:
    """The run that a TaskResult of django.tasks or django-tasks is about."""
    key = GroupingKey(job, {"task": label_value(result.task.module_path)})
    return JobRun(key, _seconds(result.last_attempted_at), host=host, run_id=str(result.id))


def task_outcome(result: Any, now: float) -> Outcome:
    """How that run ended, which is told at ``now``."""
    began, ended = _seconds(result.last_attempted_at), _seconds(result.finished_at) or now
    due = max(
        filter(None, map(_seconds, (result.enqueued_at, result.task.run_after))), default=None
    )
    failed = result.status == "FAILED"
    return Outcome(
        Status.FAILURE if failed else Status.SUCCESS,
        ended,
        duration=None if began is None else max(0.0, ended - began),
        try_number=len(result.worker_ids) or None,
        queue_wait=None if began is None or due is None else max(0.0, began - due),
        exception=result.errors[-1].exception_class_path.rpartition(".")[2] if failed else "",
    )


def _seconds(at: datetime | None) -> float | None:
    """Unix seconds; a time without a zone is the process's, which Django sets to its TIME_ZONE."""
    return None if at is None else at.timestamp()
