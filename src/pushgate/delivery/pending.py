"""The one table of what waits: for each key a state, and when it is due. Pure."""

from __future__ import annotations

import heapq
import math
from itertools import count
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator

K = TypeVar("K", bound="Hashable")
S = TypeVar("S")


class _Entry(NamedTuple, Generic[S]):
    state: S
    due: float
    number: int


class Pending(Generic[K, S]):
    """At most one state for each key: ``combine(older, newer)`` makes one of two.

    The key that could have been taken for the longest time goes first. A key is taken once in
    ``interval`` at most, which may be changed for what is put from then on. All times are in
    seconds of one monotonic clock.
    """

    def __init__(self, combine: Callable[[S, S], S], *, interval: float = 0.0) -> None:
        self._combine = combine
        self.interval = self._longest = interval
        self._entries: dict[K, _Entry[S]] = {}
        self._heap: list[tuple[float, int, K]] = []  # what is due, and some that was replaced
        self._numbers = count()
        self._taken_at: dict[K, float] = {}  # in the order of the times

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[K]:
        return iter(self._entries)

    def get(self, key: K) -> S | None:
        """The state that waits for ``key``."""
        entry = self._entries.get(key)
        return None if entry is None else entry.state

    def put(self, key: K, state: S, at: float, *, interval: float | None = None) -> None:
        """Add ``state``, due ``at`` the earliest. What waits for the key keeps its turn.

        ``interval`` is in place of the table's, for a state that can't wait so long.
        """
        before = self._entries.get(key)
        if before is not None:
            state = self._combine(before.state, state)
        self._set(key, state, at, self.interval if interval is None else interval)

    def put_back(self, key: K, state: S, at: float) -> None:
        """``state`` was taken and not delivered: it goes under what was added since.

        Raises what ``combine`` raises, and then keeps only what was added since.
        """
        self._taken_at.pop(key, None)
        since = self._entries.get(key)
        if since is not None:
            state = self._combine(state, since.state)
        self._set(key, state, at, 0.0)

    def take(self, now: float) -> tuple[K, S] | None:
        """Take out the key whose turn it is, with its state."""
        while self._heap and self._heap[0][0] <= now:
            _, number, key = heapq.heappop(self._heap)
            entry = self._entries.get(key)
            if entry is not None and entry.number == number:
                del self._entries[key]
                self._began(key, now)
                return key, entry.state
        return None

    def next_due(self) -> float | None:
        """When :meth:`take` will give something; None where nothing waits."""
        while self._heap:
            due, number, key = self._heap[0]
            entry = self._entries.get(key)
            if entry is not None and entry.number == number:
                return due
            heapq.heappop(self._heap)
        return None

    def clear(self) -> dict[K, S]:
        """Take out everything, due or not."""
        states = {key: entry.state for key, entry in self._entries.items()}
        self._entries.clear()
        self._heap.clear()
        return states

    def hurry(self, now: float) -> None:
        """There is little time left: all is due ``now``, and no key waits for its interval."""
        self.interval = 0.0
        self._taken_at.clear()
        for key, state in self.clear().items():
            self._set(key, state, now, 0.0)

    def _set(self, key: K, state: S, at: float, interval: float) -> None:
        before = self._entries.get(key)
        due = max(at, self._taken_at.get(key, -math.inf) + interval)
        if before is not None and before.due <= due:
            self._entries[key] = before._replace(state=state)
            return
        entry = self._entries[key] = _Entry(state, due, next(self._numbers))
        heapq.heappush(self._heap, (due, entry.number, key))
        if len(self._heap) > 2 * len(self._entries) + 16:
            self._heap = [(e.due, e.number, key) for key, e in self._entries.items()]
            heapq.heapify(self._heap)

    def _began(self, key: K, now: float) -> None:
        self._longest = max(self._longest, self.interval)
        if self._longest > 0:
            self._taken_at.pop(key, None)
            while self._taken_at and next(iter(self._taken_at.values())) + self._longest <= now:
                del self._taken_at[next(iter(self._taken_at))]
            self._taken_at[key] = now
