"""A task's own numbers, pushed with its outcome: ``metrics.gauge("rows_loaded", "Rows.").set(42)``.

The functions return what has the methods of prometheus_client's metrics. It may be made anywhere,
as at the top of a DAG file: it is the metric of the task that runs when it is set. Each run of a
task begins with none. When it ends, however it ends, what it set replaces what earlier runs set, in
a group beside the outcome's with the label ``origin="job"``. It takes a notifier on the task, or
the listener, to push them.

Another interpreter (a virtualenv, external Python) and forked children write to the file in
``$PUSHGATE_METRICS_FILE`` when they end.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, cast

from pushgate_airflow._metrics_of_task import metrics_of_now

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Summary

__all__ = ("counter", "gauge", "histogram", "registry", "summary")

_OF_THE_GROUP = {"job", "dag_id", "task_id", "origin"}
_KEPT_BY_DECORATORS = ("time", "track_inprogress", "count_exceptions")


def gauge(name: str, documentation: str = "", labelnames: Sequence[str] = ()) -> Gauge:
    """A Gauge of the task that runs; the same one for the same name.

    Raises ValueError for names that can't be used, here and below.
    """
    return cast("Gauge", _metric("gauge", name, documentation, labelnames))


def counter(name: str, documentation: str = "", labelnames: Sequence[str] = ()) -> Counter:
    """A Counter of the task that runs; it begins at 0 with each run."""
    return cast("Counter", _metric("counter", name, documentation, labelnames))


def summary(name: str, documentation: str = "", labelnames: Sequence[str] = ()) -> Summary:
    """A Summary of the task that runs."""
    return cast("Summary", _metric("summary", name, documentation, labelnames))


def histogram(
    name: str,
    documentation: str = "",
    labelnames: Sequence[str] = (),
    *,
    buckets: Sequence[float] | None = None,
) -> Histogram:
    """A Histogram of the task that runs."""
    return cast("Histogram", _metric("histogram", name, documentation, labelnames, buckets=buckets))


def registry() -> CollectorRegistry:
    """The registry of the task that runs, for collectors and metrics made elsewhere."""
    return metrics_of_now("registry()").registry


def _metric(
    kind: str, name: str, documentation: str, labelnames: Sequence[str], **options: Any
) -> _Metric:
    if taken := _OF_THE_GROUP.intersection(labelnames):
        raise ValueError(f"{name!r}: the group has a label {min(taken)!r}; rename yours")

    def find(is_set: bool) -> Any:
        own = metrics_of_now(name if is_set else None)
        return getattr(own, kind)(name, documentation, labelnames, **options)

    return _Metric(type(find(False)), find)


class _Metric:
    """A metric, or one of its children, that is looked up anew at each use.

    A method that was taken from it, as the target of a child process, looks it up when called.
    """

    def __init__(self, kind: Any, find: Callable[[bool], Any]) -> None:
        self._kind = kind
        self._find = find

    def labels(self, *values: object, **named: object) -> _Metric:
        return _Metric(self._kind, lambda is_set: self._find(is_set).labels(*values, **named))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or not hasattr(self._kind, name):
            raise AttributeError(f"a {self._kind.__name__} has no attribute {name!r}")
        if name in _KEPT_BY_DECORATORS:
            return getattr(self._kind, name).__get__(self)
        return partial(self._call, name)

    def _call(self, method: str, *args: Any, **options: Any) -> Any:
        return getattr(self._find(not method.startswith("_")), method)(*args, **options)
