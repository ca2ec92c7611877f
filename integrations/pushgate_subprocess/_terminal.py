"""The controlling terminal: whether there is one, and who is in its foreground.

Nothing enters; a yes or no and a process group leave.
"""

from __future__ import annotations

import os


def has_terminal() -> bool:
    """Whether this process has a controlling terminal, be its standard streams what they may."""
    return foreground_group() is not None


def foreground_group() -> int | None:
    """Return the terminal's foreground process group, or None without a terminal."""
    try:
        tty = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:  # ENXIO: no controlling terminal
        return None
    try:
        return os.tcgetpgrp(tty)
    except OSError:  # the terminal hung up
        return 0
    finally:
        os.close(tty)
