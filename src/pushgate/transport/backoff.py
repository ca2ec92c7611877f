"""How long to wait before the next try: pauses that double, with jitter."""

from __future__ import annotations

import os

_LONGEST_ASKED = 300.0  # seconds; a Retry-After may be of years


class Backoff:
    """Pauses from ``first`` to ``longest`` seconds, each twice the one before.

    Up to half of each pause is left to chance, so that many processes that failed together do not
    come back together: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """

    __slots__ = ("_failures", "first", "longest")

    def __init__(self, first: float, longest: float) -> None:
        self.first = first
        self.longest = max(first, longest)
        self._failures = 0

    @property
    def has_failed(self) -> bool:
        """Whether the last try failed."""
        return self._failures > 0

    def failed(self, retry_after: float | None = None) -> float:
        """A try failed: the seconds to wait.

        ``retry_after`` is what the server asked for, of which 300 s are waited.
        """
        pause = min(self.longest, self.first * 2.0 ** min(self._failures, 30))
        self._failures += 1
        pause *= 1 - int.from_bytes(os.urandom(4), "big") / 2**33
        return max(pause, min(retry_after or 0.0, _LONGEST_ASKED))

    def succeeded(self) -> bool:
        """A try succeeded: whether the one before had failed."""
        had_failed, self._failures = self.has_failed, 0
        return had_failed
