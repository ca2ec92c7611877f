"""A relay without a process: for tasks that run eagerly, and for tests.

Enters: records. Leaves: requests to the gateway, sent by who writes, before ``write`` returns; what
could not be delivered at the end in an outbox.
"""

from __future__ import annotations

import logging
import os
import threading
from types import MappingProxyType
from typing import TYPE_CHECKING

from ._deliveries import Deliveries, Moment
from ._frames import Dropped, Frames, record_frame
from ._keeping import Keeping
from ._loading import load, plain
from ._said import Said

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..gateway.client import Gateway
    from ..outbox import Outbox

__all__ = ("InlineRelay",)

_log = logging.getLogger("pushgate")


class InlineRelay:
    """Has the methods of a Relay, and aggregates and pushes in the process that writes.

    ``aggregator`` and ``options`` are as a Relay's. Each record's changes are pushed at once, with
    the gateway's time-out and retries, so that a ``write`` takes as long. While the gateway does
    not answer, it is asked less and less often, and what was not delivered waits; at the end, and
    after a minute, in ``outbox``, if there is one. That is flushed when the gateway answers. The
    aggregator's ``review`` is called by ``start``. Nothing is raised; what fails is logged as a
    warning of the logger ``pushgate``.

    A forked child goes on with a copy of what was counted so far.
    """

    def __init__(
        self,
        aggregator: str,
        *,
        gateway: Gateway,
        options: Mapping[str, object] = MappingProxyType({}),
        outbox: Outbox | None = None,
    ) -> None:
        self._gateway = gateway
        self._aggregator = load(aggregator, plain(options))
        self._said = Said(lambda text: _log.warning("%s", text))
        self._keeping = Keeping(gateway, outbox, self._said)
        self._deliveries = Deliveries(
            self._aggregator, gateway=gateway.url, interval=0.0, said=self._said
        )
        self._lock = threading.RLock()
        self._pid = os.getpid()
        self._is_closed = False

    def start(self) -> None:
        """Read the gateway, if the aggregator wants to."""
        if self._aggregator.review_interval is None:
            return
        try:
            groups = self._gateway.groups()
        except Exception as error:
            text = f"what the gateway {self._gateway.url} holds can't be read: {error}"
            self._said.once(text, Moment.now().clock)
        else:
            with self._held():
                self._deliveries.review(groups, Moment.now())

    def write(self, record: object) -> bool:
        """Aggregate a record, and push what it changes; False after ``close`` or ``detach``."""
        if self._is_closed:
            return False
        with self._held():
            try:
                # The same way through a frame, so that what works here works with a Relay.
                (decoded,) = Frames().split(record_frame(record))
            except (TypeError, ValueError) as error:
                self._said.once(f"a record that can't be written was dropped: {error}", _clock())
                decoded = Dropped(1)
            if isinstance(decoded, Dropped):
                self._deliveries.dropped(decoded, Moment.now())
            else:
                self._deliveries.feed(decoded, Moment.now())
            self._push()
            return not isinstance(decoded, Dropped)

    def flush(self, timeout: float = 0.0) -> bool:  # noqa: ARG002 - as a Relay's
        """Push what waits, unless the gateway was asked just now in vain: whether nothing waits."""
        with self._held():
            return self._push()

    @property
    def dropped(self) -> int:
        """Always 0: the aggregator knows at once."""
        return 0

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
        with self._held():
            self._deliveries.closed(Moment.now())
            is_delivered = self._push()
            if not is_delivered:
                self._keep()
            return is_delivered

    def _push(self) -> bool:
        self._deliveries.go_without_review(Moment.now())
        while (parcel := self._deliveries.next(Moment.now())) is not None:
            error: Exception | None = None
            try:
                self._keeping.send(parcel, None)
            except Exception as failure:
                error = failure
            now = Moment.now()
            self._deliveries.settle(parcel, error, now)
            if self._keeping.settled(self._deliveries.last_error is None, now.clock):
                self._keep()
        flush_at, now = self._keeping.next_flush(), Moment.now()
        if flush_at is not None and flush_at <= now.clock:
            self._keeping.flush(now.clock)
        return self._deliveries.undelivered == 0

    def _keep(self) -> None:
        self._keeping.keep(self._deliveries.undelivered_changes(Moment.now()))

    def _held(self) -> threading.RLock:
        if self._pid != os.getpid():  # another thread of the parent may have held it at the fork
            self._lock, self._pid = threading.RLock(), os.getpid()
        return self._lock


def _clock() -> float:
    return Moment.now().clock
