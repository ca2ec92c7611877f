"""The relay's stand-in without a pipe and a pusher: every record is pushed at once, right here.

Records enter; requests to the gateway leave, from the thread that wrote the record. For tests and
for tasks that are executed eagerly: a task waits for the gateway.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Mapping
from typing import Any

from pushgate import Change, Gateway
from pushgate_celery._aggregate import create

__all__ = ("InlineRelay",)


class InlineRelay:
    """Has a relay's methods. ``options`` are the aggregator's."""

    dropped = 0

    def __init__(self, gateway: Gateway, options: Mapping[str, Any]) -> None:
        self._gateway = gateway
        self._aggregator = create(options)
        self._lock = threading.RLock()
        self._later: dict[Any, Change] = {}
        self._said = False

    def start(self) -> None:
        """Nothing is to be started."""

    def write(self, record: object) -> bool:
        """Push what the record changes. Never raises; what does not arrive is logged once."""
        with self._lock:
            try:
                now = time.time()
                changes = self._aggregator.feed(record, now)  # type: ignore[arg-type]
                self._apply([*changes, *self._later.values()], now)
            except Exception as error:
                self._say(error)
                return False
            return True

    def flush(self, timeout: float = 0.0) -> bool:  # noqa: ARG002
        """Nothing waits."""
        return True

    def ensure_running(self) -> bool:
        """Nothing can have died."""
        return False

    def detach(self) -> None:
        """Nothing is shared."""

    def close(self, timeout: float) -> bool:  # noqa: ARG002
        """Push what the end of the worker changes."""
        with self._lock:
            now = time.time()
            self._apply(self._aggregator.closed(now), now)
        return True

    def _apply(self, changes: Iterable[Change], now: float) -> None:
        for change in changes:
            self._later.pop(change.key, None)
            if change.not_before is not None and change.not_before > now:
                self._later[change.key] = change
                continue
            error = None
            try:
                self._send(change)
            except Exception as failure:
                error = failure
                self._say(failure)
            self._aggregator.delivery(change.key, error, now)

    def _send(self, change: Change) -> None:
        if change.method == "PUT":
            self._gateway.push(change.key, change.metrics, clear=True)
        elif change.method == "POST":
            self._gateway.pushadd(change.key, change.metrics)
        else:
            self._gateway.delete(change.key)

    def _say(self, error: Exception) -> None:
        if not self._said:
            self._said = True
            logging.getLogger("pushgate").warning("pushing inline failed: %s", error)
