"""A pusher's use of the outbox: what waits in memory is copied there, and what waits there goes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..gateway.client import Gateway
    from ..log import RateLimitedLogger
    from ..outbox.outbox import Outbox
    from ..protocol.grouping_key import GroupingKey

_EVERY = 60.0  # seconds, between two looks into the outbox, and between two copies to it
_FLUSH_SECONDS = 5.0  # pushes wait as long at most
_LAST_SECONDS = 2.0


class OutboxCopy:
    """What a push fails for is in ``outbox`` by itself, as the gateway's; this copies the rest.

    None is for no outbox: nothing is then kept. ``now`` is in seconds of the monotonic clock.
    """

    def __init__(self, gateway: Gateway, outbox: Outbox | None, log: RateLimitedLogger) -> None:
        self._gateway = gateway
        self._outbox = outbox
        self._log = log
        self._flush_at: float | None = None  # None: not before the gateway answers
        self._copy_at: float | None = None  # None: while it answers
        self.path = None if outbox is None else outbox.path

    def keep(
        self,
        changes: Iterable[tuple[str, GroupingKey, bytes, float]],
        unanswered: Iterable[tuple[str, GroupingKey, bytes]],
    ) -> bool:
        """Copy what is not delivered: whether it is on disk now. As Outbox.keep."""
        if self._outbox is None:
            return False
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
        """Deliver what waits in the outbox, or a part of it, and log how much."""
        if self._outbox is None:
            return
        self._flush_at = now + _EVERY
        flushed = self._outbox.flush(self._gateway, timeout=_FLUSH_SECONDS)
        if flushed.delivered:
            self._log.info(f"groups of the outbox that were delivered: {flushed.delivered}")
            if flushed.left:
                self._flush_at = now  # after the pushes that wait

    def forget(self) -> None:
        """All is delivered: empty the outbox of what was copied while it was under way."""
        if self._outbox is not None:
            self._outbox.flush(self._gateway, timeout=_LAST_SECONDS)
