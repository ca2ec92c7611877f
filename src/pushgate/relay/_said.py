"""What a pusher has to say: each text once an hour at most, as one line.

Enters: texts and errors. Leaves: lines to a function, such as ``to_stderr``.
"""

from __future__ import annotations

import logging
import os
import select
import traceback
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ("Said", "describe", "log_to_stderr", "to_stderr")

_AGAIN_AFTER = 3600.0  # seconds
_REMEMBERED = 1000
_LONGEST = 1000  # characters


class Said:
    """Says lines by ``write``."""

    def __init__(self, write: Callable[[str], object]) -> None:
        self.say = write
        self._said: dict[str, float] = {}

    def once(self, text: str, now: float) -> bool:
        """Say it, unless it was said in the hour before ``now``, in seconds: whether it was."""
        if now < self._said.get(text, float("-inf")) + _AGAIN_AFTER:
            return False
        if len(self._said) >= _REMEMBERED:
            self._said.clear()
        self._said[text] = now
        self.say(text)
        return True


def describe(error: BaseException) -> str:
    """The error and the line of code that raised it."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{where}"


def log_to_stderr() -> None:
    """Write what is logged to ``pushgate``, as an aggregator may, by ``to_stderr`` as well."""

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            to_stderr(record.getMessage())

    logger = logging.getLogger("pushgate")
    logger.addHandler(Handler())
    logger.propagate = False


def to_stderr(text: str) -> None:
    """Write ``pushgate: text`` to standard error, in one piece; in vain if nobody takes it."""
    line = "pushgate: " + " ".join(text.split())[:_LONGEST] + "\n"
    with suppress(OSError):
        # A worker's standard error may be a pipe that nobody reads; waiting for room in it would
        # stop the pushes. Where poll says that there is room, there is PIPE_BUF of it.
        poll = select.poll()
        poll.register(2, select.POLLOUT)
        if any(events & select.POLLOUT for _, events in poll.poll(0)):
            os.write(2, line.encode("utf-8", "backslashreplace"))
