"""What a scheduler or api-server heard, as reports: which group, and what is to be told there.

Enters: items of the queue, each an event or a run's end. Leaves: reports, of which a run's end has
one for each task that the listener reports; and these as changes for an outbox.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from pushgate import encode, end_families, mapped_families, start_families
from pushgate_airflow._identity import grouping_key
from pushgate_airflow._listener_events import RunEnd
from pushgate_airflow._report import job_run, outcome
from pushgate_airflow._rollup import rolled_up
from pushgate_airflow._selection import selected

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pushgate import Family, GroupingKey
    from pushgate_airflow._configuration import Configuration
    from pushgate_airflow._event import Event
    from pushgate_airflow._queue import Item

__all__ = ("Heard", "Report", "changes", "reports")

_LATE = 10.0  # seconds after which something newer may have been pushed
_FINISHED = ("success", "failed", "skipped", "upstream_failed")


class Heard(NamedTuple):
    """An event; ``marked``: by somebody in the UI or the API, and so of any age."""

    event: Event
    marked: bool = False


class Report(NamedTuple):
    """One event for one group; ``compare``: with what the gateway holds, before it is pushed."""

    item: Item
    key: GroupingKey
    event: Event
    compare: bool
    extra: tuple[Family, ...] = ()

    def families(self) -> list[Family]:
        """All that the event tells."""
        run, end = job_run(self.event, self.key), outcome(self.event)
        return [*(start_families(run) if end is None else end_families(run, end)), *self.extra]

    def moment(self) -> float | None:
        """When it happened, in Unix seconds."""
        event = self.event
        return event.started_at if event.ended_at is None else event.ended_at


def reports(item: Item, options: Configuration) -> Iterator[Report]:
    """What ``item`` stands for."""
    what: Heard | RunEnd = item.what
    if isinstance(what, Heard):
        report = _report(item, what.event, options, compare=what.marked)
        moment = report.moment()
        late = moment is not None and time.time() - moment > _LATE
        yield report._replace(compare=what.marked or late)
        return
    for event in what.tasks:
        if event.state in _FINISHED and selected(options, event.dag_id, event.task_id):
            yield _report(item, event, options)
    for task in rolled_up(what.dag_id, what.run_id, what.mapped):
        if selected(options, task.event.dag_id, task.event.task_id):
            extra = tuple(mapped_families(task.counts, task.longest))
            yield _report(item, task.event, options, extra=extra)


def changes(
    items: Iterable[Item], options: Configuration
) -> Iterator[tuple[str, GroupingKey, bytes, float]]:
    """As POSTs for an outbox, each of the moment in which it happened."""
    now = time.time()
    for item in items:
        for report in reports(item, options):
            at = min(report.moment() or now, now)  # by the database's clock, which may be ahead
            yield "POST", report.key, encode(report.families(), report.key).text, at


def _report(
    item: Item,
    event: Event,
    options: Configuration,
    *,
    compare: bool = True,
    extra: tuple[Family, ...] = (),
) -> Report:
    return Report(item, grouping_key(event, job=options.job), event, compare, extra)
