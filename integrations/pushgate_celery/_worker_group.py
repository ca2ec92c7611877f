"""The totals of one worker: what its group ``{job, instance}`` holds.

The object itself is the collector of the group, read whenever it is pushed. The group has one
writer, so each push replaces it, and a gauge that is unset is gone from it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pushgate import Family, GatewayRejectedError, InvalidPayloadError, Sample
from pushgate_celery._metric_specs import COUNTERS, GAUGES, HISTOGRAMS, TASK_SECONDS
from pushgate_celery._series import Budget, Counter, Histogram

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pushgate_celery._task_records import End, TaskRun, WorkerState

# The states in which a run is over for good, and the reasons of a revocation.
_STATES = ("success", "failure", "ignored", "rejected", "revoked")
_REASONS = ("revoked", "expired", "terminated")
_OLDEST = "celery_worker_oldest_task_start_timestamp_seconds"


class WorkerGroup:
    """A worker's totals since ``started_at``, in Unix seconds. A collector.

    ``budget`` bounds the label sets; those of the health metrics are few and not in it.
    """

    def __init__(self, started_at: float, budget: Budget) -> None:
        few = Budget(100, lambda: None)
        self._counters = {
            spec.name: Counter(
                *(spec.name, spec.documentation, spec.labels),
                budget if "task" in spec.labels else few,
                closed=("state", "reason"),
                crowded="exception" if "exception" in spec.labels else None,
            )
            for spec in COUNTERS
        }
        self._histograms = {
            spec.name: Histogram(
                spec.name, spec.documentation, spec.labels, budget, buckets=TASK_SECONDS
            )
            for spec in HISTOGRAMS
        }
        self._gauges = {
            "celery_worker_up": 1.0,
            "celery_worker_crashed": 0.0,
            "celery_worker_start_timestamp_seconds": started_at,
            "celery_worker_tasks_active": 0.0,
            "celery_worker_tasks_prefetched": 0.0,
        }
        self._started = self._counters["celery_task_started"].add
        self._finished = self._counters["celery_task_finished"].add
        self._runtime = self._histograms["celery_task_runtime_seconds"].observe
        self._wait = self._histograms["celery_task_queue_wait_seconds"].observe
        self._latency = self._histograms["celery_task_latency_seconds"].observe
        for name, counter in self._counters.items():
            if not counter.labels:
                self.add(name, (), 0.0)
        for result in ("success", "failure", "rejected"):
            self.add("pushgate_pushes", (result,), 0.0)

    def collect(self) -> Iterator[Family]:
        """All families, as they are now."""
        for spec in GAUGES:
            if (value := self._gauges.get(spec.name)) is not None:
                sample = Sample(spec.name, {}, value)
                yield Family(spec.name, spec.documentation, "gauge", [sample])
        for metrics in (self._counters, self._histograms):
            for metric in metrics.values():
                yield from metric.collect()

    def known(self, tasks: Mapping[str, str]) -> None:
        """Make the series of tasks by their queues, so that increase() sees their first event."""
        for task, queue in tasks.items():
            for name in ("celery_task_started", "celery_task_retried"):
                self._counters[name].expect((task, queue))
            for state in _STATES:
                self._counters["celery_task_finished"].expect((task, queue, state))
            for reason in _REASONS:
                self._counters["celery_task_revoked"].expect((task, reason))

    def started(self, run: TaskRun) -> None:
        """Count a run that began."""
        self._started((run.task, run.queue))
        if run.redelivered:
            self.add("celery_task_redelivered", (run.task, run.queue))

    def ended(self, run: TaskRun, end: End) -> None:
        """Count a run that ended; a retry is counted apart, and is no measure of the runtime."""
        series = (run.task, run.queue)
        if end.state == "retry":
            self.add("celery_task_retried", series)
        else:
            self._finished((*series, end.state))
            if end.duration is not None:
                self._runtime(series, max(0.0, end.duration))
        if end.exception:
            self.add("celery_task_exceptions", (run.task, end.exception))
        if run.stamp is not None:
            published, first, _ = run.stamp
            self._wait(series, max(0.0, run.started_at - max(published, run.eta or published)))
            if end.state == "success":
                self._latency(series, max(0.0, end.at - first))

    def state(self, worker: WorkerState) -> None:
        """Set the worker's own state."""
        self._gauges |= {
            "celery_worker_concurrency": float(worker.concurrency),
            "celery_worker_tasks_active": float(worker.active),
            "celery_worker_tasks_prefetched": float(worker.prefetched),
        }
        if worker.oldest_start is None:
            self._gauges.pop(_OLDEST, None)
        else:
            self._gauges[_OLDEST] = worker.oldest_start

    def ends(self, *, crashed: bool) -> None:
        """The worker is gone. After a crash its running tasks stay, to show what was lost."""
        self._gauges |= {"celery_worker_up": 0.0, "celery_worker_crashed": float(crashed)}
        if not crashed:
            self._gauges |= {
                "celery_worker_tasks_active": 0.0,
                "celery_worker_tasks_prefetched": 0.0,
            }
            self._gauges.pop(_OLDEST, None)

    def add(self, name: str, values: tuple[str, ...] = (), amount: float = 1.0) -> None:
        """Add to one of the counters, without ``_total`` in its name."""
        self._counters[name].add(values, amount)

    def pushed(self, error: Exception | None) -> None:
        """Count how a push ended. ``rejected`` is a failure that no other try can mend."""
        is_rejected = isinstance(error, InvalidPayloadError) or (
            isinstance(error, GatewayRejectedError) and not error.retryable
        )
        result = "success" if error is None else "rejected" if is_rejected else "failure"
        self.add("pushgate_pushes", (result,))
