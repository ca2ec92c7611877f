"""What a pusher can't deliver is copied to the outbox, and what waits there is delivered."""

from __future__ import annotations

import threading
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

from ..errors import is_permanent, may_have_arrived
from .sender import may_pass

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..gateway.client import Gateway
    from ..log import RateLimitedLogger
    from ..outbox.outbox import Outbox
    from ..protocol.grouping_key import GroupingKey
    from .sender import ReadyPush

_EVERY = 60.0  # seconds, between two looks into the outbox, and between two copies to it
_FLUSH_SECONDS = 5.0  # pushes wait as long at most
_LAST_SECONDS = 2.0
_UNANSWERED = 16  # requests that are remembered, since the gateway may yet do them


class OutboxCopy:
    """One pusher's use of ``outbox``; None is for none, and nothing is then kept.

    ``now`` is in seconds of the monotonic clock.
    """

    def __init__(self, gateway: Gateway, outbox: Outbox | None, log: RateLimitedLogger) -> None:
        self._gateway = gateway
        self._outbox = outbox
        self._log = log
        self._flush_at: float | None = None  # None: not before the gateway answers
        self._copy_at: float | None = None  # None: while it answers
        self._storing = threading.Lock()
        self._copied: set[GroupingKey] = set()
        self._refused: set[GroupingKey] = set()  # by the last push
        self._delivered = 0  # by flushes, and not yet logged
        self._unanswered: deque[tuple[str, GroupingKey, bytes]] = deque(maxlen=_UNANSWERED)

    @property
    def path(self) -> str | None:
        """Where the outbox is."""
        return None if self._outbox is None else self._outbox.path

    def send(self, request: ReadyPush, timeout: float | None) -> None:
        """Send it, in order with what waits in the outbox. Raises as ``Gateway.send`` does."""
        self._refused.discard(request.key)
        try:
            self._send(request, timeout)
        except OSError as error:
            if is_permanent(error):
                self._discard(request.key)
            raise

    def keep(self, changes: Iterable[tuple[str, GroupingKey, bytes, float]]) -> bool:
        """Copy to the outbox what is not delivered: whether it is there now."""
        if self._outbox is None:
            return False
        unanswered = tuple(self._unanswered)
        with self._storing:
            changes = [change for change in changes if change[1] not in self._refused]
            self._copied.update(key for _, key, _, _ in changes)
            return self._outbox.keep(self._gateway.url, changes, unanswered=unanswered)

    def is_due(self, now: float, *, gateway_answers: bool) -> bool:
        """The gateway was asked: whether it is time to keep what waits.

        That is each minute of an outage, because the pusher may be killed.
        """
        if gateway_answers:
            self._copy_at = None
            self._flush_at = now if self._flush_at is None else self._flush_at
            return False
        self._flush_at = None
        is_due = self._copy_at is not None and now >= self._copy_at
        if self._copy_at is None or is_due:
            self._copy_at = now + _EVERY
        return is_due

    def next_flush(self) -> float | None:
        """When to call :meth:`flush`, if at all."""
        return None if self._outbox is None else self._flush_at

    def flush(self, now: float) -> None:
        """Deliver what waits in the outbox, or a part of it; log how much when it is empty."""
        if self._outbox is None:
            return
        self._flush_at = now + _EVERY
        if self._outbox.is_empty():
            return
        flushed = self._outbox.flush(self._gateway, timeout=_FLUSH_SECONDS)
        self._delivered += flushed.delivered
        if flushed.delivered and flushed.left:
            self._flush_at = now  # after the pushes that wait
        elif self._delivered:
            self._log.info(f"groups of the outbox that were delivered: {self._delivered}")
            self._delivered = 0

    def forget(self) -> None:
        """All is delivered: empty the outbox of what was copied while it was under way."""
        if self._outbox is not None and self._copied and not self._outbox.is_empty():
            self._outbox.flush(self._gateway, timeout=_LAST_SECONDS)

    def _discard(self, key: GroupingKey) -> None:
        """The gateway refused the push for good: another thread may have copied it meanwhile."""
        with self._storing:
            self._refused.add(key)
            if self._outbox is not None and key in self._copied:
                self._copied.discard(key)
                with suppress(OSError):  # another process delivers, and will be refused
                    self._outbox.discard(self._gateway.url, lambda labels: labels == key.labels)

    def _send(self, request: ReadyPush, timeout: float | None) -> None:
        gateway, arguments = self._gateway, (request.push.method, request.key, request.body)
        if self._outbox is None:
            gateway.send(*arguments, timeout=timeout)
        elif not self._outbox.is_empty():
            self._outbox.send(gateway, *arguments, timeout=timeout)
        else:
            self._unanswered.append(arguments)
            try:
                gateway.send(*arguments, timeout=timeout)
            except OSError as error:
                if not may_have_arrived(error):
                    self._unanswered.pop()
                if not may_pass(error) and not is_permanent(error):
                    # Another try helps only after a change, for example of a password.
                    changes = request.push.changes(
                        request.key, time.time(), utf8_names=gateway.utf8_names
                    )
                    error.kept = self.keep(changes)  # type: ignore[attr-defined]  # as Outbox.send
                raise
            self._unanswered.pop()
