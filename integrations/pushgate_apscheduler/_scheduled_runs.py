"""What APScheduler knows of a job and its runs, as values of pushgate. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from apscheduler.triggers.date import DateTrigger

from pushgate import GroupingKey, JobRun

if TYPE_CHECKING:
    from apscheduler.job import Job

_ID_OF_APSCHEDULER = re.compile("[0-9a-f]{32}")


class ScheduledJob(NamedTuple):
    """What is needed of a job, also after it was removed. What runs once has no schedule."""

    key: GroupingKey
    trigger: Any
    runs_once: bool


def scheduled_job(job: Job, name: str) -> ScheduledJob:
    """What to keep of ``job``; ``name`` is the label ``job`` of its group.

    An id that APScheduler makes is a new one after each restart, and jobs that run once often have
    one each: their own name, by default that of their function, bounds the groups.
    """
    runs_once = isinstance(job.trigger, DateTrigger)
    is_bounded = not runs_once and not _ID_OF_APSCHEDULER.fullmatch(job.id)
    key = GroupingKey(name, {"task": job.id if is_bounded else job.name})
    return ScheduledJob(key, job.trigger, runs_once)


def job_run(job: ScheduledJob, fire_time: datetime, started_at: float, host: str = "") -> JobRun:
    """The run of ``job`` that was scheduled for ``fire_time``, as its log lines say."""
    run = JobRun(job.key, started_at, host=host, run_id=fire_time.isoformat())
    if job.runs_once:
        return run
    after = job.trigger.get_next_fire_time(fire_time, fire_time)
    if after is None:
        return run._replace(expected_interval=0.0)
    # In UTC: two times of one zone are subtracted as if it had no summer time.
    interval = (after.astimezone(UTC) - fire_time.astimezone(UTC)).total_seconds()
    is_exact = not getattr(job.trigger, "jitter", None)
    next_run_at = after.timestamp() if is_exact else None
    return run._replace(expected_interval=interval, next_run_at=next_run_at)


def schedule(job: ScheduledJob, fire_time: datetime | None) -> JobRun:
    """No run, but when ``job`` is due next: at ``fire_time``, or never (an interval of 0)."""
    if fire_time is None:
        return JobRun(job.key, None, expected_interval=0.0)
    run = job_run(job, fire_time, 0.0)
    return run._replace(started_at=None, next_run_at=fire_time.timestamp())
