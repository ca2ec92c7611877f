"""What a Gateway calls of an outbox."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from ..protocol.text import CONTENT_TYPE

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable

    from ..protocol.grouping_key import GroupingKey


class OutboxProtocol(Protocol):
    """Outbox is one. The gateway can't import it: that room comes after this one."""

    def deliver(
        self,
        gateway: Any,
        method: str,
        key: GroupingKey,
        body: bytes,
        *,
        timeout: float | None = None,
        content_type: str = CONTENT_TYPE,
        text: Callable[[], bytes] | None = None,
    ) -> Coroutine[Any, Any, None]:
        """Deliver now by ``gateway``, a GatewayCore, or store it and raise what stopped it.

        ``text`` makes what is stored where ``body`` is not text.
        """

    def keep(self, url: str, changes: Iterable[tuple[str, GroupingKey, bytes, float]]) -> bool:
        """Store what is not delivered: whether it is on disk now. Never raises."""
