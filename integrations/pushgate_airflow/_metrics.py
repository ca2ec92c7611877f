"""The registries of the task runs that this process runs: what :mod:`.metrics` fills.

Enters: the task that Airflow says is running. Leaves: its registry to fill, and later its families
to push. A process runs one task as a rule; ``dag.test()`` runs all of them, one after the other.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from prometheus_client import CollectorRegistry

    from pushgate import Family
    from pushgate_airflow._event import Event

__all__ = ("OwnMetrics", "current", "families_of")

_MAX_RUNS = 100
_PREFIX = "batch_job_"  # pushgate's own vocabulary
_runs: dict[tuple[object, ...], OwnMetrics] = {}

_log = logging.getLogger("pushgate")


class OwnMetrics:
    """A registry, and the metrics that were made by name in it."""

    def __init__(self) -> None:
        from prometheus_client import CollectorRegistry

        self.registry: CollectorRegistry = CollectorRegistry()
        self._named: dict[str, Any] = {}

    def metric(
        self,
        kind: type,
        name: str,
        documentation: str,
        labelnames: Sequence[str],
        options: Mapping[str, Any],
    ) -> Any:
        """A new metric, or the one of this name. Raises ValueError for a name that is taken."""
        if name.startswith(_PREFIX):
            raise ValueError(f"{name!r}: pushgate's own metrics begin with {_PREFIX}; rename yours")
        known = self._named.get(name)
        if known is None:
            known = kind(name, documentation, labelnames, registry=self.registry, **options)
            self._named[name] = known
        elif not isinstance(known, kind):
            raise ValueError(
                f"{name!r} is a {type(known).__name__} of this run already; choose another name"
            )
        return known


def current() -> OwnMetrics:
    """Those of the task that is running; outside of one, new ones that nobody pushes."""
    from airflow.sdk import get_current_context

    try:
        ti = get_current_context()["ti"]
    except (RuntimeError, KeyError):  # RuntimeError is Airflow's for "no task runs here"
        _log.debug("no task is running here: these metrics are not pushed")
        return OwnMetrics()
    run = _runs.setdefault(
        (ti.dag_id, ti.task_id, ti.run_id, ti.map_index, ti.try_number), OwnMetrics()
    )
    while len(_runs) > _MAX_RUNS:
        _runs.pop(next(iter(_runs)))
    return run


def families_of(event: Event) -> list[Family]:
    """What the task set by now; nothing for a DAG's run, or for a task that has not ended."""
    run = _runs.get((event.dag_id, event.task_id, event.run_id, event.map_index, event.try_number))
    if run is None or event.state == "running":
        return []
    families = []
    for family in run.registry.collect():
        if family.name.startswith(_PREFIX):  # from a collector of the user's
            _log.warning(
                "%s: the metric %r is not pushed: pushgate's own begin with %s; rename it",
                event.task_id,
                family.name,
                _PREFIX,
            )
        elif family.samples:
            families.append(cast("Family", family))
    return families
