"""The time-out of a whole exchange, as a point in time that every step looks at."""

from __future__ import annotations

import time

_FOREVER = 2_000_000.0  # seconds; poll() takes milliseconds in a C int, which ends a little above


class Deadline:
    """A point on the monotonic clock, ``timeout`` seconds from now; None never passes."""

    __slots__ = ("_at",)

    def __init__(self, timeout: float | None) -> None:
        endless = timeout is None or timeout > _FOREVER
        self._at = None if endless else time.monotonic() + (timeout or 0)

    def remaining(self) -> float | None:
        """Seconds left, above 0. Raises TimeoutError when none are."""
        if self._at is None:
            return None
        left = self._at - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        return left

    def reserving(self, share: float, most: float) -> Deadline:
        """An earlier deadline, so that ``share`` of the time left stays, ``most`` seconds at most.

        For what has to be done after a try that took all the time it was given.
        """
        earlier = Deadline(None)
        if self._at is not None:
            left = max(0.0, self._at - time.monotonic())
            earlier._at = self._at - min(left * share, most)
        return earlier

    def within(self, seconds: float) -> Deadline:
        """The same deadline, or one in ``seconds`` if that is earlier."""
        sooner = Deadline(seconds)
        if self._at is not None and sooner._at is not None:
            sooner._at = min(self._at, sooner._at)
        return sooner

    def left(self, least: float = 0.001) -> float | None:
        """Seconds left; once it has passed ``least``, in which a request fails and says why."""
        return None if self._at is None else max(least, self._at - time.monotonic())
