"""A worker's records to groups at the gateway, in the pusher process. Must not import celery."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pushgate import Change, GroupingKey, RateLimitedLogger
from pushgate_celery import _task_records as kinds
from pushgate_celery._run_ledger import RunLedger
from pushgate_celery._series import Budget
from pushgate_celery._task_groups import TaskGroups
from pushgate_celery._task_metrics import TaskMetrics
from pushgate_celery._task_records import End, MetricUpdate, WorkerState
from pushgate_celery._worker_group import WorkerGroup

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from pushgate_celery._task_records import TaskRun


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
        self._deletes = on_exit == "delete"
        self._max_series = max_series
        self._log = RateLimitedLogger()
        self._crashed: bool | None = None  # until the worker's end is told
        self._is_quiet = False
        budget = Budget(max_series, self._overflowed)
        # Half: what a task's code puts into labels must not take the room of the outcomes.
        part = Budget(max_series // 2, self._overflowed, within=budget)
        self._key = GroupingKey(job, {"instance": node})
        self._worker = WorkerGroup(started_at, budget)
        self._groups = TaskGroups(job, node, max_series, self._log, self._overflowed)
        self._own = TaskMetrics(job, node, part, self._log, self._refused)
        self._ledger = RunLedger(self._started, self._ended)
        self._first = [Change("PUT", self._key, self._worker)]
        self._changes: list[Change] = []  # of the record that is being fed
        ledger, worker = self._ledger, self._worker
        # Of a record, and the time at which it was read.
        self._handlers: dict[str, Callable[[Sequence[Any], float], object]] = {
            kinds.START: lambda record, _now: ledger.start(record[1]),
            kinds.END: lambda record, _now: ledger.end(record[1], End._make(record[2:])),
            kinds.CUT: lambda r, _now: ledger.cut(r[1], End._make(r[2:-1]), r[-1]),
            kinds.TOLD: lambda r, _now: ledger.told(r[1], r[2], End._make(r[3:])),
            kinds.GONE: self._gone,
            kinds.COUNT: lambda record, _now: worker.add(record[1], tuple(record[2])),
            kinds.METRIC: self._metric,
            kinds.WORKER: self._state,
            kinds.KNOWN: lambda record, _now: worker.known(record[1]),
            kinds.GOODBYE: self._goodbye,
        }

    def feed(self, record: Sequence[Any], now: float) -> Iterable[Change]:
        """The changes for one record. Raises for a record of another kind."""
        self._worker.add("pushgate_records")
        self._handlers[record[0]](record, now)
        return self._taken()

    def dropped(self, count: int) -> Iterable[Change]:
        """The worker could not hand over ``count`` records."""
        self._worker.add("pushgate_records_dropped", (), count)
        return self._taken()

    def delivery(
        self,
        key: GroupingKey,
        error: Exception | None,
        now: float,  # noqa: ARG002
    ) -> Iterable[Change]:
        """How a push to ``key`` ended. The totals of a worker that is quiet are pushed again."""
        self._worker.pushed(error)
        if error is None:
            self._groups.delivered(key)
        return self._first if self._is_quiet and key == self._key else ()

    def abandoned(self, now: float) -> Iterable[Change]:  # noqa: ARG002
        """The worker's main process was killed. Its children may end what they run."""
        if self._crashed is None:
            self._ends(crashed=True)
        return self._taken()

    def closed(self, now: float) -> Iterable[Change]:
        """All is over: without a GOODBYE the worker has crashed."""
        crashed = self._crashed is not False
        self._ledger.close(now, crashed=crashed)
        self._ends(crashed=crashed)
        if self._deletes and not crashed:
            self._first = []
            return [Change("DELETE", self._key), *self._own.deleted(), *self._taken()]
        return self._taken()

    def _taken(self) -> list[Change]:
        """The worker's group goes first, until it is deleted."""
        if not self._changes:
            return self._first
        changes, self._changes = self._first + self._changes, []
        return changes

    def _started(self, run: TaskRun) -> None:
        self._worker.started(run)
        self._changes += self._groups.started(run)

    def _ended(self, run: TaskRun, end: End) -> None:
        if end.state:
            self._worker.ended(run, end)
            self._changes += self._groups.ended(run, end)

    def _gone(self, record: Sequence[Any], now: float) -> None:
        _, pid, is_lost, is_wanted = record
        if not self._ledger.gone(pid, is_wanted, now) and is_lost:
            self._worker.add("celery_worker_children_lost")

    def _metric(self, record: Sequence[Any], _now: float) -> None:
        self._changes += self._own.feed(MetricUpdate._make(record[1:]))

    def _state(self, record: Sequence[Any], now: float) -> None:
        state = WorkerState._make(record[1:])
        self._is_quiet = state.is_quiet
        self._worker.state(state)
        self._ledger.look(now)

    def _goodbye(self, record: Sequence[Any], _now: float) -> None:
        # Not at the end of the pipe only: the worker's successor must not find it up.
        self._crashed = record[1]
        self._ends(crashed=record[1])

    def _ends(self, *, crashed: bool) -> None:
        self._is_quiet = False
        self._worker.ends(crashed=crashed)

    def _overflowed(self) -> None:
        self._log.warning(
            f"there are max_series={self._max_series} label sets: further label values are counted"
            " as 'other', those of gauges left out; raise it, or find the label that has too many"
            " values",
            subject="overflow",
        )
        self._worker.add("pushgate_series_overflowed")

    def _refused(self) -> None:
        self._worker.add("pushgate_metrics_refused")
