"""Lines for the log that would come with every report while something is broken.

A subject, a text and a count enter; a warning of the logger ``pushgate`` leaves, at most once a
minute for a subject, with all that was counted since the one before.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ("Seldom",)

_QUIET = 60.0  # seconds


class Seldom:
    """Subjects are words of ours, so there are few. Never raises."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._counted: dict[str, int] = {}
        self._said: dict[str, float] = {}

    def say(self, subject: str, text: str, count: int = 0) -> None:
        """Log ``text``, which may hold ``{count}``: all of the subject's since it was last said."""
        count += self._counted.pop(subject, 0)
        now = self._clock()
        if now - self._said.get(subject, now - _QUIET) < _QUIET:
            self._counted[subject] = count
            return
        self._said[subject] = now
        logging.getLogger("pushgate").warning("%s", text.replace("{count}", str(count)))
