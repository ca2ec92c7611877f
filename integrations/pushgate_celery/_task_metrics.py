"""The metrics that tasks' code sets, in groups beside those of the worker and the task.

Counters and histograms are in ``{job, instance, origin="job"}``, which has one writer. Gauges are
in ``{job, task, origin="job"}``, where the last writer counts. These are groups of their own,
because a gateway refuses a whole push if one of its names has another type in another group: that
must not cost the worker's totals or the task's outcome. Names and values were checked where they
were used, by `_in_task`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pushgate import Change, GroupingKey, own_metrics_key
from pushgate_celery._metric_specs import ANY_UNIT, TASK_SECONDS
from pushgate_celery._series import Counter, Gauge, Histogram, clean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pushgate import Family, RateLimitedLogger
    from pushgate_celery._series import Budget, Labels
    from pushgate_celery._task_records import MetricUpdate

_TYPES = {"inc": "counter", "observe": "histogram", "set": "gauge"}


class _Owned(NamedTuple):
    """A metric, whose name belongs to the task that used it first.

    Each task has gauges of its own.
    """

    name: str
    op: str
    labels: Labels
    task: str
    metric: Counter | Histogram | None

    def __str__(self) -> str:
        labels = f" with labels {', '.join(self.labels)}" if self.labels else ""
        return f"a {_TYPES[self.op]} {self.name}{labels} in {self.task}"


class TaskMetrics:
    """The tasks' own metrics of one worker. A collector of its counters and histograms.

    ``refused`` is called for each update that can't be taken.
    """

    def __init__(
        self,
        job: str,
        node: str,
        budget: Budget,
        log: RateLimitedLogger,
        refused: Callable[[], None],
    ) -> None:
        self._job = job
        self._budget = budget
        self._log = log
        self._refused = refused
        self.key = own_metrics_key(GroupingKey(job, {"instance": node}))
        self._put = Change("PUT", self.key, self)
        self._metrics: dict[str, _Owned] = {}
        self._gauges: dict[tuple[str, str], Gauge] = {}

    def collect(self) -> Iterator[Family]:
        """The counters and histograms, as they are now."""
        for owned in self._metrics.values():
            if owned.metric is not None:
                yield from owned.metric.collect()

    def feed(self, update: MetricUpdate) -> list[Change]:
        """The changes for an update; none where it has to be refused, which is logged."""
        labels = tuple(sorted(update.labels))
        owned = self._metrics.get(update.name)
        if owned is None or (owned.op, owned.labels) != (update.op, labels):
            owned = self._own(update, labels)
            if owned is None:
                return []
        values = tuple([update.labels[label] for label in labels])
        if isinstance(owned.metric, Counter):
            owned.metric.add((*values, update.task), update.value)
        elif isinstance(owned.metric, Histogram):
            owned.metric.observe((*values, update.task), update.value)
        else:
            return self._set(owned, update, values)
        return [self._put]

    def deleted(self) -> list[Change]:
        """The DELETE of the collector's group, if there is one."""
        in_use = any(owned.metric is not None for owned in self._metrics.values())
        return [Change("DELETE", self.key)] if in_use else []

    def _set(self, owned: _Owned, update: MetricUpdate, values: Labels) -> list[Change]:
        at = (owned.name, update.task)
        gauge = self._gauges.get(at)
        if gauge is None:
            documentation = f"Set by {clean(update.task)}."
            gauge = Gauge(owned.name, documentation, owned.labels, self._budget)
        gauge.set(values, update.value)
        family = gauge.family()
        if not family.samples:
            return []
        self._gauges[at] = gauge
        key = own_metrics_key(GroupingKey(self._job, {"task": clean(update.task)}))
        # The whole family: a POST that lacked the other label sets would delete them.
        return [Change("POST", key, [family])]

    def _own(self, update: MetricUpdate, labels: Labels) -> _Owned | None:
        """The metric with its new owner, or None where the name is refused."""
        other = self._metrics.get(update.name)
        new = _Owned(update.name, update.op, labels, clean(update.task), None)
        if other is None and self._budget.take():  # the room for its "other"
            new = self._metrics[new.name] = new._replace(metric=self._made(new))
            return new
        if other is None:
            self._budget.overflow()
            why = (
                "as are further names: max_series leaves them no room; raise it, or find the name"
                " or label that has too many values"
            )
        else:
            why = f"there is {other} already; rename one, or give both the same labels"
        subject = ("metric", other and new.name)
        self._log.warning(f"{new} is refused: {why}", subject=subject)
        self._refused()
        return None

    def _made(self, new: _Owned) -> Counter | Histogram | None:
        documentation = f"Counted in tasks, first in {new.task}."
        labels = (*new.labels, "task")
        if new.op == "inc":
            bare = new.name.removesuffix("_total")
            return Counter(bare, documentation, labels, self._budget)
        if new.op == "observe":
            buckets = TASK_SECONDS if new.name.endswith("_seconds") else ANY_UNIT
            return Histogram(new.name, documentation, labels, self._budget, buckets=buckets)
        return None
