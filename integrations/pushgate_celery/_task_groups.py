"""Runs as groups: one for each task, ``{job, task}``, and one for a run that asks for its own.

A run's own group has the metric by which ``pushgate prune`` deletes it when it is of no use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pushgate import (
    Change,
    GroupingKey,
    InvalidGroupingKeyError,
    JobRun,
    Outcome,
    Status,
    end_families,
    start_families,
)
from pushgate_celery._series import clean

if TYPE_CHECKING:
    from collections.abc import Callable

    from pushgate import RateLimitedLogger
    from pushgate_celery._task_records import End, PerRun, Start

__all__ = ("TaskGroups",)

_STATUS = {
    "success": Status.SUCCESS,
    "failure": Status.FAILURE,
    "retry": Status.RETRY,
    "revoked": Status.FAILURE,  # terminated while it ran: the work is not done
    "ignored": Status.SKIPPED,  # it began, and gave no verdict
    "rejected": Status.SKIPPED,
}

_CLOCK_SET_BACK = 60.0  # seconds that a start lies after what happens later


class TaskGroups:
    """The groups of one worker's runs; ``limit`` bounds them, of either kind.

    ``overflow`` is called for each run that found no group.
    """

    def __init__(
        self, job: str, limit: int, log: RateLimitedLogger, overflow: Callable[[], None]
    ) -> None:
        self._job = job
        self._limit = limit
        self._log = log
        self._overflow = overflow
        self._keys: dict[str, GroupingKey] = {}
        self._latest_start: dict[str, float] = {}
        self._expiries: dict[GroupingKey, float] = {}

    def started(self, start: Start) -> list[Change]:
        """The changes for a run that began."""
        return self._changes(start, start.started_at, None, start.started_at)

    def ended(self, end: End, duration: float | None) -> list[Change]:
        """The changes for a run that ended."""
        # A retry sends the next try before it ends itself, and that one may be over by then.
        number = None if end.state == "retry" else end.try_number
        outcome = Outcome(_STATUS[end.state], end.ended_at, duration, number, queue_wait=end.wait)
        return self._changes(end, end.started_at, outcome, end.ended_at)

    def _changes(
        self,
        record: Start | End,
        started_at: float | None,
        outcome: Outcome | None,
        now: float,
    ) -> list[Change]:
        changes = []
        key = self._keys.get(record.task) or self._new_key(record.task)
        if key is not None:
            # Several runs of a task may overlap, and their ends come in any order.
            start = self._latest_start.get(record.task, started_at)
            if start is not None and start > now + _CLOCK_SET_BACK:
                start = started_at
            if started_at is not None and start is not None:
                start = self._latest_start[record.task] = max(start, started_at)
            changes.append(_post(JobRun(key, start, record.interval), outcome))
        if record.per_run is not None:
            changes += self._own_group(record.task, record.per_run, started_at, outcome, now)
        return changes

    def _own_group(
        self,
        task: str,
        per_run: PerRun,
        started_at: float | None,
        outcome: Outcome | None,
        now: float,
    ) -> list[Change]:
        try:
            if "task" in per_run.labels:
                raise InvalidGroupingKeyError("'task' is the task's name", label="task")
            labels = {name: clean(value) for name, value in per_run.labels.items()}
            key = GroupingKey(self._job, {**labels, "task": clean(task)})
        except InvalidGroupingKeyError as error:
            self._log.warning(
                f"a run of {task} gets no group of its own: {error}", subject=("per_run", task)
            )
            return []
        if key not in self._expiries and not self._has_room(now):
            self._log.warning(
                f"{self._limit} runs have groups of their own, as many as max_series allows: more"
                f" get none until some expire ({task} was the first); group by less, or set a"
                " shorter lifetime",
                subject="per_run room",
            )
            self._overflow()
            return []
        expiry = max(now + per_run.lifetime, self._expiries.get(key, 0.0))
        self._expiries[key] = expiry
        run = JobRun(key, started_at, expires_at=expiry)
        return [_post(run, outcome)]

    def _has_room(self, now: float) -> bool:
        if len(self._expiries) >= self._limit:
            self._expiries = {key: at for key, at in self._expiries.items() if at > now}
        return len(self._expiries) < self._limit

    def _new_key(self, task: str) -> GroupingKey | None:
        if len(self._keys) >= self._limit:
            self._log.warning(
                f"the outcomes of {self._limit} tasks are published, as many as max_series allows:"
                f" those of {clean(task)} and others are not; raise max_series",
                subject="task groups",
            )
            self._overflow()
            return None
        key = self._keys[task] = GroupingKey(self._job, {"task": clean(task)})
        return key


def _post(run: JobRun, outcome: Outcome | None) -> Change:
    families = start_families(run) if outcome is None else end_families(run, outcome)
    return Change("POST", run.key, families)
