"""What is known once a command has ended.

The status and resource usage that wait4(2) gave enter; an `Ended` leaves. Imported while the
command runs, as typing costs 10 ms.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, NamedTuple

from pushgate_subprocess._lean import signal

if TYPE_CHECKING:
    import resource

TIMED_OUT = 124  # what GNU timeout exits with

# getrusage(2): kilobytes on Linux, bytes on macOS.
_MAXRSS_UNIT = 1 if sys.platform == "darwin" else 1024


class Resources(NamedTuple):
    """What the command and those of its descendants that were waited for used.

    `max_rss_bytes` is the largest single process, or None when it can't be told: on Linux a
    child's peak starts at that of the process which started it, so only a higher one is its own.
    """

    user_seconds: float
    system_seconds: float
    max_rss_bytes: int | None
    blocks_in: int
    blocks_out: int
    voluntary_switches: int
    involuntary_switches: int


class Ended(NamedTuple):
    """The end of a command.

    `exit_status` is the 0-255 code to pass on: the command's own, 128 + n for death by signal n,
    124 after the time limit, 137 when that took a KILL. `returncode` is the command's own code,
    or -n for signal n. `started_at` and `ended_at` are Unix seconds; `duration` is seconds by
    the monotonic clock.
    """

    exit_status: int
    returncode: int
    signal: int | None
    timed_out: bool
    started_at: float
    ended_at: float
    duration: float
    resources: Resources


def exit_status(returncode: int, *, timed_out: bool, preserve_status: bool) -> int:
    """Return the shell's code for `returncode`, or 124 where a time limit decides."""
    if timed_out and not preserve_status and returncode != -signal.SIGKILL:
        return TIMED_OUT
    return returncode if returncode >= 0 else 128 - returncode


def resources(usage: resource.struct_rusage, *, own_maxrss: int) -> Resources:
    """Return wait4's `usage` in its public form; `own_maxrss` is our own peak in the same unit."""
    own = usage.ru_maxrss > own_maxrss
    return Resources(
        user_seconds=usage.ru_utime,
        system_seconds=usage.ru_stime,
        max_rss_bytes=usage.ru_maxrss * _MAXRSS_UNIT if own else None,
        blocks_in=usage.ru_inblock,
        blocks_out=usage.ru_oublock,
        voluntary_switches=usage.ru_nvcsw,
        involuntary_switches=usage.ru_nivcsw,
    )


def ended(
    status: int,
    usage: resource.struct_rusage,
    *,
    own_maxrss: int,
    timed_out: bool,
    preserve_status: bool,
    started_at: float,
    ended_at: float,
    duration: float,
) -> Ended:
    """Return the `Ended` for wait4's `status` and `usage`."""
    returncode = os.waitstatus_to_exitcode(status)
    return Ended(
        exit_status=exit_status(returncode, timed_out=timed_out, preserve_status=preserve_status),
        returncode=returncode,
        signal=-returncode if returncode < 0 else None,
        timed_out=timed_out,
        started_at=started_at,
        ended_at=ended_at,
        duration=duration,
        resources=resources(usage, own_maxrss=own_maxrss),
    )
