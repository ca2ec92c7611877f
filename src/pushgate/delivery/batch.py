"""Batches of reports to one gateway: compared with what it holds where needed, one push a group."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, cast

from ..errors import (
    GatewayRejectedError,
    PushError,
    concerns_one_group,
    is_retryable,
    may_arrive_later,
)
from ..outbox.later_run import newer_families
from ..protocol.text import encode
from ..transport.backoff import Backoff
from .messages import one_line
from .pending_push import combine, pending_push
from .waiting_work import Undelivered

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence

    from ..gateway.client import Gateway
    from ..log import RateLimitedLogger
    from ..outbox.outbox import Outbox
    from ..protocol.families import Family, FamilyLike
    from ..protocol.grouping_key import GroupingKey
    from ..protocol.groups import Group
    from ..transport.made_once import MadeOnce
    from .pending_push import PendingPush
    from .report import Report
    from .waiting_work import WaitingWork

    Groups = dict[GroupingKey, list[tuple[Hashable, Report]]]

_LATE = 10.0  # seconds, after which another process may have pushed something newer
_TOO_LATE = 60.0  # the same, where the gateway does not let us look
_READING_TIMEOUT = 15.0  # seconds; ten thousand groups are tens of megabytes
_READING_SHARE = 20.0  # reading takes a twentieth of the time at most
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0  # seconds, while the gateway takes nothing
_FLUSH_PAUSE = 60.0  # seconds between two deliveries of what waits in the outbox
_LOST = "{count} reports are lost:"


class BatchDelivery:
    """Delivers to ``gateway()``, each push within ``timeout`` seconds; keeps in ``outbox``."""

    def __init__(
        self,
        gateway: MadeOnce[Gateway],
        outbox: Outbox | None,
        *,
        timeout: float,
        log: RateLimitedLogger,
    ) -> None:
        self._gateway = gateway
        self._outbox = outbox
        self._timeout = timeout
        self._log = log
        self._backoff = Backoff(_FIRST_PAUSE, _LONGEST_PAUSE)
        self._may_read_at = self._may_flush_at = 0.0

    def deliver(self, batch: Mapping[Hashable, WaitingWork], is_last_chance: bool) -> Undelivered:
        """Push what ``batch`` yields. Returns what has to be tried again."""
        may_read = is_last_chance or time.monotonic() >= self._may_read_at
        groups: Groups = {}
        later: set[Hashable] = set()
        for slot, work in batch.items():
            reports = list(self._reports(work))
            if not may_read and any(report.compare for report in reports):
                later.add(slot)
                continue
            for report in reports:
                groups.setdefault(report.key, []).append((slot, report))
        try:
            if groups:
                gateway = self._gateway()
                held = self._held(gateway, groups, is_last_chance)
                for key in tuple(groups):
                    self._push(gateway, key, [report for _, report in groups[key]], held)
                    del groups[key]
                self._backoff.succeeded()
            if not is_last_chance:
                self._flush_outbox()
        except Exception as error:
            left = {slot for told in groups.values() for slot, _ in told} | later
            self._log.warning(
                f"reports wait for the gateway: {_why(error)}", subject="gateway is away"
            )
            asked = error.retry_after if isinstance(error, GatewayRejectedError) else None
            return Undelivered(left, self._backoff.failed(asked), gateway_is_away=True)
        return Undelivered(later, max(0.0, self._may_read_at - time.monotonic()))

    def keep(self, works: Iterable[WaitingWork]) -> bool:
        """Put them into the outbox: whether they are there now."""
        if self._outbox is None:
            return False
        gateway = self._gateway()
        changes = []
        for work in works:
            for report in self._reports(work):
                try:
                    text = encode(report.families, report.key, utf8_names=gateway.utf8_names).text
                except PushError as error:
                    self._lost(error)
                else:
                    changes.append((report.method, report.key, text, report.at))
        return self._outbox.keep(gateway.url, changes)

    def _reports(self, work: WaitingWork) -> Iterator[Report]:
        """Those that are late are compared, whatever they say."""
        try:
            for report in work.make():
                is_late = work.was_tried or time.time() - report.at > _LATE
                is_heartbeat = report.method == "POST" and not report.families
                yield report._replace(compare=True) if is_late and not is_heartbeat else report
        except Exception as error:  # an adapter's mistake, or a collector's
            self._log.warning(f"{_LOST} {error!r}", subject="make", count=1)

    def _held(
        self, gateway: Gateway, groups: Groups, is_last_chance: bool
    ) -> dict[GroupingKey, Group] | None:
        """The groups that are compared, as the gateway holds them; None: it lets nobody look."""
        wanted = {
            frozenset(key.labels.items()): key
            for key, told in groups.items()
            if any(report.compare for _, report in told)
        }
        if not wanted:
            return {}
        is_short = is_last_chance or self._backoff.has_failed
        timeout = self._timeout if is_short else _READING_TIMEOUT
        began, held = time.monotonic(), {}
        try:
            for group in gateway.iter_groups(timeout=timeout):
                key = wanted.get(frozenset(group.labels.items()))
                if key is not None:
                    held[key] = group
        except PushError as error:
            if is_retryable(error):
                raise
            self._log.warning(f"the gateway's groups can't be read: {error}", subject="unread")
            return None
        ended = time.monotonic()
        self._may_read_at = ended + _READING_SHARE * (ended - began)
        return held

    def _push(
        self,
        gateway: Gateway,
        key: GroupingKey,
        reports: Iterable[Report],
        held: Mapping[GroupingKey, Group] | None,
    ) -> None:
        push = None
        for report in reports:
            news = self._news(report, held)
            if news is not None:
                change = pending_push(report.method, news, report.at)
                push = change if push is None else combine(push, change)
        if push is None:
            return
        try:
            # Past the gateway's outbox: what fails waits in the queue, with what comes meanwhile.
            body = push.body(key, utf8_names=gateway.utf8_names)
            gateway.send_directly(push.method, key, body, timeout=self._timeout)
        except Exception as error:
            if not may_arrive_later(error):
                self._lost(error)
            elif not (concerns_one_group(error) and self._is_kept(gateway, key, push)):
                raise
            else:
                self._log.warning(f"a push for {key} waits in the outbox: {_why(error)}")

    def _is_kept(self, gateway: Gateway, key: GroupingKey, push: PendingPush) -> bool:
        """Whether the outbox has it now, so that it does not hold up other groups."""
        changes = push.changes(key, time.time(), utf8_names=gateway.utf8_names)
        return self._outbox is not None and self._outbox.keep(gateway.url, changes)

    def _news(
        self, report: Report, held: Mapping[GroupingKey, Group] | None
    ) -> Iterable[FamilyLike] | None:
        """The families of ``report`` that are newer than what the gateway holds; None for none."""
        if not report.compare:
            return report.families
        if held is None:
            if time.time() - report.at <= _TOO_LATE:
                return report.families
            self._log.warning(
                f"{_LOST} they can't be compared with the gateway's any more",
                subject="unseen",
                count=1,
            )
            return None
        group = held.get(report.key)
        if report.method != "POST":
            is_newer = group is None or group.push_time <= report.at
            return report.families if is_newer else None
        families = cast("Sequence[Family]", report.families)
        return newer_families(families, group, run_started_at=report.run_started_at) or None

    def _flush_outbox(self) -> None:
        """Deliver what waits on this host, also what former processes left."""
        began = time.monotonic()
        if self._outbox is None or began < self._may_flush_at or self._outbox.is_empty():
            return
        flushed = self._outbox.flush(self._gateway(), timeout=_READING_TIMEOUT)
        ended = time.monotonic()
        self._may_flush_at = ended + max(_FLUSH_PAUSE, _READING_SHARE * (ended - began))
        if not flushed.left:
            self._backoff.succeeded()

    def _lost(self, error: Exception) -> None:
        self._log.warning(f"{_LOST} {_why(error)}", subject="lost", count=1)


def _why(error: Exception) -> str:
    return one_line(str(error) if isinstance(error, PushError) else repr(error))
