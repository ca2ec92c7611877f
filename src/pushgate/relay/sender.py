"""From records to requests: what waits, which group is next, and how its push ended."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

from ..delivery.messages import one_line, was_kept
from ..delivery.pending import Pending
from ..delivery.pending_push import PendingPush, combine, pending_push
from ..errors import GatewayRejectedError, GatewayUnreachableError, PushError, is_retryable
from ..transport.backoff import Backoff
from .standard_error import describe
from .stretch import Stretch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ..gateway.client import Gateway
    from ..log import RateLimitedLogger
    from ..protocol.grouping_key import GroupingKey
    from .aggregator import Aggregator, Change

_FIRST_PAUSE = 0.5  # seconds, while the gateway takes nothing


class ReadyPush(NamedTuple):
    """The next push, encoded, and the pending push that it was made of."""

    key: GroupingKey
    push: PendingPush
    body: bytes
    is_slow: bool


class Sender:
    """Turns records into requests: for a group at once, and then once in ``interval`` seconds.

    Slow groups have ``slow_interval``, and wait until no other is due. The caller sends them to
    ``gateway``. Never raises: an exception of an aggregator or a collector is logged. Two threads
    must not use it at the same time.
    """

    def __init__(
        self,
        aggregator: Aggregator,
        gateway: Gateway,
        log: RateLimitedLogger,
        *,
        interval: float,
        slow_interval: float,
    ) -> None:
        self._aggregator = aggregator
        self._url = gateway.url
        self._utf8_names = gateway.utf8_names
        self._log = log
        self._interval = interval
        self._stretch = Stretch(slow_interval)
        self._normal: Pending[GroupingKey, PendingPush] = Pending(combine, interval=interval)
        self._slow: Pending[GroupingKey, PendingPush] = Pending(combine, interval=slow_interval)
        self._backoff = Backoff(_FIRST_PAUSE, interval)
        self._blocked_until = self._back_at = float("-inf")  # the second: when an outage ended
        self.under_way: ReadyPush | None = None
        """What :meth:`take` gave and :meth:`settle` has not taken back."""
        self._closed_at: float | None = None
        self._outage_is_logged = False
        self.last_error: Exception | None = None
        """Why the gateway does not take what waits, while it does not."""

    @property
    def undelivered(self) -> int:
        """How many groups have a push that waits or is under way."""
        sent = self.under_way
        count = len(self._normal) + len(self._slow)
        return count + (sent is not None and self._table(sent.is_slow).get(sent.key) is None)

    def feed(self, record: Any) -> None:
        """A record arrived."""
        self._ask(self._aggregator.feed, record, time.time())

    def dropped(self, count: int) -> None:
        """So many records did not arrive."""
        self._ask(self._aggregator.dropped, count)

    def abandoned(self) -> None:
        """The process that started us is gone; records may go on to arrive."""
        self._ask(self._aggregator.abandoned, time.time())

    def closed(self) -> None:
        """There will be no more records: all that waits is due now."""
        self._closed_at = time.time()
        self._ask(self._aggregator.closed, self._closed_at)
        self._interval = 0.0
        for table in (self._normal, self._slow):
            table.hurry(time.monotonic())
        self._backoff = Backoff(_FIRST_PAUSE, _FIRST_PAUSE)
        self._blocked_until = float("-inf")

    def next_due(self) -> float | None:
        """When :meth:`take` returns the next push, on the monotonic clock; None: none waits."""
        due = [at for table in (self._normal, self._slow) if (at := table.next_due()) is not None]
        return max(min(due), self._blocked_until) if due else None

    def take(self) -> ReadyPush | None:
        """The push that is due now, or None. Call :meth:`settle` before the next call."""
        now = time.monotonic()
        while now >= self._blocked_until:
            is_slow = False
            if (taken := self._normal.take(now)) is None:
                is_slow, due = True, self._slow.next_due()
                if (taken := self._slow.take(now)) is None:
                    return None
                is_late = due is not None and now - max(due, self._back_at) > self._slow.interval
                if is_late and self._slow.interval > 0 and self.last_error is None:
                    self._log_round()
            key, push = taken
            try:
                body = push.body(key, utf8_names=self._utf8_names)
            except Exception as error:
                self._give_up(key, error)
            else:
                self.under_way = ReadyPush(key, push, body, is_slow)
                return self.under_way
        return None

    def settle(self, request: ReadyPush, error: Exception | None, took: float = 0.0) -> None:
        """The sending of ``request`` ended after ``took`` seconds, with ``error`` if it failed."""
        self.under_way = None
        if error is None or not may_pass(error):
            self._answered()
            if self._closed_at is None:
                self._slow.interval = self._stretch.took(took, time.monotonic())
            if error is None:
                self._tell(request.key, None)
            else:
                self._give_up(request.key, error)
            return
        now = time.monotonic()
        try:
            self._table(request.is_slow).put_back(request.key, request.push, now)
        except Exception as fault:
            self._fault(fault)
        self._tell(request.key, error)
        asked = error.retry_after if isinstance(error, GatewayRejectedError) else None
        self._blocked_until = now + self._backoff.failed(asked)
        if self.last_error is None:
            why = error.reason if isinstance(error, GatewayUnreachableError) else error
            text = f"the gateway {self._url} takes nothing now, pushes wait: {why}"
            self._outage_is_logged = self._log.warning(one_line(text))
        self.last_error = error

    def changes(self) -> list[tuple[str, GroupingKey, bytes, float]]:
        """All that is undelivered, for an outbox. It goes on waiting here."""
        # A collector changes no more after the end of the records.
        collected_at = time.time() if self._closed_at is None else self._closed_at
        sent = self.under_way
        changes: list[tuple[str, GroupingKey, bytes, float]] = []
        tables = {key: table for table in (self._normal, self._slow) for key in table}
        if sent is not None:
            tables[sent.key] = self._table(sent.is_slow)
        for key, table in tables.items():
            try:
                push = table.get(key)
                if sent is not None and sent.key == key:
                    push = sent.push if push is None else combine(sent.push, push)
                if push is not None:
                    changes += push.changes(key, collected_at, utf8_names=self._utf8_names)
            except Exception as error:
                self._log.warning(f"a push for {key} can't be kept: {_reason(error)}")
        return changes

    def _ask(self, ask: Callable[..., Iterable[Change]], *arguments: object) -> None:
        try:
            for change in ask(*arguments):
                self._add(change)
        except Exception as error:
            self._fault(error)

    def _add(self, change: Change) -> None:
        key, metrics, pace = change.key, change.metrics, change.pace
        table = self._table(pace != "normal")
        waiting = table.get(key)
        if (
            waiting is not None
            and pace != "now"
            and waiting.collected is metrics
            and not waiting.families
            and waiting.method in (change.method, "PUT")
            and change.method != "DELETE"
            and hasattr(metrics, "collect")
        ):
            return  # the push that waits collects it: so do most changes of a busy group
        push = pending_push(change.method, metrics, time.time())
        table.put(key, push, time.monotonic(), interval=self._interval if pace == "now" else None)

    def _table(self, is_slow: bool) -> Pending[GroupingKey, PendingPush]:
        return self._slow if is_slow else self._normal

    def _log_round(self) -> None:
        self._log.warning(
            f"a round of the groups that can wait takes longer than their interval, which is now"
            f" {self._slow.interval:.0f} s, at the gateway {self._url}: {len(self._slow) + 1} are"
            " behind, and are pushed ever less often; `pushgate doctor` tells what a push costs it",
            subject="round",
        )

    def _answered(self) -> None:
        if self.last_error is not None:
            self._back_at = time.monotonic()
        self.last_error = None
        self._blocked_until = float("-inf")
        self._backoff.succeeded()
        if self._outage_is_logged:
            groups = self.undelivered
            self._log.info(f"the gateway {self._url} answers again, groups that wait: {groups}")
            self._outage_is_logged = False

    def _give_up(self, key: GroupingKey, error: Exception) -> None:
        fate = "waits in the outbox" if was_kept(error) else "was given up"
        self._log.warning(f"a push for {key} {fate}: {_reason(error)}")
        self._tell(key, error)

    def _tell(self, key: GroupingKey, error: Exception | None) -> None:
        self._ask(self._aggregator.delivery, key, error, time.time())

    def _fault(self, error: Exception) -> None:
        self._log.warning(
            f"the aggregator failed, and what it was told is skipped: {describe(error)}"
        )


def may_pass(error: Exception) -> bool:
    """Whether the same request may succeed later, as it is tried here again."""
    return isinstance(error, GatewayUnreachableError) or is_retryable(error)


def _reason(error: Exception) -> str:
    return one_line(str(error)) if isinstance(error, PushError) else describe(error)
