"""A task's own numbers, pushed with its outcome: ``metrics.gauge("rows_loaded", "Rows.").set(42)``.

The functions return metrics of prometheus_client, for the task's code to set. Each run of a task
begins with none. When it ends, however it ends, what it set replaces what earlier runs set, in a
group beside the outcome's with the label ``origin="job"``. It takes a notifier on the task, or the
listener, to push them. Outside of a task, in a test or in a callback, they can be set and go
nowhere.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from pushgate import OwnMetrics

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, Summary

    from pushgate_airflow._events import Event

__all__ = ("counter", "gauge", "histogram", "own_families", "registry", "summary")

_MAX_RUNS = 100  # a process runs one task as a rule; dag.test() runs all of them, one by one
_runs: dict[tuple[object, ...], OwnMetrics] = {}


def gauge(name: str, documentation: str = "", labelnames: Sequence[str] = ()) -> Gauge:
    """A prometheus_client Gauge of this task run; the same one for the same name.

    Raises ValueError for a name that can't be used, here and below.
    """
    return _current().gauge(name, documentation, labelnames)


def counter(name: str, documentation: str = "", labelnames: Sequence[str] = ()) -> Counter:
    """A prometheus_client Counter of this task run; it begins at 0 with each run."""
    return _current().counter(name, documentation, labelnames)


def summary(name: str, documentation: str = "", labelnames: Sequence[str] = ()) -> Summary:
    """A prometheus_client Summary of this task run."""
    return _current().summary(name, documentation, labelnames)


def histogram(
    name: str,
    documentation: str = "",
    labelnames: Sequence[str] = (),
    *,
    buckets: Sequence[float] | None = None,
) -> Histogram:
    """A prometheus_client Histogram of this task run."""
    return _current().histogram(name, documentation, labelnames, buckets=buckets)


def registry() -> CollectorRegistry:
    """This task run's registry, for collectors and metrics made elsewhere."""
    return _current().registry


def own_families(event: Event) -> list[Metric] | None:
    """What the task of ``event`` has set; None where it has set nothing."""
    run = _runs.get((event.dag_id, event.task_id, event.run_id, event.map_index, event.try_number))
    families = run.collect() if run else []
    return [family for family in families if family.samples] or None


def _current() -> OwnMetrics:
    """Those of the task that is running; outside of one, new ones that nobody pushes."""
    from airflow.sdk import get_current_context

    try:
        ti = get_current_context()["ti"]
    except (RuntimeError, KeyError):  # RuntimeError is Airflow's for "no task runs here"
        logging.getLogger("pushgate").debug("no task runs here: these metrics are not pushed")
        return OwnMetrics()
    run = _runs.setdefault(
        (ti.dag_id, ti.task_id, ti.run_id, ti.map_index, ti.try_number), OwnMetrics()
    )
    while len(_runs) > _MAX_RUNS:
        _runs.pop(next(iter(_runs)))
    return run
