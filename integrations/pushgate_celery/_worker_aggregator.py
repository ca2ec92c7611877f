"""A worker's records to groups at the gateway, in the pusher process. Must not import celery."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pushgate import Change, GroupingKey, RateLimitedLogger
from pushgate_celery._series import Budget
from pushgate_celery._task_groups import TaskGroups
from pushgate_celery._task_metrics import TaskMetrics
from pushgate_celery._task_records import (
    COUNT,
    END,
    GOODBYE,
    KNOWN,
    METRIC,
    START,
    WORKER,
    Count,
    End,
    Known,
    MetricUpdate,
    PerRun,
    Start,
    WorkerState,
)
from pushgate_celery._worker_group import WorkerGroup

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ("WorkerAggregator", "create")


def create(options: Mapping[str, Any]) -> WorkerAggregator:
    """The aggregator of one worker.

    ``options``: ``job`` and ``node``, the worker's name; ``started_at`` in Unix seconds;
    ``max_series``, how many label sets the worker's metrics may have, and how many groups its
    tasks; ``on_exit``, whether to ``keep`` or ``delete`` the worker's groups after a clean exit.
    """
    return WorkerAggregator(**options)


class WorkerAggregator:
    """Implements the relay's Aggregator; :func:`create` has the options."""

    def __init__(
        self,
        *,
        job: str,
        node: str,
        started_at: float,
        max_series: int = 2000,
        on_exit: str = "keep",
    ) -> None:
        if on_exit not in ("keep", "delete"):
            raise ValueError(f"on_exit is {on_exit!r}; it can be 'keep' or 'delete'")
        self._deletes = on_exit == "delete"
        self._max_series = max_series
        self._log = RateLimitedLogger()
        self._said_goodbye = self._end_is_told = False
        budget = Budget(max_series, self._overflowed)
        # Half: what a task's code puts into labels must not take the room of the outcomes.
        part = Budget(max_series // 2, self._overflowed, within=budget)
        self._key = GroupingKey(job, {"instance": node})
        self._worker = WorkerGroup(started_at, budget, self._log)
        self._tasks = TaskGroups(job, max_series, self._log, self._overflowed)
        self._own = TaskMetrics(job, node, part, self._log, self._refused)
        self._put = Change("PUT", self._key, self._worker)
        self._handlers = {
            START: self._start,
            END: self._end,
            COUNT: self._count,
            METRIC: self._metric,
            WORKER: self._state,
            KNOWN: self._know,
            GOODBYE: self._goodbye,
        }

    def feed(self, record: Sequence[Any], now: float) -> Iterable[Change]:  # noqa: ARG002
        """The changes for one record. Raises for a record of another kind."""
        self._end_is_told = False
        changes = self._handlers[record[0]](record[1:])
        self._worker.tick("pushgate_records")
        return changes

    def dropped(self, count: int) -> Iterable[Change]:
        """The worker could not hand over ``count`` records."""
        self._end_is_told = False
        self._worker.tick("pushgate_records_dropped", count)
        return (self._put,)

    def delivery(self, key: GroupingKey, error: Exception | None, now: float) -> None:  # noqa: ARG002
        """How a push to ``key`` ended."""
        self._worker.pushed(error)

    def closed(self, now: float) -> Iterable[Change]:  # noqa: ARG002
        """All processes of the worker are gone: without a GOODBYE it has crashed."""
        return () if self._end_is_told else self._end_of_worker()

    def _start(self, fields: Sequence[Any]) -> Iterable[Change]:
        start = Start(*fields)
        if start.per_run is not None:
            start = start._replace(per_run=PerRun(*start.per_run))
        self._worker.started(start)
        return [*self._tasks.started(start), self._put]

    def _end(self, fields: Sequence[Any]) -> Iterable[Change]:
        end = End(*fields)
        if end.per_run is not None:
            end = end._replace(per_run=PerRun(*end.per_run))
        duration = end.duration
        if duration is None and end.started_at is not None:
            # Only the process that ran it could have measured it, and that one was killed.
            duration = max(0.0, end.ended_at - end.started_at)
        self._worker.ended(end, duration)
        return [*self._tasks.ended(end, duration), self._put]

    def _count(self, fields: Sequence[Any]) -> Iterable[Change]:
        self._worker.counted(Count(*fields))
        return (self._put,)

    def _metric(self, fields: Sequence[Any]) -> Iterable[Change]:
        return self._own.feed(MetricUpdate(*fields)) or (self._put,)

    def _state(self, fields: Sequence[Any]) -> Iterable[Change]:
        self._worker.state(WorkerState(*fields))
        return (self._put,)

    def _know(self, fields: Sequence[Any]) -> Iterable[Change]:
        self._worker.known(Known(*fields))
        return (self._put,)

    def _goodbye(self, _fields: Sequence[Any]) -> Iterable[Change]:
        # Not at the end of the pipe only: a process that a task forked may hold that for days, and
        # the worker's successor have its group by then.
        self._said_goodbye = self._end_is_told = True
        return self._end_of_worker()

    def _end_of_worker(self) -> Iterable[Change]:
        self._worker.ends(crashed=not self._said_goodbye)
        if self._said_goodbye and self._deletes:
            return [Change("DELETE", self._key), *self._own.deleted()]
        return (self._put,)

    def _overflowed(self) -> None:
        self._log.warning(
            f"there are max_series={self._max_series} label sets: further label values are counted"
            " as 'other', those of gauges left out; raise it, or find the label that has too many"
            " values",
            subject="overflow",
        )
        self._worker.tick("pushgate_series_overflowed")

    def _refused(self) -> None:
        self._worker.tick("pushgate_metrics_refused")
