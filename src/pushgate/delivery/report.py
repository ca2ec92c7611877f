"""What is pushed about a run: one report for each group. Pure, but for what ``own`` calls."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from ..errors import InvalidGroupingKeyError
from ..jobs.own_metrics import own_metrics_key
from ..jobs.runs import Status
from ..jobs.vocabulary import deadline_families, end_families, start_families
from ..protocol.families import families_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ..jobs.runs import JobRun, Outcome
    from ..protocol.families import FamilyLike, Metrics
    from ..protocol.grouping_key import GroupingKey

    Own = Metrics | Callable[[], Metrics]


class Report(NamedTuple):
    """The news of one group: ``families`` are sent by ``method`` (PUT, POST or DELETE).

    ``at`` is when it became news, in Unix seconds: the outbox compares it with later pushes.
    ``compare`` says that others may have told it before, or something newer: a QueueSink then
    pushes what the gateway lacks. ``run_started_at`` is as in ``newer_families``.
    """

    method: str
    key: GroupingKey
    families: Sequence[FamilyLike]
    at: float
    compare: bool = False
    run_started_at: float | None = None


def start_report(run: JobRun) -> Report:
    """``run`` has started."""
    return Report("POST", run.key, start_families(run), time.time())


def heartbeat_report(run: JobRun) -> Report:
    """``run`` goes on: a POST of nothing, which only moves the group's ``push_time_seconds``."""
    return Report("POST", run.key, (), time.time())


def deadline_report(run: JobRun, at: float) -> Report:
    """``run`` had not ended at ``at``, in Unix seconds."""
    return Report("POST", run.key, deadline_families(at), time.time())


def end_reports(run: JobRun, outcome: Outcome, own: Own = None) -> Iterator[Report]:
    """``run`` has ended: its outcome and then, where ``own`` is given, the job's own metrics.

    ``own`` is metrics, or is called for them once the outcome was taken, because that may be slow.
    Metrics with samples replace the group of own metrics. Without a sample, a run that succeeded
    deletes that group, and one that failed leaves it alone; None always leaves it alone.
    """
    at = time.time()
    yield Report("POST", run.key, end_families(run, outcome), at)
    metrics = own() if callable(own) else own
    if metrics is None:
        return
    families = [family for family in families_of(metrics) if family.samples]
    if families:
        yield Report("PUT", own_metrics_key(run.key), families, at)
    elif outcome.status is Status.SUCCESS:
        with suppress(InvalidGroupingKeyError):  # then no run has had any
            yield Report("DELETE", own_metrics_key(run.key), (), at)
