"""RQ's jobs as values: which run it is, how it ended, and how often the job is due.

Pure, but for reading the pipe on which a work horse writes how its job ended.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from rq.job import JobStatus

from pushgate import GroupingKey, JobRun, Outcome, Status, label_value

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rq.cron import CronJob
    from rq.job import Job

_OUT_OF_TIME = "timed out"
_TIME_LIMITS = ("JobTimeoutException", _OUT_OF_TIME)
_STATUS = {
    JobStatus.FINISHED: Status.SUCCESS,
    JobStatus.FAILED: Status.FAILURE,
    JobStatus.STOPPED: Status.FAILURE,
}
_MOST_BYTES = 65_536  # of a pipe


def job_run(job: Job, label: str, *, started_at: float | None = None, host: str = "") -> JobRun:
    """The run of ``job``: its group is the function's, as many jobs call one function.

    ``label`` is the grouping label ``job``. What RQ can't read is the task ``unreadable``.
    """
    try:
        task = str(job.func_name)
    except Exception:  # a serializer's, of any kind: another one wrote the job
        task = "unreadable"
    return JobRun(
        GroupingKey(label, {"task": label_value(task)}), started_at, host=host, run_id=job.id
    )


def queue_wait(job: Job, now: float) -> float | None:
    """How long the run that begins now has waited, in seconds."""
    return None if job.enqueued_at is None else max(0.0, now - job.enqueued_at.timestamp())


def outcome(job: Job, status: Status, now: float, *, cause: str = "") -> Outcome:
    """How a run ended, by RQ's own times; ``cause`` is why it failed, in a word."""
    started, ended = (
        None if time is None else time.timestamp() for time in (job.started_at, job.ended_at)
    )
    if started is None or ended is None or ended < started:
        ended = now  # of a run before this one, or not known
    return Outcome(
        status,
        ended,
        duration=None if started is None else max(0.0, ended - started),
        timed_out=cause in _TIME_LIMITS,
        exception=cause,
    )


def known_outcome(job: Job, now: float, *, cause: str = "") -> Outcome:
    """How a run ended, by what RQ then made of the job."""
    status = job.get_status(refresh=False)
    if status == JobStatus.STOPPED:  # a stop command: the work is not done
        cause = "stopped"
    return outcome(job, _STATUS.get(status, Status.RETRY), now, cause=cause)


def cause_of_death(wait_status: int | None) -> str:
    """Why a work horse ended too early; without a status, the worker killed it for its time."""
    if wait_status is None:
        return _OUT_OF_TIME
    code = os.waitstatus_to_exitcode(wait_status)
    return f"exit {code}" if code >= 0 else f"signal {-code}"


def packed(outcome: Outcome) -> bytes:
    """``outcome`` as a line for a pipe, of less than 4 KiB."""
    return json.dumps([outcome.status.value, *outcome[1:]]).encode() + b"\n"


def read_outcome(reader: int) -> Outcome | None:
    """The last outcome in the pipe, which is closed: RQ may call a success a failure afterwards."""
    with open(reader, "rb", buffering=0) as pipe:
        os.set_blocking(reader, False)  # a process that the job left behind holds it open
        data = pipe.read(_MOST_BYTES)
    if not data:
        return None
    fields: list[Any] = json.loads(data.splitlines()[-1])
    return Outcome(Status(fields[0]), *fields[1:])


def schedules_of(cron_jobs: Iterable[CronJob]) -> dict[str, float | str]:
    """The period in seconds, or the cron expression, by function; none for a function with two."""
    found: dict[str, set[float | str]] = {}
    for cron_job in cron_jobs:
        schedule = cron_job.interval or cron_job.cron
        if schedule:
            found.setdefault(cron_job.func_name, set()).add(schedule)
    return {name: schedules.pop() for name, schedules in found.items() if len(schedules) == 1}
