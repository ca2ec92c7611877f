"""Which of two moments is later, one of this host's clock and one of a gateway's.

Enters: the moments, and a gateway to ask for its time. Leaves: yes or no, after no more requests
than that takes; or :class:`UndecidedError` where there is no time for them.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ..gateway.clock import ClockOffset

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..gateway.client import Gateway

__all__ = ("Clock", "UndecidedError")

_LOOKS = 40  # of which the first leaves a second unknown, a dozen a tenth, two dozen 10 ms
_GOOD_ENOUGH = 0.1  # seconds: with less there is no point in waiting for a better moment
_GOOD_FOR = 60.0  # seconds, in which clocks drift apart by 6 ms at most
_WITHOUT_DATE = ClockOffset(-1.0, 1.0)


class UndecidedError(Exception):
    """There was no time to tell what is later."""


class Clock:
    """What is known of the clocks of gateways, by URL."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[ClockOffset, float]] = {}

    def is_later(
        self,
        gateway: Gateway,
        here: float,
        there: float,
        time_left: Callable[[], float | None],
    ) -> bool:
        """Whether ``there`` on the gateway's clock is later than ``here`` on ours.

        False for what is so close together that it can't be told. ``time_left`` is in seconds; what
        it and the gateway raise is passed on.
        """
        offset, measured_at = self._known.get(gateway.url, (None, 0.0))
        if time.monotonic() - measured_at > _GOOD_FOR:
            offset = None
        for _ in range(_LOOKS):
            if offset is not None and (later := offset.is_later(here, there)) is not None:
                return later
            seen = gateway.narrowed_clock(offset, timeout=time_left())
            if seen is None:
                return _WITHOUT_DATE.is_later(here, there) or False
            if seen is offset:
                if offset.width > _GOOD_ENOUGH:
                    raise UndecidedError
                return False
            offset = seen
            self._known[gateway.url] = offset, time.monotonic()
        return bool(offset and offset.is_later(here, there))
