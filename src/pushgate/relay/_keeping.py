"""What a pusher has to do with the outbox: what it can't deliver goes there, what waits there out.

Enters: changes that are not delivered, and whether the gateway answers. Leaves: entries of the
outbox, and requests. What a pusher has tried for a minute to deliver is in the outbox too, in case
that it is killed. While anything waits there, pushes go through it: it then forgets what arrives,
and what another process delivers of it at this moment stays in order with them.
"""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

from ._deliveries import may_pass

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..gateway.client import Gateway
    from ..outbox import Outbox
    from ..protocol.grouping_key import GroupingKey
    from ._changes import Method
    from ._deliveries import Parcel
    from ._pending import KeptChange
    from ._said import Said

__all__ = ("Keeping",)

_EVERY = 60.0  # seconds, between two looks into the outbox, and between two copies to it
_FLUSH_SECONDS = 5.0  # pushes wait as long at most
_LAST_SECONDS = 2.0
_UNANSWERED = 16  # requests that are remembered, since the gateway may yet do them


class Keeping:
    """One pusher's use of ``outbox``; None is for none, and nothing is then kept.

    ``now`` is in seconds of any monotonic clock.
    """

    def __init__(self, gateway: Gateway, outbox: Outbox | None, said: Said) -> None:
        self._gateway = gateway
        self._outbox = outbox
        self._said = said
        self._flush_at: float | None = None  # None: not before the gateway answers
        self._copy_at: float | None = None  # None: while it answers
        self._has_copied = False
        self._delivered = 0  # by flushes, and not yet said
        self._unanswered: deque[tuple[Method, GroupingKey, bytes]] = deque(maxlen=_UNANSWERED)

    @property
    def path(self) -> str | None:
        """The outbox's file."""
        return None if self._outbox is None else self._outbox.path

    def send(self, parcel: Parcel, timeout: float | None) -> None:
        """Send it. Raises as ``Gateway.send`` does."""
        gateway, request = self._gateway, (parcel.method, parcel.key, parcel.body)
        if self._outbox is None:
            gateway.send(*request, timeout=timeout)
        elif not self._outbox.is_empty():
            self._outbox.send(gateway, *request, timeout=timeout)
        else:
            self._unanswered.append(request)
            try:
                gateway.send(*request, timeout=timeout)
            except OSError as error:
                from ..errors import is_permanent, may_have_arrived

                if not may_have_arrived(error):
                    self._unanswered.pop()
                if not may_pass(error) and not is_permanent(error):
                    # Not to be tried again here, but by whoever has mended it, as a password.
                    changes = parcel.waiting.changes(parcel.key, time.time())
                    error.kept = self.keep(changes)  # type: ignore[attr-defined]  # as Outbox.send
                raise
            self._unanswered.pop()

    def keep(self, changes: Iterable[KeptChange]) -> bool:
        """Copy to the outbox what is not delivered: whether it is there now."""
        if self._outbox is None:
            return False
        unanswered = tuple(self._unanswered)
        if not self._outbox.keep(self._gateway.url, changes, unanswered=unanswered):
            return False
        self._has_copied = True
        return True

    def settled(self, answers: bool, now: float) -> bool:
        """The gateway was asked, and answered or not: whether it is time to keep what waits."""
        if answers:
            self._copy_at = None
            self._flush_at = now if self._flush_at is None else self._flush_at
            return False
        self._flush_at = None
        is_time = self._copy_at is not None and now >= self._copy_at
        if self._copy_at is None or is_time:
            self._copy_at = now + _EVERY
        return is_time

    def next_flush(self) -> float | None:
        """When to call ``flush``, if at all."""
        return None if self._outbox is None else self._flush_at

    def flush(self, now: float) -> None:
        """Deliver what waits in the outbox, or some of it, and say at the end how much that was."""
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
            self._said.say(f"groups of the outbox that were delivered: {self._delivered}")
            self._delivered = 0

    def forget(self) -> None:
        """All is delivered: let nothing wait that was copied while it was on its way."""
        if self._outbox is not None and self._has_copied and not self._outbox.is_empty():
            self._outbox.flush(self._gateway, timeout=_LAST_SECONDS)
