"""How much longer the slow groups of one pusher wait where the gateway takes long. Pure.

A gateway works through pushes one after the other, and checks all that it holds at each. So a push
that takes longer than the quickest ones has waited for those of others; half the time more, on the
average, means that the gateway is busy for half of the time:
https://en.wikipedia.org/wiki/M/D/1_queue. Pushers that see it all ask for less, by a factor, and
come back in steps, as TCP's senders share a line that none of them knows:
https://en.wikipedia.org/wiki/Additive_increase/multiplicative_decrease
"""

from __future__ import annotations

_BUSY = 1.5  # times as long as the quickest pushes
_SHARE = 0.5  # of the time, that one pusher may spend in pushes
_NO_LOAD = 0.01  # seconds; quicker pushes vary for other reasons
_LOOK = 15.0  # seconds between two decisions
_OUT, _BACK = 1.25, 1.0  # a factor, and a step of as many shortest intervals
_FARTHEST = 50.0  # shortest intervals: what was told as running is stuck after an hour
_FORGET = 3600.0  # seconds, in which the memory of a quick push fades by half: gateways fill up


class Stretch:
    """The interval of slow groups, ``interval`` seconds and more, from how long pushes take."""

    def __init__(self, interval: float) -> None:
        self._shortest = self.interval = interval
        self._quickest = float("inf")
        self._looked_at: float | None = None
        self._sum = 0.0
        self._count = 0

    def took(self, seconds: float, now: float) -> float:
        """A push that ended ``now`` took so long: the interval from now on."""
        self._quickest = max(_NO_LOAD / _BUSY, min(self._quickest, seconds))
        self._sum += seconds
        self._count += 1
        if self._looked_at is None:
            self._looked_at = now
        elapsed = now - self._looked_at
        if elapsed >= _LOOK:
            mean = self._sum / self._count
            if mean > _BUSY * self._quickest or self._sum > _SHARE * elapsed:
                self.interval = min(self.interval * _OUT, _FARTHEST * self._shortest)
            else:
                self.interval = max(self.interval - _BACK * self._shortest, self._shortest)
            self._quickest *= 2 ** (elapsed / _FORGET)
            self._looked_at, self._sum, self._count = now, 0.0, 0
        return self.interval
