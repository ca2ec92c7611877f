"""A soft time limit that strikes while one of our handlers runs.

The pool raises SoftTimeLimitExceeded from a signal handler, inside whatever Python is running, and
``Signal.send`` swallows exceptions: so a handler of ours must not keep it from the task.
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
    """The limit struck before the task's own code began: have it strike there, a moment later."""

    def send() -> None:
        if _SIGNAL is not None and not is_over():
            os.kill(pid, _SIGNAL)

    pid = os.getpid()
    timer = threading.Timer(_PAUSE, send)
    timer.daemon = True
    timer.start()
