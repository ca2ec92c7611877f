"""How far a gateway's clock is from this host's, seen in the Date of its answers.

Enters: the whole second that an answer names, and when its request was sent and the answer was
there. Leaves: an interval that the difference is in, and the moments to ask at that narrow it.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from ..errors import GatewayRejectedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..transport.response import Response

__all__ = ("ClockOffset", "Sighting", "offset_of", "seen")

_COARSE, _FINE = 1 / 16, 1 / 256  # seconds
_BEST = 0.006  # seconds; no more is known of when an answer was made


class Sighting(NamedTuple):
    """An answer said ``date``, a whole second of its clock. The other two are this host's time."""

    date: float
    sent: float
    received: float


class ClockOffset(NamedTuple):
    """The gateway's clock minus this host's is between ``earliest`` and ``latest``, in seconds."""

    earliest: float
    latest: float
    round_trip: float = 0.0
    """Of the last request, in seconds."""

    @classmethod
    def of(cls, sighting: Sighting) -> ClockOffset:
        """What one answer tells: the clock was somewhere in that second, some time in between."""
        return cls(
            sighting.date - sighting.received,
            sighting.date + 1 - sighting.sent,
            sighting.received - sighting.sent,
        )

    @property
    def width(self) -> float:
        """How much is not known, in seconds."""
        return self.latest - self.earliest

    @property
    def middle(self) -> float:
        """The best guess, in seconds."""
        return (self.earliest + self.latest) / 2

    def narrowed(self, sighting: Sighting) -> ClockOffset:
        """What two answers tell. Where they disagree, a clock was set: the later one."""
        new = ClockOffset.of(sighting)
        earliest, latest = max(self.earliest, new.earliest), min(self.latest, new.latest)
        return ClockOffset(earliest, latest, new.round_trip) if earliest < latest else new

    @property
    def is_best(self) -> bool:
        """Whether further requests would tell nothing more: they take as long themselves."""
        return self.width <= max(_BEST, 2 * self.round_trip)

    def pause(self, now: float) -> float:
        """How long to wait with the next request, in seconds, so that its answer tells enough.

        The gateway's clock passes a whole second at another moment for each difference that is
        still possible. These moments fill a part of each second as long as the interval. Asking
        every 62 ms in that part leaves that much, and in the next second every 4 ms.
        """
        step = max(_COARSE if self.width > 1.2 * _COARSE else _FINE, self.round_trip)
        # If the clock passed a second when this request arrives, the difference were this much
        # below the latest that is possible.
        below = (now + self.round_trip / 2 + self.latest) % 1
        if below < step:
            return step - below
        return 0.0 if below < self.width else 1 - below + step

    def is_later(self, here: float, there: float) -> bool | None:
        """Whether ``there`` on the gateway's clock is later than ``here`` on this host's.

        None where that can't be told.
        """
        if there - self.latest > here:
            return True
        return False if there - self.earliest <= here else None


def offset_of(fetch: Callable[[], Response]) -> float:
    """The best guess after one answer, in seconds; 0 without a Date. Raises what it does."""
    sighting = seen(fetch)
    return ClockOffset.of(sighting).middle if sighting else 0.0


def seen(fetch: Callable[[], Response]) -> Sighting | None:
    """One request by ``fetch``, which may also be answered by an error; None without a Date."""
    sent = time.time()
    try:
        headers = fetch().headers
    except GatewayRejectedError as error:
        headers = error.headers
    received = time.time()
    try:
        from email.utils import parsedate_to_datetime

        date = parsedate_to_datetime((headers and headers.get("Date")) or "").timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return Sighting(date, sent, received) if sent <= received else None
