"""A relay without a process: for tasks that run eagerly, and for tests."""

from __future__ import annotations

import threading
from types import MappingProxyType
from typing import TYPE_CHECKING

from ..log import RateLimitedLogger
from .aggregator import load_aggregator, options_text
from .records import record_line, records_of
from .sender import Sender

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..gateway.client import Gateway


class InlineRelay:
    """Has a Relay's methods but start(), and aggregates and pushes in the process that writes.

    ``aggregator`` and ``options`` are as a Relay's. Each record's changes are pushed at once, with
    the gateway's time-out and retries, so that a ``write`` takes as long. While the gateway does
    not answer, it is asked less and less often, and what was not delivered waits in memory. Nothing
    is raised; what fails is logged as a warning of the logger ``pushgate``.
    """

    def __init__(
        self,
        aggregator: str,
        *,
        gateway: Gateway,
        options: Mapping[str, object] = MappingProxyType({}),
    ) -> None:
        self._gateway = gateway
        self._log = RateLimitedLogger()
        self._sender = Sender(
            load_aggregator(aggregator, options_text(options)),
            gateway,
            self._log,
            interval=0.0,
            slow_interval=0.0,
        )
        self._lock = threading.RLock()
        self._is_closed = False

    def write(self, record: object) -> bool:
        """Aggregate a record, and push what it changes; False after ``close`` or ``detach``."""
        if self._is_closed:
            return False
        with self._lock:
            try:
                # By a line, as a Relay's record goes, so that what works here works there.
                (decoded,) = records_of(record_line(record))
            except (TypeError, ValueError) as error:
                self._log.warning(f"a record that can't be written was dropped: {error}")
                self._sender.dropped(1)
                self._push()
                return False
            self._sender.feed(decoded)
            self._push()
            return True

    def flush(self, timeout: float = 0.0) -> bool:  # noqa: ARG002 - as a Relay's
        """Push what waits, unless the gateway was asked just now in vain: whether nothing waits."""
        with self._lock:
            return self._push()

    def ensure_running(self) -> bool:
        """False: there is no process that could die."""
        return False

    def detach(self) -> None:
        """Take no more records, and push nothing."""
        self._is_closed = True

    def close(self, timeout: float) -> bool:  # noqa: ARG002 - the gateway has one
        """Take no more records, and push a last time: whether all was delivered."""
        if self._is_closed:
            return True
        self._is_closed = True
        with self._lock:
            self._sender.closed()
            return self._push()

    def _push(self) -> bool:
        while (request := self._sender.take()) is not None:
            error: Exception | None = None
            try:
                self._gateway.send(request.push.method, request.key, request.body)
            except Exception as failure:
                error = failure
            self._sender.settle(request, error)
        return self._sender.undelivered == 0
