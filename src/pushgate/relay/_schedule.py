"""When to send: a group at once and then once an interval, and less to a gateway that is down.

Enters: what is wanted, what was sent and what failed, with the time, in seconds of any monotonic
clock. Leaves: the group whose turn it is, and pauses. Pure.
"""

from __future__ import annotations

import heapq
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..protocol.grouping_key import GroupingKey

__all__ = ("Backoff", "Restarts", "Schedule")

_FIRST_PAUSE = 1.0  # seconds
_LONGEST_ASKED = 300.0  # seconds of a Retry-After
_LONGEST_PAUSE = 300.0  # seconds until a process is replaced


class Schedule:
    """Whose turn it is: the group that could have been sent for the longest time goes first.

    ``interval`` is in seconds, between the beginnings of two sendings of one group.
    """

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._free_at: dict[GroupingKey, float] = {}  # in the order of the times
        self._turns: dict[GroupingKey, tuple[float, int]] = {}
        self._heap: list[tuple[float, int, GroupingKey]] = []  # turns, and some that were replaced
        self._numbers = count()

    def want(self, key: GroupingKey, at: float) -> None:
        """The group is to be sent, not before ``at``; if it is wanted earlier already, then so."""
        at = max(at, self._free_at.get(key, at))
        known = self._turns.get(key)
        if known is not None and known[0] <= at:
            return
        turn = self._turns[key] = (at, next(self._numbers))
        heapq.heappush(self._heap, (*turn, key))
        if len(self._heap) > 2 * len(self._turns) + 16:
            self._heap = [(*turn, key) for key, turn in self._turns.items()]
            heapq.heapify(self._heap)

    def take(self, now: float) -> GroupingKey | None:
        """The group whose turn it is, which is then not wanted any more."""
        while self._heap and self._heap[0][0] <= now:
            at, number, key = heapq.heappop(self._heap)
            if self._turns.get(key) == (at, number):
                del self._turns[key]
                return key
        return None

    def next_turn(self) -> float | None:
        """When it is the next one's turn; None when nobody is wanted."""
        while self._heap:
            at, number, key = self._heap[0]
            if self._turns.get(key) == (at, number):
                return at
            heapq.heappop(self._heap)
        return None

    def sent(self, key: GroupingKey, now: float) -> None:
        """The group's sending begins: its interval does, too."""
        self._free_at.pop(key, None)
        while self._free_at and next(iter(self._free_at.values())) <= now:
            del self._free_at[next(iter(self._free_at))]
        self._free_at[key] = now + self._interval

    def not_sent(self, key: GroupingKey) -> None:
        """The sending did not succeed, so that the next one need not wait for the interval."""
        self._free_at.pop(key, None)

    def hurry(self) -> None:
        """From now on no group waits for its interval. What is wanted must be wanted again."""
        self._interval = 0.0
        self._free_at.clear()


class Backoff:
    """When to ask a gateway again that doesn't answer: after pauses that double up to ``longest``.

    All times are in seconds. Pauses last a second at least.
    """

    def __init__(self, longest: float) -> None:
        self._longest = max(longest, _FIRST_PAUSE)
        self._failures = 0
        self.until = float("-inf")
        """Nothing is to be sent before."""

    def failed(self, now: float, jitter: float, asked: float | None = None) -> None:
        """It didn't answer. ``jitter`` is in 0 to 1, ``asked`` what its Retry-After said."""
        pause = min(self._longest, _FIRST_PAUSE * 2.0 ** min(self._failures, 30))
        # Half of it by chance, so that the pushers of many workers don't come back together:
        # https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
        pause = max(_FIRST_PAUSE, pause * (0.5 + jitter / 2))
        self._failures += 1
        self.until = now + max(pause, min(asked or 0.0, _LONGEST_ASKED))

    def answered(self) -> bool:
        """It answered: whether it had failed before."""
        had_failed, self._failures, self.until = self._failures > 0, 0, float("-inf")
        return had_failed

    def hurry(self) -> None:
        """There is little time left: ask at once, and then after a second each time."""
        self._longest, self.until = _FIRST_PAUSE, float("-inf")


class Restarts:
    """When to replace a process that died: at once, and then the later the sooner it died again."""

    def __init__(self) -> None:
        self._pause = 0.0
        self._started_at = 0.0

    def started(self, now: float) -> None:
        """It was started."""
        self._started_at = now

    def died(self, now: float) -> None:
        """It died, or did not start."""
        lived = now - self._started_at
        longer = min(max(_FIRST_PAUSE, 2 * self._pause), _LONGEST_PAUSE)
        self._pause = 0.0 if lived > longer else longer

    def may_start(self, now: float) -> bool:
        """Whether its pause is over."""
        return now >= self._started_at + self._pause
