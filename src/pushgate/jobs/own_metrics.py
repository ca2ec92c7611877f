"""The metrics that a job sets itself, and the group that holds them.

They have a group beside the outcome's, told apart by the label ``origin="job"``. Each run replaces
that group (PUT), so a metric that a run no longer sets vanishes, while the last success stays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import InvalidGroupingKeyError
from ..log import RateLimitedLogger
from ..protocol.metric_types import RESERVED_FAMILIES
from ..protocol.timestamps import METRIC_PREFIX

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, Summary

    from ..protocol.grouping_key import GroupingKey

M = TypeVar("M")

_LABEL, _VALUE = "origin", "job"
_TAKEN = f"pushgate's own metrics begin with {METRIC_PREFIX}; rename yours"


def own_metrics_key(key: GroupingKey) -> GroupingKey:
    """The group of the own metrics of the job whose outcome is in the group ``key``.

    Raises InvalidGroupingKeyError where ``key`` has the label ``origin`` already.
    """
    if _LABEL in key.labels:
        raise InvalidGroupingKeyError(
            f"the group of the job's own metrics is told apart by the label {_LABEL!r}; rename"
            " yours",
            label=_LABEL,
            value=key.labels[_LABEL],
        )
    return key.with_labels(**{_LABEL: _VALUE})


class OwnMetrics:
    """One run's metrics: prometheus_client's classes, made on first use and found by name later.

    Costs nothing, not even the import of prometheus_client, until the first metric. The methods
    raise ValueError for a name that another kind of metric has, or that pushgate's own begin with.
    """

    def __init__(self) -> None:
        self._registry: CollectorRegistry | None = None
        self._metrics: dict[str, Any] = {}

    @property
    def registry(self) -> CollectorRegistry:
        """The run's registry, for collectors and metrics that are made elsewhere."""
        if self._registry is None:
            from prometheus_client import CollectorRegistry

            self._registry = CollectorRegistry()
        return self._registry

    def gauge(self, name: str, documentation: str = "", labelnames: Sequence[str] = ()) -> Gauge:
        """A prometheus_client Gauge; the same one for the same name."""
        from prometheus_client import Gauge

        return self._metric(Gauge, name, documentation, labelnames)

    def counter(
        self, name: str, documentation: str = "", labelnames: Sequence[str] = ()
    ) -> Counter:
        """A prometheus_client Counter; the same one for the same name."""
        from prometheus_client import Counter

        return self._metric(Counter, name, documentation, labelnames)

    def summary(
        self, name: str, documentation: str = "", labelnames: Sequence[str] = ()
    ) -> Summary:
        """A prometheus_client Summary; the same one for the same name."""
        from prometheus_client import Summary

        return self._metric(Summary, name, documentation, labelnames)

    def histogram(
        self,
        name: str,
        documentation: str = "",
        labelnames: Sequence[str] = (),
        *,
        buckets: Sequence[float] | None = None,
    ) -> Histogram:
        """A prometheus_client Histogram; the same one for the same name."""
        from prometheus_client import Histogram

        options = {} if buckets is None else {"buckets": buckets}
        return self._metric(Histogram, name, documentation, labelnames, **options)

    def collect(self) -> list[Metric]:
        """The families as they are now; empty where no metric was made.

        Those of the user's collectors that have a name of pushgate's own are left out, and logged.
        """
        families = [] if self._registry is None else list(self._registry.collect())
        for family in families:
            if family.name.startswith(METRIC_PREFIX):
                RateLimitedLogger().warning(f"the metric {family.name!r} is not pushed: {_TAKEN}")
        return [family for family in families if not family.name.startswith(METRIC_PREFIX)]

    def _metric(
        self,
        kind: type[M],
        name: str,
        documentation: str,
        labelnames: Sequence[str],
        **options: Any,
    ) -> M:
        if name.startswith(METRIC_PREFIX):
            raise ValueError(f"{name!r}: {_TAKEN}")
        if name in RESERVED_FAMILIES:
            raise ValueError(f"{name!r} is a gateway's own metric; rename yours")
        known = self._metrics.get(name)
        if known is None:
            make: Any = kind
            known = make(name, documentation, labelnames, registry=self.registry, **options)
            self._metrics[name] = known
        elif not isinstance(known, kind):
            raise ValueError(
                f"{name!r} is a {type(known).__name__} of this run already; choose another name"
            )
        return known
