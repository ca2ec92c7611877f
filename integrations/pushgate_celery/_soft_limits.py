"""A soft time limit that strikes while one of our handlers runs.

The pool raises SoftTimeLimitExceeded from a signal handler, inside whatever Python is running, and
``Signal.send`` swallows exceptions: so ours must neither lose a record to it nor keep it from the
task. Enters: what to do in a child of the prefork pool. Nothing leaves.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress

from billiard.exceptions import SoftTimeLimitExceeded

__all__ = ("SoftTimeLimitExceeded", "send_again", "undisturbed")

# As billiard/pool.py has it.
_SIGNAL = getattr(signal, "SIGUSR1", None)
_PAUSE = 0.05  # seconds, until the task itself runs


def undisturbed(do: Callable[[], None]) -> None:
    """Do it whole, whenever the limit strikes; the run is over, so there is nothing to stop."""
    # Not by blocking the signal: where a task has left threads behind, one of them gets it, and
    # Python runs the handler in the main thread all the same.
    # https://docs.python.org/3/library/signal.html#signals-and-threads
    if _SIGNAL is None or signal.getsignal(_SIGNAL) is None:  # not one of Python's: cannot raise
        do()
        return
    old = None
    while old is None:
        try:
            old = signal.signal(_SIGNAL, _ignore)
        except SoftTimeLimitExceeded:
            continue  # it had come in just before; the pool sends it once
    try:
        do()
    finally:
        with suppress(SoftTimeLimitExceeded):
            signal.signal(_SIGNAL, old)


def _ignore(number: int, frame: object) -> None:
    """Not SIG_IGN: Python complains of a signal that came in just before that was set."""


def send_again(is_over: Callable[[], bool]) -> None:
    """The limit struck before the task's own code began: have it strike there, a moment later."""

    def send() -> None:
        if _SIGNAL is not None and not is_over():
            os.kill(pid, _SIGNAL)

    pid = os.getpid()
    timer = threading.Timer(_PAUSE, send)
    timer.daemon = True
    timer.start()
