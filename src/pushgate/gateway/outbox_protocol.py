"""What a Gateway calls of an outbox."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..protocol.grouping_key import GroupingKey


class OutboxProtocol(Protocol):
    """Outbox is one. The gateway can't import it: that room comes after this one."""

    def send(
        self,
        gateway: Any,
        method: str,
        key: GroupingKey,
        body: bytes,
        *,
        timeout: float | None = None,
    ) -> None:
        """Deliver now by ``gateway``, a Gateway, or store it and raise what went wrong."""

    def keep(self, url: str, changes: Iterable[tuple[str, GroupingKey, bytes, float]]) -> bool:
        """Store what is not delivered: whether it is on disk now. Never raises."""
