"""One request as a value: all of the outbox that a push needs while nothing waits."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..gateway.core import GatewayCore
    from ..protocol.grouping_key import GroupingKey
    from ..transport.deadline import Deadline
    from .entry import Entry

_SHARE, _MOST = 0.25, 0.25  # of a push's time, and in seconds, that is reserved for storing it


class Push(NamedTuple):
    """A request. ``text`` makes what is stored of a body that is no text."""

    gateway: GatewayCore
    method: str
    key: GroupingKey
    body: bytes
    content_type: str
    text: Callable[[], bytes] | None = None

    async def send(self, deadline: Deadline) -> None:
        """Send it, past the outbox, and leave time to store it after."""
        timeout = deadline.reserving(_SHARE, _MOST).left()
        await self.gateway.send_directly(
            self.method, self.key, self.body, timeout=timeout, content_type=self.content_type
        )

    def entry(self, at: float) -> Entry:
        """What would wait of it. Raises PushError where that can't be written as text."""
        body = self.body if self.text is None else self.text()
        from .entry import entry_of  # what a push needs only where something waits or fails

        return entry_of(self.method, body, at, self.key.labels)
