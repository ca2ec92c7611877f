"""From records to requests: the aggregator, what waits, whose turn it is, and how it ended.

Enters: records and other events, each with the moment. Leaves: parcels to send, one at a time; the
sender tells how that ended. Never raises: what an aggregator or a collector raises is said once and
skipped. Pure but for what the aggregator does and what is said.
"""

from __future__ import annotations

import time
from random import random
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from ..errors import DeliveryError, GatewayRejectedError, GatewayUnreachableError, PushError
from ._pending import Pending, Waiting
from ._said import Said, describe
from ._schedule import Backoff, Schedule

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ..protocol.grouping_key import GroupingKey
    from ..protocol.groups import Group
    from ._changes import Aggregator, Change, Method
    from ._pending import KeptChange

__all__ = ("Deliveries", "Moment", "Parcel", "may_pass")


class Moment(NamedTuple):
    """A time on two clocks, in seconds: ``unix``, and ``clock``, which is monotonic."""

    unix: float
    clock: float

    @classmethod
    def now(cls) -> Moment:
        """This moment."""
        return cls(time.time(), time.monotonic())


class Parcel(NamedTuple):
    """A request that is to be sent, and what it was made of."""

    key: GroupingKey
    waiting: Waiting
    body: bytes

    @property
    def method(self) -> Method:
        """Of HTTP."""
        return cast("Method", self.waiting.method)  # a parcel has one


class Deliveries:
    """Everything between a record and its request.

    ``interval`` is in seconds, 0 for no limit; ``gateway`` is its name in what is said. Not safe to
    use from two threads at once.
    """

    def __init__(
        self,
        aggregator: Aggregator,
        *,
        gateway: str,
        interval: float,
        said: Said,
    ) -> None:
        self._aggregator = aggregator
        self._gateway = gateway
        self._pending = Pending()
        self._schedule = Schedule(interval)
        self._backoff = Backoff(interval)
        self._said = said
        self._outage_said = False
        self._in_flight: Parcel | None = None
        self._closed_at: float | None = None
        # Until when DELETEs may be due: others may have renewed their groups since the review.
        self._reviewed_at = float("inf" if aggregator.review_interval is None else "-inf")
        self._due: set[GroupingKey] = set()
        self.last_error: Exception | None = None
        """Why the gateway doesn't take what waits, while it doesn't."""

    @property
    def undelivered(self) -> int:
        """How many groups something waits for or is on its way to; later DELETEs don't count."""
        on_its_way = self._in_flight is not None and self._in_flight.key not in set(self._pending)
        return sum(1 for _ in self._pending) + on_its_way

    def undelivered_changes(self, now: Moment) -> list[KeptChange]:
        """What ``undelivered`` counts, for an outbox; it goes on waiting here.

        A collector's metrics are as old as the end of the records, if that was.
        """
        latest = now.unix if self._closed_at is None else self._closed_at
        sent = self._in_flight
        changes: list[KeptChange] = []
        for key in dict.fromkeys((*self._pending, *([sent.key] if sent else ()))):
            taken = sent.waiting if sent and sent.key == key else None
            try:
                changes += self._pending.with_taken(key, taken).changes(key, latest)
            except Exception as error:
                self._said.once(f"a push for {key} can't be kept: {_reason(error)}", now.clock)
        return changes

    @property
    def idle(self) -> bool:
        """Whether nothing waits, but perhaps for DELETEs whose time has not come."""
        return self._in_flight is None and next(iter(self._pending), None) is None

    def feed(self, record: Any, now: Moment) -> None:
        """A record arrived."""
        self._ask(self._aggregator.feed, now, record, now.unix)

    def dropped(self, count: int, now: Moment) -> None:
        """So many records did not."""
        self._ask(self._aggregator.dropped, now, count)

    @property
    def wants_review(self) -> bool:
        """Whether the time of a DELETE has come since the last review."""
        return bool(self._due)

    def review(self, groups: Iterable[Group], now: Moment) -> None:
        """The gateway was read."""
        self._ask(self._aggregator.review, now, groups, now.unix)
        self.go_without_review(now)

    def go_without_review(self, now: Moment) -> None:
        """The gateway lets nobody read it: DELETEs that are due now need not wait for that."""
        self._reviewed_at = max(self._reviewed_at, now.clock)
        for key in self._due:
            self._schedule.want(key, now.clock)
        self._due.clear()

    def closed(self, now: Moment) -> None:
        """There will be no more records: what waits is to go at once."""
        self._ask(self._aggregator.closed, now, now.unix)
        self._closed_at = now.unix
        self._schedule.hurry()
        self._backoff.hurry()
        for key in self._pending:
            self._schedule.want(key, now.clock)

    def next_turn(self) -> float | None:
        """When ``next`` will give something, on the monotonic clock; None when nothing waits."""
        turn = self._schedule.next_turn()
        return None if turn is None else max(turn, self._backoff.until)

    def next(self, now: Moment) -> Parcel | None:
        """What is to be sent now; call ``settle`` before the next call."""
        if now.clock < self._backoff.until:
            return None
        while (key := self._schedule.take(now.clock)) is not None:
            waiting = self._pending.take(key, min(now.clock, self._reviewed_at))
            if waiting is not None:
                self._schedule.sent(key, now.clock)
            if (delete_at := self._pending.delete_at(key)) is not None:
                if delete_at > now.clock:
                    self._schedule.want(key, delete_at)
                else:
                    self._due.add(key)
            if waiting is not None:
                try:
                    self._in_flight = Parcel(key, waiting, waiting.payload(key))
                except Exception as error:
                    self._give_up(key, error, now)
                else:
                    return self._in_flight
        return None

    def settle(self, parcel: Parcel, error: Exception | None, now: Moment) -> None:
        """The sending of ``parcel`` ended, with ``error`` if it failed."""
        self._in_flight = None
        if error is not None and may_pass(error):
            try:
                self._pending.put_back(parcel.key, parcel.waiting)
            except Exception as failure:
                self._fault(failure, now)
            self._schedule.not_sent(parcel.key)
            self._schedule.want(parcel.key, now.clock)
            self._delivered(parcel.key, error, now)
            self.unanswered(error, now)
            return
        self._answered()
        if error is None:
            self._delivered(parcel.key, None, now)
        else:
            self._give_up(parcel.key, error, now)

    def unanswered(self, error: Exception, now: Moment) -> None:
        """The gateway did not do what it will do later."""
        asked = error.retry_after if isinstance(error, GatewayRejectedError) else None
        self._backoff.failed(now.clock, random(), asked)  # noqa: S311 - jitter is no secret
        if self.last_error is None:
            why = error.reason if isinstance(error, GatewayUnreachableError) else error
            text = f"the gateway {self._gateway} takes nothing now, pushes wait: {why}"
            self._outage_said = self._said.once(text, now.clock)
        self.last_error = error

    def _answered(self) -> None:
        self.last_error = None
        if self._backoff.answered() and self._outage_said:
            groups = self.undelivered
            self._said.say(f"the gateway {self._gateway} answers again, groups that wait: {groups}")
            self._outage_said = False

    def _give_up(self, key: GroupingKey, error: Exception, now: Moment) -> None:
        fate = "waits in the outbox" if getattr(error, "kept", False) else "was given up"
        self._said.once(f"a push for {key} {fate}: {_reason(error)}", now.clock)
        self._delivered(key, error, now)

    def _delivered(self, key: GroupingKey, error: Exception | None, now: Moment) -> None:
        try:
            self._aggregator.delivery(key, error, now.unix)
        except Exception as failure:
            self._fault(failure, now)

    def _ask(self, ask: Callable[..., Iterable[Change]], now: Moment, *arguments: object) -> None:
        try:
            for change in ask(*arguments):
                self._add(change, now)
        except Exception as error:
            self._fault(error, now)

    def _add(self, change: Change, now: Moment) -> None:
        at = now.clock
        if change.not_before is not None and change.not_before > now.unix:
            at += change.not_before - now.unix
        if self._pending.add(change, at if at > now.clock else None, now.unix):
            self._schedule.want(change.key, at)

    def _fault(self, error: Exception, now: Moment) -> None:
        self._said.once(
            f"the aggregator failed, and what it was told is skipped: {describe(error)}", now.clock
        )


def may_pass(error: Exception) -> bool:
    """Whether the same request may succeed later without anybody changing anything."""
    return isinstance(error, GatewayUnreachableError) or (
        isinstance(error, DeliveryError) and error.retryable
    )


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, PushError) else describe(error)
