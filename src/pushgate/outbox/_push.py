"""A push and its time, as values. Enters: a request. Leaves: the request, sent.

This is all of the outbox that a push needs while nothing waits.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from ..gateway.client import Gateway
    from ..protocol.grouping_key import GroupingKey
    from ._values import Change

__all__ = ("Ends", "Push")

_SHARE, _MOST = 0.25, 0.25  # of a push's time, and in seconds, that is left for keeping it


class Ends:
    """When a push has to be over: ``timeout`` seconds from now, None for no limit."""

    def __init__(self, timeout: float | None) -> None:
        self._at = None if timeout is None else time.monotonic() + timeout
        self._kept_back = 0.0 if timeout is None else min(_MOST, timeout * _SHARE)

    def left(self) -> float | None:
        """In seconds, above 0; None for no limit."""
        return None if self._at is None else max(0.001, self._at - time.monotonic())

    def for_sending(self) -> float | None:
        """What is left for a request, in seconds, so that there is time to keep it after."""
        left = self.left()
        return None if left is None else max(0.001, left - self._kept_back)


class Push(NamedTuple):
    """A request that is to be sent, and when it began, in Unix seconds."""

    gateway: Gateway
    method: str
    key: GroupingKey
    body: bytes
    content_type: str
    begun: float
    ends: Ends

    def send(self, timeout: float | None) -> None:
        """Send it, past the outbox."""
        self.gateway.send_directly(
            self.method, self.key, self.body, timeout=timeout, content_type=self.content_type
        )

    @property
    def change(self) -> Change:
        """What it does to its group."""
        from ._notes import change_of

        return change_of(self.method, self.body, self.begun, self.content_type)
