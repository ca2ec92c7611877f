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
    from pushgate_celery._series import Budget
    from pushgate_celery._task_records import MetricUpdate

_TYPES = {"inc": "counter", "observe": "histogram", "set": "gauge"}


class _Claim(NamedTuple):
    """A metric's name is taken, by the task that used it first."""

    name: str
    op: str
    labels: tuple[str, ...]
    task: str

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
        self._claims: dict[str, _Claim] = {}
        self._counters: dict[str, Counter] = {}
        self._histograms: dict[str, Histogram] = {}
        self._gauges: dict[tuple[str, str], Gauge] = {}

    def collect(self) -> Iterator[Family]:
        """The counters and histograms, as they are now."""
        for metrics in (self._counters, self._histograms):
            for metric in metrics.values():
                yield from metric.collect()

    def feed(self, metric: MetricUpdate) -> list[Change]:
        """The changes for an update; none where it has to be refused, which is logged."""
        names = tuple(sorted(metric.labels))
        name = metric.name
        claim = self._claims.get(name)
        if claim is None or claim[:3] != (name, metric.op, names):
            claim = self._claim(_Claim(name, metric.op, names, clean(metric.task)))
            if claim is None:
                return []
        values = tuple([metric.labels[label] for label in names])
        if metric.op == "inc":
            self._counters[name].add((*values, metric.task), metric.value)
            return [self._put]
        if metric.op == "observe":
            self._histograms[name].observe((*values, metric.task), metric.value)
            return [self._put]
        return self._set(claim, metric, values)

    def deleted(self) -> list[Change]:
        """The DELETE of the collector's group, if there is one."""
        in_use = self._counters or self._histograms
        return [Change("DELETE", self.key)] if in_use else []

    def _set(self, claim: _Claim, metric: MetricUpdate, values: tuple[str, ...]) -> list[Change]:
        at = (claim.name, metric.task)
        gauge = self._gauges.get(at)
        if gauge is None:
            documentation = f"Set by {clean(metric.task)}."
            gauge = Gauge(claim.name, documentation, claim.labels, self._budget)
        gauge.set(values, metric.value)
        family = gauge.family()
        if not family.samples:
            return []
        self._gauges[at] = gauge
        key = own_metrics_key(GroupingKey(self._job, {"task": clean(metric.task)}))
        # The whole family: a POST that lacked the other label sets would delete them.
        return [Change("POST", key, [family])]

    def _claim(self, new: _Claim) -> _Claim | None:
        """The claim with its new metric, or None where the name is refused."""
        other = self._claims.get(new.name)
        if other is None and self._budget.take():  # the room for its "other"
            self._claims[new.name] = new
            self._make(new)
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

    def _make(self, new: _Claim) -> None:
        documentation = f"Counted in tasks, first in {new.task}."
        labels = (*new.labels, "task")
        if new.op == "inc":
            bare = new.name.removesuffix("_total")
            self._counters[new.name] = Counter(bare, documentation, labels, self._budget)
        elif new.op == "observe":
            buckets = TASK_SECONDS if new.name.endswith("_seconds") else ANY_UNIT
            self._histograms[new.name] = Histogram(
                new.name, documentation, labels, self._budget, buckets=buckets
            )
