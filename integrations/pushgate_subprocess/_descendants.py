"""Find the processes below the command that share our process group, for a time limit.

At a terminal the command can't lead a group of its own, and ours holds more than its processes: a
script that runs us, the other commands of a pipeline. The start time tells a process from a later
one of the same number. They are found in proc_pid_stat(5), on Linux; elsewhere there are none.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


def descendants(pid: int, known: Mapping[int, int]) -> dict[int, int]:
    """Return the start times, by process id, of what runs below `pid`, parents first.

    `known` is an earlier answer: what is left of it counts too, and what it has started since,
    although its parent has ended and it is below `pid` no more.
    """
    below: dict[int, list[int]] = {}
    starts: dict[int, int] = {}
    group = os.getpgrp()
    try:
        names = [name for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        return {}
    for name in names:
        if (process := _look_at(int(name))) is not None:
            parent, its_group, start = process
            below.setdefault(parent, []).append(int(name))
            if its_group == group:
                starts[int(name)] = start
    found = [pid, *(old for old, start in known.items() if starts.get(old) == start)]
    for parent in found:  # which grows
        found += [child for child in below.get(parent, ()) if child not in found]
    return {one: starts[one] for one in found if one in starts and one != pid}


def send(number: int, processes: Mapping[int, int]) -> None:
    """Send the signal `number` to those of `processes` that are still the same."""
    for pid, start in processes.items():
        now = _look_at(pid)
        if now is not None and now[2] == start:
            # It may have ended just now, or become another user (setuid).
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)


def _look_at(pid: int) -> tuple[int, int, int] | None:
    """Return the parent, the process group and the start time of `pid`, or None if it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            stat = file.read()
    except OSError:
        return None
    fields = stat[stat.rindex(b")") + 2 :].split()  # the name before it may hold anything
    return int(fields[1]), int(fields[2]), int(fields[19])
