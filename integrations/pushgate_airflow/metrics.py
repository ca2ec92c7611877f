"""A task's own numbers, pushed with its outcome: ``metrics.gauge("rows_loaded", "Rows.").set(42)``.

Names enter from a task's code; metrics of prometheus_client leave, for the code to set. Each run of
a task begins with none. When it ends, however it ends, what it set replaces what earlier runs set,
in a group beside the outcome's with the label ``origin="job"``. It takes a notifier on the task, or
the listener, to push them. Outside of a task, in a test or in a callback, they can be set and go
nowhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from pushgate_airflow._metrics import current

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Summary

__all__ = ("counter", "gauge", "histogram", "registry", "summary")


def gauge(name: str, documentation: str = "", labelnames: Sequence[str] = ()) -> Gauge:
    """A prometheus_client Gauge of this task run; the same one for the same name.

    Raises ValueError for a name that can't be used, here and below.
    """
    from prometheus_client import Gauge

    return cast("Gauge", current().metric(Gauge, name, documentation, labelnames, {}))


def counter(name: str, documentation: str = "", labelnames: Sequence[str] = ()) -> Counter:
    """A prometheus_client Counter of this task run; it begins at 0 with each run."""
    from prometheus_client import Counter

    return cast("Counter", current().metric(Counter, name, documentation, labelnames, {}))


def summary(name: str, documentation: str = "", labelnames: Sequence[str] = ()) -> Summary:
    """A prometheus_client Summary of this task run."""
    from prometheus_client import Summary

    return cast("Summary", current().metric(Summary, name, documentation, labelnames, {}))


def histogram(
    name: str,
    documentation: str = "",
    labelnames: Sequence[str] = (),
    *,
    buckets: Sequence[float] | None = None,
) -> Histogram:
    """A prometheus_client Histogram of this task run."""
    from prometheus_client import Histogram

    options = {} if buckets is None else {"buckets": buckets}
    return cast("Histogram", current().metric(Histogram, name, documentation, labelnames, options))


def registry() -> CollectorRegistry:
    """This task run's registry, for collectors and metrics made elsewhere."""
    return current().registry
