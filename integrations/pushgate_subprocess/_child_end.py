"""What wait4(2) tells of a command that has ended, and the exit code to pass on for it."""

from __future__ import annotations

import os
import signal
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    import resource

TIMED_OUT = 124  # what GNU timeout exits with

# getrusage(2): kilobytes on Linux, bytes on macOS.
_MAXRSS_UNIT = 1 if sys.platform == "darwin" else 1024


class ChildEnd:
    """The end of a command. A plain class: a NamedTuple takes 1 ms to make before the start.

    `returncode` is the command's own code, or -n for death by signal n. `own_peak` is our own peak
    memory just after its start, in getrusage's unit. `ended_at` is in Unix seconds, `duration` in
    seconds by the monotonic clock.
    """

    def __init__(
        self,
        wait_status: int,
        usage: resource.struct_rusage,
        *,
        own_peak: int,
        timed_out: bool,
        ended_at: float,
        duration: float,
    ) -> None:
        self.returncode = os.waitstatus_to_exitcode(wait_status)
        self.signal = -self.returncode if self.returncode < 0 else None
        self.usage = usage
        self.timed_out = timed_out
        self.ended_at = ended_at
        self.duration = duration
        # On Linux a child's peak starts at that of the process which started it, so only a higher
        # one is its own.
        is_known = usage.ru_maxrss > own_peak
        self.max_rss_bytes = usage.ru_maxrss * _MAXRSS_UNIT if is_known else None

    def exit_status(self, *, preserve: bool = False) -> int:
        """The code from 0 to 255 to pass on: the command's own, or 128 + n for signal n.

        After the time limit it is 124, or 137 when that took a KILL; with `preserve` it is the
        command's own.
        """
        if self.timed_out and not preserve and self.signal != signal.SIGKILL:
            return TIMED_OUT
        return self.returncode if self.returncode >= 0 else 128 - self.returncode


def end_time(started_at: float, duration: float) -> float:
    """The time now, in Unix seconds, of a run that began at ``started_at`` and took ``duration``.

    Where the clock was set back meanwhile, it is counted from the start: the end of a run that is
    before its start would look as if the run went on.
    """
    return max(time.time(), started_at + duration)


def own_peak_memory() -> int:
    """Our own peak memory in getrusage's unit; just after a child's start it is the child's floor.

    What counts is the peak of our present memory. Our ru_maxrss may be far above: it has the peak
    of the process that started us as its own floor.
    """
    try:
        # os.wait4 would import it later, when a thread that hangs may hold the lock on imports. A
        # Ctrl-C in the midst of an import gets lost.
        import resource  # https://github.com/python/cpython/issues/95959
    except (ImportError, OSError):
        return sys.maxsize
    try:
        with open("/proc/self/status", "rb") as status:
            (peak,) = [line.split()[1] for line in status if line.startswith(b"VmHWM:")]
        return int(peak)
    except (OSError, ValueError):  # not Linux, or no descriptor left
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
