"""One request as a value: all of the outbox that a push needs while nothing waits."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from ..gateway.client import Gateway
    from ..protocol.grouping_key import GroupingKey
    from ..transport.deadline import Deadline
    from .entry import Entry

_SHARE, _MOST = 0.25, 0.25  # of a push's time, and in seconds, that is reserved for storing it


class Push(NamedTuple):
    """A request."""

    gateway: Gateway
    method: str
    key: GroupingKey
    body: bytes

    def send(self, deadline: Deadline) -> None:
        """Send it, past the outbox, and leave time to store it after."""
        timeout = deadline.reserving(_SHARE, _MOST).left()
        self.gateway.send_directly(self.method, self.key, self.body, timeout=timeout)

    def entry(self, at: float) -> Entry:
        """What would wait of it. Raises InvalidPayloadError for a body that a gateway refuses."""
        from .entry import entry_of  # what a push needs only where something waits or fails

        return entry_of(self.method, self.body, at, self.key.labels)
