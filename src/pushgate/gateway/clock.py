"""How far a gateway's clock is from this host's, by the Date of one of its answers."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from ..errors import GatewayRejectedError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ..transport.response import Response


class ClockOffset(NamedTuple):
    """The gateway's clock minus this host's is between ``earliest`` and ``latest``, in seconds."""

    earliest: float
    latest: float

    @property
    def middle(self) -> float:
        """The best guess, in seconds."""
        return (self.earliest + self.latest) / 2

    def is_later(self, here: float, there: float) -> bool:
        """Whether ``there`` on the gateway's clock is surely later than ``here`` on ours."""
        return there - self.latest > here


WITHOUT_DATE = ClockOffset(-1.0, 1.0)
"""Of answers without a Date: the clocks count as equal, to within a second."""


async def read_clock(fetch: Callable[[], Awaitable[Response]]) -> ClockOffset | None:
    """By one request, which may also be answered by an error; None without a Date.

    The Date is a whole second. The gateway's clock was somewhere in it, at some time in between.
    """
    sent = time.time()
    try:
        headers = (await fetch()).headers
    except GatewayRejectedError as error:
        headers = error.headers
    received = time.time()
    from email.utils import parsedate_to_datetime  # what few pushes need

    try:
        date = parsedate_to_datetime((headers and headers.get("Date")) or "").timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return ClockOffset(date - received, date + 1 - sent) if sent <= received else None
