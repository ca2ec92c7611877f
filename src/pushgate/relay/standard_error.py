"""A pusher's lines, on the standard error that it shares with the worker."""

from __future__ import annotations

import logging
import os
import select
import traceback
from contextlib import suppress

_LONGEST = 1000  # characters


def describe(error: BaseException) -> str:
    """The error and the line of code that raised it."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{where}"


def log_to_stderr() -> None:
    """Write what is logged to ``pushgate`` by :func:`to_stderr`."""

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            to_stderr(record.getMessage())

    logger = logging.getLogger("pushgate")
    logger.setLevel(logging.INFO)
    logger.addHandler(Handler())
    logger.propagate = False


def to_stderr(text: str) -> None:
    """Write ``pushgate: text`` to standard error, in one piece, unless there is no room."""
    line = "pushgate: " + " ".join(text.split())[:_LONGEST] + "\n"
    with suppress(OSError):
        # Standard error may be a pipe that is not read; to wait for room in it would stop the
        # pushes. Where poll finds room, there is PIPE_BUF of it.
        poll = select.poll()
        poll.register(2, select.POLLOUT)
        if any(events & select.POLLOUT for _, events in poll.poll(0)):
            os.write(2, line.encode("utf-8", "backslashreplace"))
