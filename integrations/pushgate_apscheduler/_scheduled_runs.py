"""What APScheduler knows of a job and its runs, as values of pushgate. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from apscheduler.triggers.date import DateTrigger

from pushgate import GroupingKey, JobRun, label_value

if TYPE_CHECKING:
    from apscheduler.job import Job


class ScheduledJob(NamedTuple):
    """What is needed of a job, also after it was removed. What runs once has no schedule."""

    key: GroupingKey
    trigger: Any
    runs_once: bool
    grace: float | None  # seconds, in which a run may begin late


def scheduled_job(job: Job, name: str) -> ScheduledJob:
    """What to keep of ``job``; ``name`` is the label ``job`` of its group.

    An id that APScheduler makes is a new one after each restart, and jobs that run once often have
    one each: their own name, by default that of their function, bounds the groups.
    """
    runs_once = isinstance(job.trigger, DateTrigger)
    is_bounded = not runs_once and not re.fullmatch("[0-9a-f]{32}", job.id)
    key = GroupingKey(name, {"task": label_value(job.id if is_bounded else job.name)})
    return ScheduledJob(key, job.trigger, runs_once, getattr(job, "misfire_grace_time", None))


def job_run(job: ScheduledJob, fire_time: datetime, now: float, host: str = "") -> JobRun:
    """The run of ``fire_time``, as log lines say. It starts ``now``, or never if far too late."""
    is_missed = job.grace is not None and now - fire_time.timestamp() > 2 * job.grace
    run = JobRun(job.key, None if is_missed else now, host=host, run_id=fire_time.isoformat())
    if job.runs_once:
        return run
    after = job.trigger.get_next_fire_time(fire_time, fire_time)
    if after is None:
        return run._replace(expected_interval=0.0)
    # In UTC: two times of one zone are subtracted as if it had no summer time.
    interval = (after.astimezone(UTC) - fire_time.astimezone(UTC)).total_seconds()
    next_run_at = None if getattr(job.trigger, "jitter", None) else after.timestamp()
    return run._replace(expected_interval=interval, next_run_at=next_run_at)


def schedule(job: ScheduledJob, fire_time: datetime | None) -> JobRun:
    """No run, but when ``job`` is due next: at ``fire_time``, or never (an interval of 0)."""
    if fire_time is None:
        return JobRun(job.key, None, expected_interval=0.0)
    at = fire_time.timestamp()
    return job_run(job, fire_time, at)._replace(started_at=None, next_run_at=at)
