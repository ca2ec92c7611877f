"""A soft time limit that is reached while one of our handlers runs.

The pool raises SoftTimeLimitExceeded from a signal handler, inside the code that runs just then.
``Signal.send`` swallows exceptions, so a handler of ours would keep the limit from the task.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable

from billiard.exceptions import SoftTimeLimitExceeded

__all__ = ("SoftTimeLimitExceeded", "send_again")

# As billiard/pool.py has it.
_SIGNAL = getattr(signal, "SIGUSR1", None)
_PAUSE = 0.05  # seconds, until the task itself runs


def send_again(is_over: Callable[[], bool]) -> None:
    """The limit was reached before the task's own code began: raise it again in the task."""

    def send() -> None:
        if _SIGNAL is not None and not is_over():
            os.kill(pid, _SIGNAL)

    pid = os.getpid()
    timer = threading.Timer(_PAUSE, send)
    timer.daemon = True
    timer.start()
