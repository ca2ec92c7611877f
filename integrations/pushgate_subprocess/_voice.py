"""Lines for a person, from the threads of one run: one about what failed, and none after the end.

Lines enter, from any thread; lines leave to a function, one after the other.
"""

from __future__ import annotations

import threading
from contextlib import suppress

from pushgate_subprocess._lean import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ("Voice",)

_PATIENCE = 1.0  # seconds for a line that another thread is saying, to somebody's logging


class Voice:
    """Says lines by ``write``, which may raise: what somebody's logging does is no concern of ours.

    ``hush`` is for when a thread was left behind: it may find out later what was told already.
    """

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._speaking = threading.Lock()
        self._failure_told = False
        self._hushed = False

    def say(self, line: str) -> None:
        """Say ``line``."""
        with self._speaking, suppress(Exception):
            if not self._hushed:
                self._write(line)

    def fail(self, line: str) -> None:
        """Say ``line``, which tells that the run could not be reported."""
        with self._speaking, suppress(Exception):
            if not self._hushed:
                self._failure_told = True
                self._write(line)

    def hush(self, last_words: str | None) -> None:
        """Say ``last_words``, unless a failure was told, and nothing more."""
        if self._speaking.acquire(timeout=_PATIENCE):
            with suppress(Exception):
                if last_words and not (self._hushed or self._failure_told):
                    self._write(last_words)
            self._hushed = True
            self._speaking.release()
        else:
            self._hushed = True
