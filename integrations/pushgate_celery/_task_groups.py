"""Runs as groups: one for each task, ``{job, task}``, and one for a run that asks for its own.

Nothing is made for a run but at a push: a task's group notes what is new, and is the collector of
it. A run's own group has the metric by which ``pushgate prune`` deletes it when it is of no use.
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
    from collections.abc import Callable, Iterator

    from pushgate import Family, RateLimitedLogger
    from pushgate_celery._task_records import End, TaskRun

_STATUS = {
    "success": Status.SUCCESS,
    "failure": Status.FAILURE,
    "retry": Status.RETRY,
    "revoked": Status.FAILURE,  # terminated while it ran: the work is not done
    "ignored": Status.SKIPPED,  # it began, and gave no verdict
    "rejected": Status.SKIPPED,
}

_CLOCK_SET_BACK = 60.0  # seconds that a start lies after what happens later


class _TaskGroup:
    """What is new of one task since the last push of its group: a collector."""

    def __init__(self, key: GroupingKey, host: str) -> None:
        self.key = key
        self._host = host
        self._start: float | None = None
        self._interval: float | None = None
        self._ends: dict[str, tuple[int, TaskRun, End]] = {}  # the last of each state, in order
        self._count = self._collected = 0
        self._state: str | None = None
        self._slow = Change("POST", key, self, "slow")
        self._now = Change("POST", key, self, "now")

    def started(self, run: TaskRun) -> Change:
        """A run began."""
        is_first, now = self._start is None, run.started_at
        # Several runs of a task may overlap, and their starts come in any order.
        if self._start is None or not now < self._start <= now + _CLOCK_SET_BACK:
            self._start = now
        self._interval = None if run.stamp is None else run.stamp[2]
        return self._now if is_first or self._interval is not None else self._slow

    def ended(self, run: TaskRun, end: End) -> Change:
        """A run ended: now where it ended in another way than the one before.

        Or where it has a schedule: what is told late would look as if it were late.
        """
        self._count += 1
        self._ends.pop(end.state, None)
        self._ends[end.state] = self._count, run, end
        if end.state == self._state and self._interval is None:
            return self._slow
        self._state = end.state
        return self._now

    def collect(self) -> Iterator[Family]:
        """What the ends leave, one after the other, and the latest start."""
        self._collected = self._count
        job = JobRun(self.key, self._start, self._interval)
        families = {family.name: family for family in start_families(job)}
        for _, run, end in self._ends.values():
            this = job._replace(host=self._host, run_id=run.task_id)
            families.update({f.name: f for f in end_families(this, _outcome(run, end))})
        yield from families.values()

    def delivered(self) -> None:
        """What was collected is at the gateway: another worker's ends may come after it."""
        for state, (number, _, _) in [*self._ends.items()]:
            if number <= self._collected:
                del self._ends[state]


class TaskGroups:
    """The groups of one worker's runs; ``limit`` bounds them, of either kind.

    ``overflow`` is called for each run that found no group.
    """

    def __init__(
        self, job: str, node: str, limit: int, log: RateLimitedLogger, overflow: Callable[[], None]
    ) -> None:
        self._job = job
        self._host = node.rpartition("@")[2]
        self._limit = limit
        self._log = log
        self._overflow = overflow
        self._groups: dict[str, _TaskGroup] = {}
        self._of_key: dict[GroupingKey, _TaskGroup] = {}
        self._expiries: dict[GroupingKey, float] = {}

    def started(self, run: TaskRun) -> list[Change]:
        """The changes for a run that began."""
        group = self._groups.get(run.task) or self._new(run.task)
        changes = [] if group is None else [group.started(run)]
        return changes + self._own_group(run, None)

    def ended(self, run: TaskRun, end: End) -> list[Change]:
        """The changes for a run that ended."""
        group = self._groups.get(run.task) or self._new(run.task)
        changes = [] if group is None else [group.ended(run, end)]
        return changes + self._own_group(run, end)

    def delivered(self, key: GroupingKey) -> None:
        """A push of this group has arrived."""
        if (group := self._of_key.get(key)) is not None:
            group.delivered()

    def _own_group(self, run: TaskRun, end: End | None) -> list[Change]:
        if run.per_run is None:
            return []
        labels, lifetime = run.per_run
        now = run.started_at if end is None else end.at
        try:
            own = {name: clean(value) for name, value in labels.items()}
            key = GroupingKey(self._job, {**own, "task": clean(run.task)})
        except InvalidGroupingKeyError as error:
            self._log.warning(
                f"a run of {run.task} gets no group of its own: {error}",
                subject=("per_run", run.task),
            )
            return []
        if key not in self._expiries and not self._has_room(now):
            self._log.warning(
                f"{self._limit} runs have groups of their own, as many as max_series allows: more"
                f" get none until some expire ({run.task} was the first); group by less, or set a"
                " shorter lifetime",
                subject="per_run room",
            )
            self._overflow()
            return []
        expiry = max(now + lifetime, self._expiries.get(key, 0.0))
        self._expiries[key] = expiry
        job = JobRun(key, run.started_at, expires_at=expiry, host=self._host, run_id=run.task_id)
        families = start_families(job) if end is None else end_families(job, _outcome(run, end))
        return [Change("POST", key, families, "now")]

    def _has_room(self, now: float) -> bool:
        if len(self._expiries) >= self._limit:
            self._expiries = {key: at for key, at in self._expiries.items() if at > now}
        return len(self._expiries) < self._limit

    def _new(self, task: str) -> _TaskGroup | None:
        if len(self._groups) >= self._limit:
            self._log.warning(
                f"the outcomes of {self._limit} tasks are published, as many as max_series allows:"
                f" those of {clean(task)} and others are not; raise max_series",
                subject="task groups",
            )
            self._overflow()
            return None
        key = GroupingKey(self._job, {"task": clean(task)})
        # Names that are equal in their first characters share a group.
        group = self._of_key.setdefault(key, _TaskGroup(key, self._host))
        self._groups[task] = group
        return group


def _outcome(run: TaskRun, end: End) -> Outcome:
    # A retry sends the next try before it ends itself, and that one may be over by then.
    number = None if end.state == "retry" else (run.retries or 0) + 1
    wait = None
    if run.stamp is not None:
        wait = max(0.0, run.started_at - max(run.stamp[0], run.eta or run.stamp[0]))
    status, cause = _STATUS[end.state], end.exception
    return Outcome(status, end.at, end.duration, number, queue_wait=wait, exception=cause)
