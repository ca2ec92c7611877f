"""From what a scheduler or api-server heard to pushes: the work of the queue's thread.

Enters: a batch of items, each an event or a run's end. Leaves: one POST for each group, and the
items that could not be delivered. The gateway's groups are read before a push that might repeat a
worker's or come after something newer: at a run's end, for what somebody marked, and for what had
to wait. What the queue can't hold goes to the host's outbox, and so does what a process that ends
leaves; the outbox is emptied by whoever reaches the gateway next, here after a batch.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from pushgate import DeliveryError, PushError
from pushgate_airflow._listener_events import MAX_TASKS, RunEnd
from pushgate_airflow._queue import Left
from pushgate_airflow._reconcile import lacking, shows
from pushgate_airflow._reports import changes, reports
from pushgate_airflow._seldom import Seldom

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pushgate import Family, Gateway, Group, GroupingKey, Outbox
    from pushgate_airflow._configuration import Configuration
    from pushgate_airflow._queue import Item
    from pushgate_airflow._reports import Report

__all__ = ("Delivery",)

_TOO_LATE = 60.0  # the same, where the gateway does not let us look
_READING_TIMEOUT = 15.0  # seconds; ten thousand groups are tens of megabytes
_READING_SHARE = 20.0  # reading takes a twentieth of the time at most: the scheduler needs the rest
_FIRST_PAUSE, _LAST_PAUSE = 1.0, 30.0  # seconds between tries while the gateway takes nothing
_FLUSH_PAUSE = 60.0  # seconds between two looks at what waits in the outbox


class Delivery:
    """Called with a batch, and whether it is the last chance. ``gateway`` may raise anything.

    ``outbox`` is for what the queue can't hold; the gateway is one without.
    """

    def __init__(
        self,
        options: Configuration,
        gateway: Callable[[], Gateway],
        outbox: Outbox | None = None,
    ) -> None:
        self._options = options
        self._gateway = gateway
        self._outbox = outbox
        self._url: str | None = None
        self._may_read_at = self._may_flush_at = 0.0
        self._pause = _FIRST_PAUSE
        self._log = Seldom()

    def __call__(self, batch: Sequence[Item], last_chance: bool) -> Left:
        """Push what is in ``batch``; what can't be pushed yet is returned."""
        told = [report for item in batch for report in self._reports(item)]
        later: list[Item] = []
        if not last_chance and time.monotonic() < self._may_read_at:
            later = _items(report for report in told if report.compare)
            told = [report for report in told if not report.compare]
        if not told:
            return Left(later, self._may_read_at - time.monotonic())
        groups: dict[GroupingKey, list[Report]] = {}
        for report in told:
            groups.setdefault(report.key, []).append(report)
        try:
            gateway = self._gateway()
            self._url = gateway.url
            held = self._held(gateway, groups, last_chance)
            for key in tuple(groups):
                self._push(gateway, key, groups[key], held)
                del groups[key]
        except Exception as error:
            left = _items(report for told in groups.values() for report in told)
            return self._outage([*left, *later], error)
        self._pause = _FIRST_PAUSE
        if not last_chance:
            self._flush(gateway)
        return Left(later, max(0.0, self._may_read_at - time.monotonic()))

    def keep(self, items: Iterable[Item]) -> bool:
        """Put ``items`` into the outbox; whether they are there now."""
        if self._outbox is None or self._url is None:
            return False  # no connection was found yet
        return self._outbox.keep(self._url, changes(items, self._options))

    def _flush(self, gateway: Gateway) -> None:
        """Deliver what waits on this host, also what its tasks and former processes left."""
        began = time.monotonic()
        if self._outbox is None or began < self._may_flush_at or self._outbox.is_empty():
            return
        self._outbox.flush(gateway, timeout=_READING_TIMEOUT)
        ended = time.monotonic()
        self._may_flush_at = ended + max(_FLUSH_PAUSE, _READING_SHARE * (ended - began))

    def _reports(self, item: Item) -> Iterable[Report]:
        if isinstance(item.what, RunEnd) and item.what.left_out:
            self._log.say("many", f"{item.what.dag_id}: of a run, {MAX_TASKS} tasks are told")
        return reports(item, self._options)

    def _held(
        self, gateway: Gateway, groups: dict[GroupingKey, list[Report]], last_chance: bool
    ) -> dict[GroupingKey, Group] | None:
        """The groups as the gateway holds them, where any is to be compared; None: it refuses."""
        wanted = {
            frozenset(key.labels.items()): key
            for key, told in groups.items()
            if any(report.compare for report in told)
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
        told: Iterable[Report],
        held: dict[GroupingKey, Group] | None,
    ) -> None:
        families: dict[str, Family] = {}
        for report in told:
            for family in self._news(report, held):
                families[family.name] = family
        if not families:
            return
        try:
            gateway.pushadd(key, list(families.values()), timeout=self._options.deadline)
        except PushError as error:
            if isinstance(error, DeliveryError) and not error.permanent:
                raise
            self._log.say("refused", f"{{count}} reports are lost: {error}", 1)

    def _news(self, report: Report, held: dict[GroupingKey, Group] | None) -> list[Family]:
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


def _items(reports: Iterable[Report]) -> list[Item]:
    return list({report.item.slot: report.item for report in reports}.values())
