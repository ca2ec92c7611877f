"""The totals of one worker: what its group ``{job, instance}`` holds.

The object itself is the collector of the group, read whenever it is pushed. The group has one
writer, so each push replaces it, and a gauge that is unset is gone from it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pushgate import GatewayRejectedError, InvalidPayloadError
from pushgate_celery._metric_specs import COUNTERS, GAUGES, HISTOGRAMS, TASK_SECONDS
from pushgate_celery._series import Budget, Counter, Gauge, Histogram

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pushgate import Family, RateLimitedLogger
    from pushgate_celery._task_records import Count, End, Known, Start, What, WorkerState

__all__ = ("FINISHED", "WorkerGroup")

FINISHED = ("success", "failure", "ignored", "rejected", "revoked")
"""The states in which a run is over for good; ``retry`` is not."""

_COUNTS: dict[What, str] = {
    "revoked": "celery_task_revoked",
    "unknown": "celery_task_unknown",
    "rejected": "celery_task_message_rejected",
    "children_lost": "celery_worker_children_lost",
}
_FROM_ZERO = (
    "celery_task_unknown",
    "celery_task_message_rejected",
    "celery_worker_children_lost",
    "pushgate_records",
    "pushgate_records_dropped",
    "pushgate_series_overflowed",
    "pushgate_metrics_refused",
)


class WorkerGroup:
    """A worker's totals since ``started_at``, in Unix seconds. A collector.

    ``budget`` bounds the label sets; those of the health metrics are few and not in it.
    """

    def __init__(self, started_at: float, budget: Budget, log: RateLimitedLogger) -> None:
        self._budget = budget
        self._log = log
        few = Budget(100, lambda: None)
        self._counters: dict[str, Counter] = {}
        for spec in COUNTERS.values():
            is_open = "task" in spec.labels
            self._counters[spec.name] = Counter(
                *(spec.name, spec.documentation, spec.labels, budget if is_open else few),
                closed=("state",),
                crowded="exception" if "exception" in spec.labels else None,
            )
        self._histograms = {
            spec.name: Histogram(
                spec.name, spec.documentation, spec.labels, budget, buckets=TASK_SECONDS
            )
            for spec in HISTOGRAMS.values()
        }
        self._gauges = {
            spec.name: Gauge(spec.name, spec.documentation, spec.labels, few)
            for spec in GAUGES.values()
        }
        self._started = self._counters["celery_task_started"].add
        self._finished = self._counters["celery_task_finished"].add
        self._retried = self._counters["celery_task_retried"].add
        self._redelivered = self._counters["celery_task_redelivered"].add
        self._runtime = self._histograms["celery_task_runtime_seconds"].observe
        self._wait = self._histograms["celery_task_queue_wait_seconds"].observe
        self._latency = self._histograms["celery_task_latency_seconds"].observe
        for name in _FROM_ZERO:
            self._counters[name].add((), 0.0)
        for result in ("success", "failure", "rejected"):
            self._counters["pushgate_pushes"].add((result,), 0.0)
        self._set("celery_worker_up", 1)
        self._set("celery_worker_crashed", 0)
        self._set("celery_worker_start_timestamp_seconds", started_at)
        self._set("celery_worker_tasks_active", 0)
        self._set("celery_worker_tasks_prefetched", 0)

    def collect(self) -> Iterator[Family]:
        """All families, as they are now."""
        for metrics in (self._gauges, self._counters, self._histograms):
            for metric in metrics.values():
                yield from metric.collect()

    def known(self, known: Known) -> None:
        """Make the series of tasks, so that increase() sees their first event.

        They take half of the room at most, because a task that is registered need not ever run.
        """
        for task, queue in known.tasks.items():
            if self._budget.used + 3 > self._budget.limit // 2:
                self._log.warning(
                    "the worker has more tasks than half of max_series holds: some have no series"
                    " before their first run; raise max_series, or choose tasks with tasks=",
                    subject="known",
                )
                return
            self._started((task, queue), 0.0)
            for state in ("success", "failure"):
                self._finished((task, queue, state, ""), 0.0)

    def started(self, start: Start) -> None:
        """Count a run that began."""
        self._started((start.task, start.queue))
        if start.redelivered:
            self._redelivered((start.task, start.queue))

    def ended(self, end: End, duration: float | None) -> None:
        """Count a run that ended; a retry is counted apart, and is no measure of the runtime."""
        series = (end.task, end.queue)
        if end.state in FINISHED:
            self._finished((*series, end.state, end.exception))
            if duration is not None:
                self._runtime(series, max(0.0, duration))
        elif end.state == "retry":
            self._retried((*series, end.exception))
        else:
            raise ValueError(f"a run can't end in the state {end.state!r}")
        if end.wait is not None:
            self._wait(series, max(0.0, end.wait))
        if end.latency is not None and end.state == "success":
            self._latency(series, max(0.0, end.latency))

    def counted(self, count: Count) -> None:
        """Count what the worker's main process saw."""
        counter = self._counters[_COUNTS[count.what]]
        values = tuple(count.labels.get(label, "") for label in counter.labels)
        counter.add(values, count.amount)

    def state(self, worker: WorkerState) -> None:
        """Set the worker's own state."""
        self._set("celery_worker_tasks_active", worker.active)
        self._set("celery_worker_tasks_prefetched", worker.prefetched)
        oldest = "celery_worker_oldest_task_start_timestamp_seconds"
        if worker.oldest_start is None:
            self._gauges[oldest].clear()
        else:
            self._set(oldest, worker.oldest_start)

    def ends(self, *, crashed: bool) -> None:
        """The worker is gone. After a crash its running tasks stay, to show what was lost."""
        self._set("celery_worker_up", 0)
        self._set("celery_worker_crashed", crashed)
        if not crashed:
            self._set("celery_worker_tasks_active", 0)
            self._set("celery_worker_tasks_prefetched", 0)
            self._gauges["celery_worker_oldest_task_start_timestamp_seconds"].clear()

    def tick(self, name: str, amount: float = 1.0) -> None:
        """Add to one of the counters without labels."""
        self._counters[name].add((), amount)

    def pushed(self, error: Exception | None) -> None:
        """Count how a push ended. ``rejected`` is a failure that no other try can mend."""
        if error is None:
            result = "success"
        elif isinstance(error, InvalidPayloadError) or (
            isinstance(error, GatewayRejectedError) and not error.retryable
        ):
            result = "rejected"
        else:
            result = "failure"
        self._counters["pushgate_pushes"].add((result,))

    def _set(self, name: str, value: float) -> None:
        self._gauges[name].set((), float(value))
