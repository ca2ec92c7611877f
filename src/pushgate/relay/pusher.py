"""The pusher's two threads: one reads and aggregates, the other sends.

Two threads keep room in the pipe, however long a push takes. A push is encoded under the lock, and
sent without it.
"""

from __future__ import annotations

import os
import select
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from .pusher_process import CHANNEL, DONE, RECORDS
from .records import PIPE_BYTES, Dropped, records_of
from .standard_error import describe, to_stderr

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..gateway.client import Gateway
    from ..log import RateLimitedLogger
    from ..outbox.outbox import Outbox
    from .sender import ReadyPush, Sender

# After a read: a busy worker's records are then read many at once, and most of its writes wake no
# process.
_NAP = 0.05  # seconds
_LEAST_TIMEOUT = 0.1  # seconds
_KEEP_AFTER = 0.5  # seconds after the end
_LATE = 0.5  # seconds after the stop, in which a process that has the pipe still may write
_LONGEST_COPY = 2.0  # seconds, to the outbox, for which the next push waits
_LOOK_EVERY = 60.0  # seconds, between two looks into the outbox
_FLUSH_SECONDS = 5.0  # pushes wait as long at most
_LAST_FLUSH_SECONDS = 2.0
_LONGEST_WAIT = 86_400.0  # seconds


class Pusher:
    """Feeds the records on the descriptor RECORDS to ``sender``, and its requests to ``gateway``.

    It tries for ``linger`` seconds after the stop or the end of the records, and keeps the rest in
    ``outbox``. As soon as all is delivered after a stop, it tells the worker. Each request takes
    ``timeout`` seconds at most. While no push waits, the outbox is flushed when the gateway has
    answered and every minute. What a push fails for is there by itself, as the outbox is the
    gateway's; what waits behind it is copied each minute, because the pusher may be killed.
    """

    def __init__(
        self,
        sender: Sender,
        gateway: Gateway,
        outbox: Outbox | None,
        log: RateLimitedLogger,
        *,
        linger: float,
        timeout: float,
    ) -> None:
        self._sender = sender
        self._gateway = gateway
        self._outbox = outbox
        self._log = log
        self._linger = linger
        self._timeout = timeout
        self._changed = threading.Condition()
        self._deadline: float | None = None  # on the monotonic clock, after the stop or the end
        self._may_read = True
        self._is_copying = False  # to the outbox
        self._has_told = False
        self._sleeps_until = float("-inf")
        self._answers: bool | None = None  # whether the gateway does
        self._look_at: float | None = None  # into the outbox

    def run(self) -> None:
        """Read and push until the stop or the end of file, and then push what is left."""
        thread = threading.Thread(target=self._send_all, name="pushgate-send", daemon=True)
        thread.start()
        self._read_all()
        kept_in = self._linger_on(thread)
        with self._changed:
            left = self._sender.undelivered
            why = self._sender.last_error or f"no answer within {self._linger:g} s"
        if left:
            fate = f"they wait in the outbox {kept_in}" if kept_in else "they are lost"
            to_stderr(
                f"at the end, groups whose last push could not be delivered: {left}; {fate}; the"
                f" gateway {self._gateway.url}: {why}"
            )
        elif self._outbox is not None:  # what was copied while it was under way
            self._outbox.flush(self._gateway, timeout=_LAST_FLUSH_SECONDS)

    def _linger_on(self, thread: threading.Thread) -> str:
        """Let ``thread`` try until its time is over. Where what is left is kept, if it is.

        It is kept as soon as nothing arrives any more: if we run in a container, the end of the
        worker may end us, too.
        """
        before, end = 0, self._deadline or 0.0
        while (left := self._sender.undelivered) != before and (rest := end - time.monotonic()) > 0:
            before = left
            thread.join(min(rest, _KEEP_AFTER))
        kept_in = self._keep() if left else ""
        thread.join(max(0.0, end - time.monotonic()))
        return kept_in

    def _keep(self) -> str:
        """Copy what is not delivered to the outbox. The outbox's path if it is there now."""
        if self._outbox is None:
            return ""
        with self._changed:
            changes, sent = self._sender.changes(), self._sender.under_way
            self._is_copying = True
        # The gateway may yet do what it was sent, and hold that after this copy was made.
        unanswered = [] if sent is None else [(sent.push.method, sent.key, sent.body)]
        is_kept = changes and self._outbox.keep(self._gateway.url, changes, unanswered=unanswered)
        with self._changed:
            self._is_copying = False
            self._changed.notify()
        return self._outbox.path if is_kept else ""

    # The reading thread.

    def _read_all(self) -> None:
        poll = select.poll()
        poll.register(RECORDS, select.POLLIN)
        poll.register(CHANNEL, 0)  # its end is reported all the same
        pause: float | None = None
        while True:
            ready = dict(poll.poll(pause))
            if RECORDS in ready:
                data = os.read(RECORDS, PIPE_BYTES)
                if not data:
                    break
                with self._changed:
                    self._feed(records_of(data))
                    self._wake()
                if self._deadline is None:
                    time.sleep(_NAP)
            elif CHANNEL in ready:  # and its last words are read
                poll.unregister(CHANNEL)
                with self._changed:
                    if self._deadline is None:
                        self._sender.abandoned()
                        self._wake()
            if self._deadline is not None:
                late = self._deadline - self._linger + _LATE
                if (rest := late - time.monotonic()) <= 0:
                    break
                pause = rest * 1000
        with self._changed:
            self._may_read = False
            self._close()

    def _close(self) -> None:
        """The stop, or the end: only what comes first counts."""
        if self._deadline is None:
            self._sender.closed()
            self._deadline = time.monotonic() + self._linger
        self._changed.notify()

    def _feed(self, records: Iterator[Any]) -> None:
        for record in records:
            if not isinstance(record, Dropped):
                self._sender.feed(record)
            elif record:
                self._sender.dropped(record)
            else:
                self._close()

    def _wake(self) -> None:
        """Wake the sending thread if its next request has become due earlier."""
        due = self._sender.next_due()
        if due is not None and due < self._sleeps_until:
            self._sleeps_until = float("-inf")
            self._changed.notify()

    # The sending thread.

    def _send_all(self) -> None:
        try:
            while (request := self._next()) is not None:
                began = time.monotonic()
                error = self._send(request)
                with self._changed:
                    self._sender.settle(request, error, time.monotonic() - began)
                    answers = self._sender.last_error is None
                    if self._outbox is not None and answers != self._answers:
                        self._answers = answers
                        self._look_at = time.monotonic() + (0.0 if answers else _LOOK_EVERY)
        except BaseException as error:
            to_stderr(f"the pusher failed: {describe(error)}")
            os._exit(1)  # the worker starts another one; a reader alone would only look alive

    def _next(self) -> ReadyPush | None:
        """Wait for the next request, and return it; None at the end."""
        while True:
            with self._changed:
                # A push that is sent before its older copy is on disk does not replace that.
                self._changed.wait_for(lambda: not self._is_copying, _LONGEST_COPY)
                if self._deadline is not None:
                    is_idle = not self._sender.undelivered
                    if self._left() <= 0 or (is_idle and not self._may_read):
                        return None
                    if is_idle and not self._has_told:
                        self._has_told = True
                        with suppress(OSError):
                            os.write(CHANNEL, f"{DONE}\n".encode())
                if (request := self._sender.take()) is not None:
                    return request
                now = time.monotonic()
                look_at = None if self._deadline is not None else self._look_at
                if look_at is None or look_at > now:
                    turns = (self._sender.next_due(), self._deadline, look_at, now + _LONGEST_WAIT)
                    self._sleeps_until = min(turn for turn in turns if turn is not None)
                    self._changed.wait(max(0.0, self._sleeps_until - now))
                    self._sleeps_until = float("-inf")
                    continue
            self._look(now)

    def _look(self, now: float) -> None:
        """Deliver what waits in the outbox; in an outage, copy there what waits here."""
        self._look_at = now + _LOOK_EVERY
        if not self._answers or self._outbox is None:
            self._keep()
            return
        flushed = self._outbox.flush(self._gateway, timeout=_FLUSH_SECONDS)
        if flushed.delivered:
            self._log.info(f"groups of the outbox that were delivered: {flushed.delivered}")
            if flushed.left:
                self._look_at = now  # after the pushes that wait

    def _send(self, request: ReadyPush) -> Exception | None:
        try:
            timeout = max(self._left(), _LEAST_TIMEOUT)
            self._gateway.send(request.push.method, request.key, request.body, timeout=timeout)
        except Exception as error:
            return error
        return None

    def _left(self) -> float:
        """Seconds that a request may take."""
        if self._deadline is None:
            return self._timeout
        return min(self._timeout, self._deadline - time.monotonic())
