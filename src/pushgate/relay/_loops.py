"""The pusher's two threads: one reads and aggregates, the other sends.

Enters: records on a descriptor. Leaves: requests to the gateway, what could not be delivered in an
outbox, and lines on standard error. There are two so that the pipe has room however long a push
takes. What is sent is encoded under the lock, and sent without it.
"""

from __future__ import annotations

import os
import threading
import time
from random import random
from typing import TYPE_CHECKING, Any

from ..errors import DeliveryError, PushError
from ._deliveries import Deliveries, Moment, Parcel
from ._frames import Dropped, Frames
from ._keeping import Keeping
from ._process import RECORDS
from ._said import Said, describe, to_stderr
from ._schedule import Backoff

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ..gateway.client import Gateway
    from ..outbox import Outbox
    from ..protocol.groups import Group
    from ._changes import Aggregator

__all__ = ("Pusher",)

_CHUNK = 1 << 17  # bytes
# After each read that took less, so that a busy worker's records are read many at once: its writes
# then wake nobody.
_NAP = 0.05  # seconds
_LEAST_TIMEOUT = 0.1  # seconds
_SOONEST_REVIEW = 4  # intervals, for the sake of DELETEs: the answer holds everybody's groups
_KEEP_AFTER = 1.0  # seconds after the end: who started us may take us along when it ends itself
_LONGEST_WAIT = 86_400.0  # seconds; beyond, somebody else will wake us


class Pusher:
    """Pushes what ``aggregator`` makes of the records on the descriptor RECORDS.

    ``interval``, ``linger`` (how long to go on trying after the end) and ``timeout`` (of one
    request) are in seconds. What is not delivered then is in ``outbox``, if there is one; it is
    flushed when the gateway has answered and every minute, while no push waits.
    """

    def __init__(
        self,
        aggregator: Aggregator,
        gateway: Gateway,
        *,
        interval: float,
        linger: float,
        timeout: float,
        said: Said,
        outbox: Outbox | None = None,
    ) -> None:
        self._gateway = gateway
        self._linger = linger
        self._timeout = timeout
        self._said = said
        self._keeping = Keeping(gateway, outbox, said)
        self._deliveries = Deliveries(
            aggregator, gateway=gateway.url, interval=interval, said=self._said
        )
        self._review_interval = aggregator.review_interval
        self._review_at = self._soonest_review_at = float("-inf")
        self._soonest_review = min(_SOONEST_REVIEW * interval, self._review_interval or 0.0)
        self._review_failures = Backoff(aggregator.review_interval or 0.0)
        self._changed = threading.Condition()
        self._deadline: float | None = None  # on the monotonic clock, once there are no writers
        self._sleeps_until = float("-inf")  # the sender

    def run(self) -> None:
        """Read and push until the end of file, and then push what is left."""
        sender = threading.Thread(target=self._send_all, name="pushgate-send", daemon=True)
        sender.start()
        self._read_all()
        is_kept = self._linger_on(sender)
        with self._changed:
            left = self._deliveries.undelivered
            why = self._deliveries.last_error or f"no answer within {self._linger:g} s"
        if not left:
            self._keeping.forget()
            return
        fate = f"they wait in the outbox {self._keeping.path}" if is_kept else "they are lost"
        to_stderr(
            f"at the end, groups whose last push could not be delivered: {left}; {fate}; the"
            f" gateway {self._gateway.url}: {why}"
        )

    def _linger_on(self, sender: threading.Thread) -> bool:
        """Let the sender try until the time for it is over: whether what is left is kept.

        It is kept as soon as nothing is delivered any more: who started us may take us along when
        it ends itself, as a container does.
        """
        is_kept, is_over, left = False, False, self._deliveries.undelivered
        while left and not is_over:
            rest = max(0.0, (self._deadline or 0.0) - time.monotonic())
            sender.join(rest if is_kept else min(rest, _KEEP_AFTER))
            with self._changed:
                before, left = left, self._deliveries.undelivered
                is_stuck = left == before or self._deliveries.last_error is not None
            is_over = rest <= _KEEP_AFTER or is_kept or not sender.is_alive()
            if left and not is_kept and (is_stuck or is_over):
                is_kept = self._keep()
        return is_kept

    def _keep(self) -> bool:
        """Copy to the outbox what is not delivered: whether it is there now."""
        with self._changed:
            changes = self._deliveries.undelivered_changes(Moment.now())
        return self._keeping.keep(changes) if changes else False

    # The reader.

    def _read_all(self) -> None:
        frames = Frames()
        while chunk := os.read(RECORDS, _CHUNK):
            with self._changed:
                self._feed(frames.split(chunk))
                self._wake()
            if len(chunk) < _CHUNK:
                time.sleep(_NAP)
        with self._changed:
            self._feed(frames.end())
            now = Moment.now()
            self._deliveries.closed(now)
            self._deadline = now.clock + self._linger
            self._changed.notify()

    def _feed(self, records: Iterator[Any]) -> None:
        now = Moment.now()
        for record in records:
            if isinstance(record, Dropped):
                self._deliveries.dropped(record, now)
            else:
                self._deliveries.feed(record, now)

    def _wake(self) -> None:
        """Wake the sender, if its next turn has become an earlier one."""
        turn = self._deliveries.next_turn()
        if turn is not None and turn < self._sleeps_until:
            self._sleeps_until = float("-inf")
            self._changed.notify()

    # The sender.

    def _send_all(self) -> None:
        try:
            while (parcel := self._next()) is not None:
                error = self._send(parcel)
                with self._changed:
                    now = Moment.now()
                    self._deliveries.settle(parcel, error, now)
                    answers = self._deliveries.last_error is None
                if self._keeping.settled(answers, now.clock):
                    self._keep()
        except BaseException as error:
            to_stderr(f"the pusher failed: {describe(error)}")
            os._exit(1)  # the worker starts another one; a reader alone would only look alive

    def _next(self) -> Parcel | None:
        """Wait for the next parcel, and return it; None at the end."""
        while True:
            self._review()
            with self._changed:
                if self._deadline is not None and (self._deliveries.idle or self._left() <= 0):
                    return None
                now = Moment.now()
                if (parcel := self._deliveries.next(now)) is not None:
                    return parcel
                flush_at = None if self._deadline is not None else self._keeping.next_flush()
                if flush_at is None or flush_at > now.clock:
                    turns = (
                        *(self._deliveries.next_turn(), self._next_review(), self._deadline),
                        flush_at,
                    )
                    self._sleeps_until = min(
                        (turn for turn in turns if turn is not None), default=float("inf")
                    )
                    pause = self._sleeps_until - now.clock
                    self._changed.wait(max(0.0, pause) if pause < _LONGEST_WAIT else None)
                    self._sleeps_until = float("-inf")
                    continue
            self._keeping.flush(now.clock)

    def _send(self, parcel: Parcel) -> Exception | None:
        timeout = max(self._left(), _LEAST_TIMEOUT)
        try:
            self._keeping.send(parcel, timeout)
        except Exception as error:
            return error
        return None

    def _left(self) -> float:
        """Seconds that a request may take."""
        if self._deadline is None:
            return self._timeout
        return min(self._timeout, self._deadline - time.monotonic())

    def _next_review(self) -> float | None:
        """When to read the gateway; not while it doesn't answer."""
        if self._review_interval is None or self._deadline is not None:
            return None
        if self._deliveries.last_error:
            return None
        return self._soonest_review_at if self._deliveries.wants_review else self._review_at

    def _review(self) -> None:
        """Read what the gateway holds, if it is time; pushes go on, whatever comes of it."""
        at = self._next_review()
        if at is None or at > time.monotonic():
            return
        groups = error = None
        try:
            groups = self._gateway.iter_groups(timeout=self._timeout)
        except Exception as failure:
            error = failure
        with self._changed:
            now = Moment.now()
            if groups is not None:
                self._review_failures.answered()
                self._keeping.settled(True, now.clock)
                self._review_at = now.clock + (self._review_interval or 0.0)
                self._soonest_review_at = now.clock + self._soonest_review
                self._deliveries.review(self._readable(groups, now), now)
                return
            self._review_failures.failed(now.clock, random())  # noqa: S311 - jitter is no secret
            self._review_at = self._soonest_review_at = self._review_failures.until
            if isinstance(error, DeliveryError) and error.retryable:
                return
            self._deliveries.go_without_review(now)
        self._say_unreadable(error, now)

    def _readable(self, groups: Iterable[Group], now: Moment) -> Iterator[Group]:
        """The groups, up to where the answer, which is decoded bit by bit, is no gateway's."""
        try:
            yield from groups
        except PushError as error:
            self._say_unreadable(error, now)

    def _say_unreadable(self, error: Exception | None, now: Moment) -> None:
        text = f"what the gateway {self._gateway.url} holds can't be read: {error}"
        self._said.once(text, now.clock)
