"""A run of Python code that is going on: its metrics, and what will report its end.

Options and a gateway enter; metrics of prometheus_client leave for the code to set, and an outcome.
"""

from __future__ import annotations

import logging
import os
import time
from typing import TYPE_CHECKING, Any, cast

from pushgate import Gateway, Outcome, Status
from pushgate_subprocess._delivery import Delivery, configured_delivery
from pushgate_subprocess._pusher import Pusher
from pushgate_subprocess._report import Report

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Summary

    from pushgate import GroupingKey
    from pushgate_subprocess._options import RunOptions
    from pushgate_subprocess._report import OwnMetrics
    from pushgate_subprocess._voice import Voice

__all__ = ("JobInProgress", "new_pusher")

_log = logging.getLogger("pushgate")


class JobInProgress:
    """A run that is going on. Its metrics are pushed when it ends, replacing the last run's."""

    def __init__(self, options: RunOptions, gateway: Gateway | str | None) -> None:
        self._process = os.getpid()
        self._clock = time.monotonic()
        self._registry: CollectorRegistry | None = None
        self._metrics: dict[str, Any] = {}
        self._pusher = new_pusher(options, gateway, self._families)
        self._pusher.begin()

    @property
    def registry(self) -> CollectorRegistry:
        """This run's registry, for collectors and metrics made elsewhere."""
        if self._registry is None:
            from prometheus_client import CollectorRegistry

            self._registry = CollectorRegistry()
        return self._registry

    def gauge(self, name: str, documentation: str = "", labelnames: Sequence[str] = ()) -> Gauge:
        """A prometheus_client Gauge of this run; the same one for the same name."""
        from prometheus_client import Gauge

        return cast("Gauge", self._metric(Gauge, name, documentation, labelnames))

    def counter(
        self, name: str, documentation: str = "", labelnames: Sequence[str] = ()
    ) -> Counter:
        """A prometheus_client Counter of this run; the same one for the same name."""
        from prometheus_client import Counter

        return cast("Counter", self._metric(Counter, name, documentation, labelnames))

    def summary(
        self, name: str, documentation: str = "", labelnames: Sequence[str] = ()
    ) -> Summary:
        """A prometheus_client Summary of this run; the same one for the same name."""
        from prometheus_client import Summary

        return cast("Summary", self._metric(Summary, name, documentation, labelnames))

    def histogram(
        self,
        name: str,
        documentation: str = "",
        labelnames: Sequence[str] = (),
        *,
        buckets: Sequence[float] | None = None,
    ) -> Histogram:
        """A prometheus_client Histogram of this run; the same one for the same name."""
        from prometheus_client import Histogram

        options = {} if buckets is None else {"buckets": buckets}
        return cast(
            "Histogram", self._metric(Histogram, name, documentation, labelnames, **options)
        )

    def _metric(
        self,
        kind: type,
        name: str,
        documentation: str,
        labelnames: Sequence[str],
        **options: Any,
    ) -> Any:
        known = self._metrics.get(name)
        if known is None:
            known = kind(name, documentation, labelnames, registry=self.registry, **options)
            self._metrics[name] = known
        elif not isinstance(known, kind):
            raise ValueError(
                f"{name!r} is a {type(known).__name__} of this run already; choose another name"
            )
        return known

    def end(
        self, error: BaseException | None, done: Callable[[], object] | None = None
    ) -> Pusher | None:
        """The body has ended, by ``error`` or well. Returns what reports that, to be waited for.

        None in a fork of the process that entered the body: the run is not its own.
        """
        if os.getpid() != self._process:
            return None
        succeeded = error is None or (isinstance(error, SystemExit) and not error.code)
        outcome = Outcome(
            Status.SUCCESS if succeeded else Status.FAILURE,
            ended_at=time.time(),
            duration=time.monotonic() - self._clock,
        )
        self._pusher.end(lambda: outcome, done)
        return self._pusher

    def _families(self, _key: GroupingKey) -> tuple[Sequence[Any], list[str]]:
        return [] if self._registry is None else list(self._registry.collect()), []


def new_pusher(
    options: RunOptions, gateway: Gateway | str | None, own_metrics: OwnMetrics
) -> Pusher:
    """What pushes a run that starts now, to ``gateway`` or where the settings say; it logs."""
    started_at = time.time()

    def connect(options: RunOptions, say: Callable[[str], object]) -> Delivery | None:
        if isinstance(gateway, Gateway):
            return Delivery(gateway)
        return configured_delivery(options, say)

    def make_report(voice: Voice) -> Report:
        return Report(
            options, started_at=started_at, voice=voice, own_metrics=own_metrics, connect=connect
        )

    return Pusher(
        make_report,
        heartbeat=options.heartbeat,
        push_timeout=options.push_timeout,
        say=lambda line: _log.warning("%s: %s", options.job, line),
    )
