"""From what a scheduler or api-server heard to pushes: the work of the queue's thread.

Enters: a batch of items, each an event or a run's end. Leaves: one POST for each group, and the
items that could not be delivered. The gateway's groups are read before a push that might repeat a
worker's or come after something newer: at a run's end, for what somebody marked, and for what had
to wait.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from pushgate import (
    DeliveryError,
    GatewayRejectedError,
    PushError,
    end_families,
    mapped_families,
    start_families,
)
from pushgate_airflow._identity import grouping_key
from pushgate_airflow._listener_events import MAX_TASKS, RunEnd
from pushgate_airflow._queue import Left
from pushgate_airflow._reconcile import lacking, shows
from pushgate_airflow._report import job_run, outcome
from pushgate_airflow._rollup import rolled_up
from pushgate_airflow._seldom import Seldom
from pushgate_airflow._selection import selected

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from pushgate import Family, Gateway, Group, GroupingKey
    from pushgate_airflow._configuration import Configuration
    from pushgate_airflow._event import Event
    from pushgate_airflow._queue import Item

__all__ = ("Delivery", "Heard")

_LATE = 10.0  # seconds after which something newer may have been pushed
_TOO_LATE = 60.0  # the same, where the gateway does not let us look
_READING_TIMEOUT = 15.0  # seconds; ten thousand groups are tens of megabytes
_READING_SHARE = 20.0  # reading takes a twentieth of the time at most: the scheduler needs the rest
_FIRST_PAUSE, _LAST_PAUSE = 1.0, 30.0  # seconds between tries while the gateway takes nothing
_REFUSED = (400, 413, 422)  # what the gateway says of a payload, and not of who sends it
_FINISHED = ("success", "failed", "skipped", "upstream_failed")


class Heard(NamedTuple):
    """An event; ``marked``: by somebody in the UI or the API, and so of any age."""

    event: Event
    marked: bool = False


class _Report(NamedTuple):
    item: Item
    key: GroupingKey
    event: Event
    compare: bool
    extra: tuple[Family, ...] = ()

    def families(self) -> list[Family]:
        run, end = job_run(self.event, self.key), outcome(self.event)
        return [*(start_families(run) if end is None else end_families(run, end)), *self.extra]


class Delivery:
    """Called with a batch, and whether it is the last chance. ``gateway`` may raise anything."""

    def __init__(self, options: Configuration, gateway: Callable[[], Gateway]) -> None:
        self._options = options
        self._gateway = gateway
        self._may_read_at = 0.0
        self._pause = _FIRST_PAUSE
        self._log = Seldom()

    def __call__(self, batch: Sequence[Item], last_chance: bool) -> Left:
        """Push what is in ``batch``; what can't be pushed yet is returned."""
        reports = [report for item in batch for report in self._reports(item)]
        later: list[Item] = []
        if not last_chance and time.monotonic() < self._may_read_at:
            later = _items(report for report in reports if report.compare)
            reports = [report for report in reports if not report.compare]
        if not reports:
            return Left(later, self._may_read_at - time.monotonic())
        groups: dict[GroupingKey, list[_Report]] = {}
        for report in reports:
            groups.setdefault(report.key, []).append(report)
        try:
            gateway = self._gateway()
            held = self._held(gateway, groups, last_chance)
            for key in tuple(groups):
                self._push(gateway, key, groups[key], held)
                del groups[key]
        except Exception as error:
            left = _items(report for reports in groups.values() for report in reports)
            return self._outage([*left, *later], error)
        self._pause = _FIRST_PAUSE
        return Left(later, max(0.0, self._may_read_at - time.monotonic()))

    def _reports(self, item: Item) -> Iterator[_Report]:
        what: Heard | RunEnd = item.what
        if isinstance(what, Heard):
            moment = what.event.started_at if what.event.ended_at is None else what.event.ended_at
            late = moment is not None and time.time() - moment > _LATE
            yield self._report(item, what.event, what.marked or late)
            return
        if what.left_out:
            self._log.say("many", f"{what.dag_id}: of a run, {MAX_TASKS} tasks are told")
        for event in what.tasks:
            if event.state in _FINISHED and self._selected(event):
                yield self._report(item, event, True)
        for task in rolled_up(what.dag_id, what.run_id, what.mapped):
            if self._selected(task.event):
                extra = tuple(mapped_families(task.counts, task.longest))
                yield self._report(item, task.event, True, extra)

    def _report(
        self, item: Item, event: Event, compare: bool, extra: tuple[Family, ...] = ()
    ) -> _Report:
        key = grouping_key(event, job=self._options.job)
        return _Report(item, key, event, compare, extra)

    def _selected(self, event: Event) -> bool:
        return selected(self._options, event.dag_id, event.task_id)

    def _held(
        self, gateway: Gateway, groups: dict[GroupingKey, list[_Report]], last_chance: bool
    ) -> dict[GroupingKey, Group] | None:
        """The groups as the gateway holds them, where any is to be compared; None: it refuses."""
        wanted = {
            frozenset(key.labels.items()): key
            for key, reports in groups.items()
            if any(report.compare for report in reports)
        }
        if not wanted:
            return {}
        began = time.monotonic()
        in_outage = self._pause > _FIRST_PAUSE
        timeout = self._options.deadline if last_chance or in_outage else _READING_TIMEOUT
        held = {}
        try:
            for group in gateway.iter_groups(timeout=timeout):
                key = wanted.get(frozenset(group.labels.items()))
                if key is not None:
                    held[key] = group
        except PushError as error:
            if isinstance(error, DeliveryError) and error.retryable:
                raise
            self._log.say("unread", f"the gateway's groups can't be read: {error}")
            return None
        ended = time.monotonic()
        self._may_read_at = ended + _READING_SHARE * (ended - began)
        return held

    def _push(
        self,
        gateway: Gateway,
        key: GroupingKey,
        reports: Iterable[_Report],
        held: dict[GroupingKey, Group] | None,
    ) -> None:
        families: dict[str, Family] = {}
        for report in reports:
            for family in self._news(report, held):
                families[family.name] = family
        if not families:
            return
        try:
            gateway.pushadd(key, list(families.values()), timeout=self._options.deadline)
        except PushError as error:
            refused = isinstance(error, GatewayRejectedError) and error.code in _REFUSED
            if isinstance(error, DeliveryError) and not refused:
                raise
            self._log.say("refused", f"{{count}} reports are lost: {error}", 1)

    def _news(self, report: _Report, held: dict[GroupingKey, Group] | None) -> list[Family]:
        if not report.compare:
            return report.families()
        if held is not None:
            group = held.get(report.key)
            if not report.extra and shows(report.event, group):
                return []
            return lacking(report.families(), group)
        if time.time() - (report.event.ended_at or 0.0) > _TOO_LATE:
            self._log.say("unseen", "{count} reports are lost: they can't be compared any more", 1)
            return []
        return report.families()

    def _outage(self, left: list[Item], error: Exception) -> Left:
        pause, self._pause = self._pause, min(2 * self._pause, _LAST_PAUSE)
        why = str(error) if isinstance(error, PushError) else type(error).__name__
        self._log.say("outage", f"{len(left)} reports wait for the gateway: {why}")
        return Left(left, pause, outage=True)


def _items(reports: Iterable[_Report]) -> list[Item]:
    return list({report.item.slot: report.item for report in reports}.values())
